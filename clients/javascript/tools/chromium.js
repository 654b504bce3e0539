/** The machine's Chromium, without a window and without talk to anybody but the page's own site. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Path of a program `chromium` on PATH, or undefined. */
export function findChromium() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.map((folder) => join(folder, "chromium")).find((path) => existsSync(path));
}

/**
 * A fresh profile with an HTTP cache of its own, which `close` removes.
 *
 * @returns {Promise<{ newPage: () => Promise<import("playwright-core").Page>, version: () => string,
 *     close: () => Promise<void> }>}
 */
export async function openChromium() {
  const profile = mkdtempSync(join(tmpdir(), "lstm-deploy-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findChromium(),
    headless: true,
    args: FLAGS,
  });
  return {
    newPage: () => context.newPage(),
    version: () => context.browser()?.version() ?? "unknown",
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

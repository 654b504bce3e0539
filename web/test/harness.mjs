/**
 * What the tests stand on: a plain static server (no special headers, so that isolation is the service worker's work),
 * a browser, and the page in it, watched for errors and for requests that leave the folder.
 *
 * The caller says in LSTM_DEPLOY_WEB, a JSON file, what to test with: `site` (a built folder), `chromium`, `models`
 * (name -> file) and `expected` (name -> sentences as Python tags them).
 */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, extname, join, normalize } from "node:path";
import { after } from "node:test";

const require = createRequire(new URL("../../clients/javascript/package.json", import.meta.url));
const { chromium } = require("playwright-core");

/** @type {{ site: string, chromium: string, models: Record<string, string>, expected: Record<string, any[]> }} */
export const given = JSON.parse(readFileSync(process.env.LSTM_DEPLOY_WEB, "utf8"));
export const TIMEOUT = 15_000;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** Serves a folder as the plainest of hosts does; `gone` makes it a host that is down. */
export async function serve(folder = given.site) {
  const state = { gone: false, /** @type {string[]} */ asked: [], url: "", close: () => {} };
  const server = createServer((request, response) => {
    if (state.gone) return request.socket.destroy();
    const path = normalize(decodeURI(new URL(request.url, "http://host").pathname));
    state.asked.push(path);
    try {
      const body = readFileSync(join(folder, path.endsWith("/") ? `${path}index.html` : path));
      response.writeHead(200, { "Content-Type": TYPES[extname(path) || ".html"] ?? "application/octet-stream" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://127.0.0.1:${server.address().port}/`;
  state.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return state;
}

/** The browser of this file of tests, with a fresh profile; each context in it has nothing of the others. */
let browser = null;

/**
 * @param {{ args?: string[], prepare?: (context: any) => Promise<void> }} [options]
 * @returns {Promise<any>} a context, as new as a first visitor
 */
export async function visit({ args = FLAGS, prepare } = {}) {
  browser ??= chromium.launch({ executablePath: given.chromium, headless: true, args });
  const context = await (await browser).newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(TIMEOUT);
  await prepare?.(context);
  return context;
}

after(async () => (await browser)?.close());

/**
 * Server, browser and the page, opened and ready; closed when the tests of the file are over.
 *
 * @param {{ args?: string[], prepare?: (context: any) => Promise<void>, hash?: string, folder?: string }} [options]
 */
export async function open({ hash = "", folder, ...options } = {}) {
  const server = await serve(folder);
  after(() => server.close());
  const context = await visit(options);
  const page = await context.newPage();
  const seen = watch(page, server);
  await page.goto(server.url + hash);
  await ready(page);
  return { server, context, page, seen };
}

/** The first sentence is tagged, and the page is not about to reload. */
export async function ready(page) {
  await page.waitForFunction(() => document.querySelector("#model-facts dd") && document.querySelector(".token"));
}

/** Console errors, uncaught exceptions, and requests to anything but the server's folder. */
export function watch(page, server) {
  const seen = { errors: [], strangers: [] };
  page.on("console", (message) => {
    // Chromium's own word on a machine without a graphics card.
    if (message.text() === "No available adapters.") return;
    if (["error", "warning"].includes(message.type())) seen.errors.push(message.text());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.context().on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.url) && !url.startsWith("blob:") && !url.startsWith("data:")) seen.strangers.push(url);
  });
  return seen;
}

/** What should be at the end of every file of tests: nothing went wrong unseen, and nothing left the folder. */
export function assertClean(seen) {
  assert.deepEqual(seen, { errors: [], strangers: [] });
}

/** Types a text and waits until it is what the page shows as tagged, anew if it was shown before. */
export async function tag(page, text) {
  await page.evaluate(() => {
    for (const list of document.querySelectorAll(".tokens")) list.classList.add("before");
  });
  await page.fill("#text", text);
  await shows(page, text.split(/\s+/).join(""));
}

/** Waits until the words on the page, put together, are these. */
export async function shows(page, joined) {
  await page.waitForFunction((wanted) => {
    const words = [...document.querySelectorAll(".token .word")];
    return !document.querySelector(".tokens.before") && words.map((word) => word.textContent).join("") === wanted;
  }, joined);
}

/** The list as a screen reader has it: [word, tag, probability in percent] of each token. */
export async function tokens(page) {
  const names = await page.$$eval(".token button", (all) => all.map((button) => button.getAttribute("aria-label")));
  return names.map((name) => {
    const [, word, tagged, value] = name.match(/^([^]*), ([^]*?), ([\d.]+) %(?:, uncertain)?$/);
    return [word, tagged, Number(value)];
  });
}

/** Opens a model, another one than is in use, with the file input, and waits until it is in use. */
export async function openModel(page, name) {
  await page.setInputFiles("#model-file", given.models[name]);
  await inUse(page, basename(given.models[name]));
}

/** Waits until a model file is in use. */
export async function inUse(page, file) {
  await page.waitForFunction((name) => document.querySelector("#model-facts dd")?.textContent === name, file);
}

/** Waits until the page says this, in an element of its own. */
export async function says(page, selector, pattern) {
  await page.waitForFunction(
    ([where, source]) => new RegExp(source).test(document.querySelector(where)?.textContent ?? ""),
    [selector, pattern.source],
  );
  return page.textContent(selector);
}

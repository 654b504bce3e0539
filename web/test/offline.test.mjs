/** First visit, offline, a new version, and browsers without service workers. */

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { assertClean, given, open, ready, says, tag, tokens } from "./harness.mjs";

const tags = async (page) => (await tokens(page)).map(([, found]) => found);

test("the first visit reloads once, is isolated by headers that the server does not send, and is kept", async () => {
  const { page, seen, server } = await open();
  assert.equal(server.asked.filter((path) => path === "/").length, 1);
  assert.ok(await page.evaluate(() => crossOriginIsolated));
  assert.equal(await page.evaluate(() => performance.getEntriesByType("navigation")[0].type), "reload");
  await says(page, "#offline", /Works offline/);
  // The heavy files came over the wire once.
  for (const path of ["/ort/ort-wasm.wasm", "/model/tutorial.onnx"]) {
    assert.equal(server.asked.filter((one) => one === path).length, 1, path);
  }
  assert.ok(!server.asked.some((path) => path.includes("webgpu")));

  server.gone = true;
  await page.reload();
  await ready(page);
  await tag(page, "They ate the fish");
  assert.deepEqual(await tags(page), ["NN", "V", "DET", "NN"]);
  await page.check("#provider-threads");
  await says(page, "#notices", /Now on/);
  assert.match(await page.evaluate(async () => (await fetch("licences.txt")).text()), /MIT License/);
  server.gone = false;
  assertClean(seen);
});

test("a new version is offered, and then used", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lstm-deploy-site-"));
  cpSync(given.site, folder, { recursive: true });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const { page, seen, server } = await open({ folder });
  await says(page, "#offline", /Works offline/);

  const before = readFileSync(join(folder, "index.html"), "utf8");
  const changed = before.replace("Words, tagged as you type</h1>", "Words, tagged anew</h1>");
  writeFileSync(join(folder, "index.html"), changed);
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  const manifest = readFileSync(join(folder, "files.js"), "utf8")
    .replace(sha256(before), sha256(changed))
    .replace(/"version": "\w+"/, '"version": "another"');
  writeFileSync(join(folder, "files.js"), manifest);
  server.asked.length = 0;
  await page.reload();
  await ready(page);
  assert.equal(await page.textContent("h1"), "Words, tagged as you type");
  await page.click("text=Use it");
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Words, tagged anew");
  await ready(page);
  assert.ok(!server.asked.includes("/ort/ort-wasm.wasm"), "what did not change was fetched again");
  assert.equal(await page.evaluate(async () => (await caches.keys()).length), 1);
  assertClean(seen);
});

test("without service workers: one thread, the reason shown, no reload", async () => {
  const { page, seen, server } = await open({
    prepare: (context) => context.addInitScript(() => delete Navigator.prototype.serviceWorker),
  });
  assert.equal(server.asked.filter((path) => path === "/").length, 1);
  assert.ok(!(await page.evaluate(() => crossOriginIsolated)));
  await says(page, "#offline", /Online only/);
  assert.ok(await page.isDisabled("#provider-threads"));
  assert.match(await page.textContent("#provider-threads-note"), /has no service workers/);
  await tag(page, "They ate the fish");
  assert.deepEqual(await tags(page), ["NN", "V", "DET", "NN"]);
  assertClean(seen);
});

test("a browser that does not isolate: one reload, never a second", async () => {
  const { page, server } = await open({
    prepare: (context) =>
      context.addInitScript(() => Object.defineProperty(globalThis, "crossOriginIsolated", { value: false })),
  });
  await says(page, "#offline", /Works offline/);
  assert.match(await page.textContent("#provider-threads-note"), /does not isolate/);
  assert.equal(server.asked.filter((path) => path === "/").length, 1);
  await tag(page, "They ate the fish");
});

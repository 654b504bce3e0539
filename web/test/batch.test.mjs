/** Many lines: all of them, in order, in each form, while the page stays at hand. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assertClean, given, open, openModel, says, tag, tokens } from "./harness.mjs";

const { page, seen, context } = await open();
await context.grantPermissions(["clipboard-read", "clipboard-write"]);
await openModel(page, "subword");

/** Puts a text in the field, from a file: the driver's way to fill a field is slow with long texts. */
async function fill(text) {
  await page.evaluate(() => (document.querySelector("#batch-text").value = "?"));
  await page.setInputFiles("#batch-file", { name: "lines.txt", mimeType: "text/plain", buffer: Buffer.from(text) });
  await page.waitForFunction(() => document.querySelector("#batch-text").value !== "?");
}

/** Runs the batch to its end; what it says of it. */
async function run() {
  await page.evaluate(() => (document.querySelector("#batch-status").textContent = ""));
  await page.click("#batch-run");
  return says(page, "#batch-status", /^(Done|Stopped): /);
}

/** What a button saves. */
async function saved(button) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
}

const SENTENCES = given.expected.subword;
const COUNT = 20_000;
const many = Array.from({ length: COUNT }, (_, i) => SENTENCES[i % SENTENCES.length]);
const total = many.reduce((sum, { tokens: words }) => sum + words.length, 0);

test("more than 100,000 tokens, and typing is answered meanwhile", async () => {
  assert.ok(total > 100_000, `${total}`);
  await page.click("#tab-batch");
  await fill(many.map(({ text }) => text).join("\n"));
  await page.evaluate(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ type: "longtask" });
  });
  await page.click("#batch-run");
  await page.waitForFunction(() => document.querySelector("#batch-progress").value > 0);
  await page.click("#tab-sentence");
  await tag(page, "the cat ate");
  const running = await page.isEnabled("#batch-stop");
  await page.click("#tab-batch");
  const status = await says(page, "#batch-status", /^Done: /);
  assert.ok(running, "the batch was over before the typed text was tagged");
  assert.match(status, /^Done: 20,000 sentences, [\d,]+ tokens in .*tokens\/s$/);
  const longest = await page.evaluate(() => globalThis.longest);
  assert.ok(longest < 600, `the page stood still for ${longest} ms`);
});

test("of a table of all tokens only those in sight are on the page", async () => {
  assert.equal(Number(await page.getAttribute('[role="table"]', "aria-rowcount")), total + 1);
  assert.ok((await page.locator('.token-table [role="row"]').count()) < 80);
  await page.evaluate(() => (document.querySelector(".token-table").scrollTop = 1e9));
  await page.waitForSelector(`[role="row"][aria-rowindex="${total + 1}"]`);
  const cells = await page.$$eval('.rows [role="row"]:last-child [role="cell"]', (all) => all.map((one) => one.textContent));
  const last = many.at(-1);
  assert.deepEqual(cells.slice(0, 3), ["20,000", last.tokens.at(-1), last.tags.at(-1)]);
});

test("TSV, copied and saved", async () => {
  const wanted = many.map(({ tokens: words, tags }) => `${words.map((word, i) => `${word}\t${tags[i]}\n`).join("")}\n`).join("");
  const { name, text } = await saved("#batch-tsv");
  assert.equal(name, "tagged.tsv");
  assert.ok(text === wanted);
  await page.click("#batch-copy");
  await says(page, "#batch-copy", /Copied/);
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())) === wanted);
});

test("what is pasted goes in at once", async () => {
  await page.click("#batch-clear");
  await page.keyboard.press("Control+V");
  assert.match(await says(page, "#batch-held", /all/), /all [\d,]+ characters in 1\d\d,\d\d\d lines are tagged/);
  assert.ok((await page.inputValue("#batch-text")).length < 10_000);
});

test("JSON lines and CoNLL-U as lstm-deploy run writes them", async () => {
  await fill(SENTENCES.map(({ text }) => text).join("\n"));
  await run();
  const lines = (await saved("#batch-jsonl")).text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.length, SENTENCES.length);
  lines.forEach(({ tokens: words, tags, scores }, i) => {
    assert.deepEqual([words, tags], [SENTENCES[i].tokens, SENTENCES[i].tags]);
    scores.forEach((score, j) => assert.ok(Math.abs(score - SENTENCES[i].scores[j]) < 2e-5));
  });
  assert.equal((await saved("#batch-conllu")).text, given.files.conllu);
});

test("a run can be stopped, and what was found stays", async () => {
  await fill(many.map(({ text }) => text).join("\n"));
  await page.click("#batch-run");
  await page.waitForFunction(() => document.querySelector("#batch-progress").value > 0);
  await page.click("#batch-stop");
  const found = (await says(page, "#batch-status", /^Stopped: /)).match(/^Stopped: ([\d,]+) sentence/)[1];
  assert.ok(Number(found.replaceAll(",", "")) < COUNT);
  assert.ok(await page.isEnabled("#batch-run"));
});

test("running text is cut into sentences; a very long line is taken for it", async () => {
  await fill("The cat ate. Ann Lee went to Oslo. ".repeat(100));
  assert.ok(await page.isChecked("#cut-running"));
  assert.match(await run(), /^Done: 200 sentences, 1,000 tokens/);
  await fill("the cat\n\n  \nate");
  assert.match(await run(), /^Done: 2 sentences, 3 tokens/);
  await fill("");
  assert.match(await run(), /nothing to tag/);
});

test("a sentence that the model refuses ends the run with its number", async () => {
  await openModel(page, "characters-crf");
  await fill("the cat\nthe fish\nthe zebra\nthe cat");
  assert.match(await run(), /^Stopped: 2 sentences, 4 tokens/);
  assert.match(await page.textContent("#alerts"), /^Stopped at sentence 3: .*zebra/);
});

test("the sentence tab still works", async () => {
  await page.click("#tab-sentence");
  await tag(page, "the cat");
  assert.equal((await tokens(page)).length, 2);
});

test("no errors, no requests elsewhere", () => assertClean(seen));

/** The keyboard alone does everything, and a screen reader has names and roles for it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, given, inUse, open, says, shows, tag } from "./harness.mjs";

const { page, seen } = await open();

/** What has the focus: its id, or its accessible name. */
const focused = () =>
  page.evaluate(() => document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.textContent);

/** Presses Tab until something has the focus; what was passed on the way. */
async function tabTo(wanted) {
  const passed = [];
  for (let i = 0; i < 60; i++) {
    const found = await focused();
    if (wanted.test(found)) return passed;
    passed.push(found);
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never gets to ${wanted}: ${passed.join(" > ")}`);
}

test("from the top: skip link, text, tokens, examples, model, runtime, self-test", async () => {
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the text");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "text");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("They ate the fish");
  await shows(page, "Theyatethefish");
  await tabTo(/^They, NN/);
  for (const wanted of [/^The cat ate/, /^model-open$/, /^provider-wasm$/, /^selftest$/]) await tabTo(wanted);
  await page.keyboard.press("Enter");
  await says(page, "#selftest-result", /Agrees/);
});

test("arrow keys move between tokens; one of them is a stop of Tab", async () => {
  await page.focus(".token button");
  await page.keyboard.press("ArrowRight");
  assert.match(await focused(), /^ate, V, /);
  await page.keyboard.press("End");
  assert.match(await focused(), /^fish, NN, /);
  await page.keyboard.press("ArrowRight");
  assert.match(await focused(), /^fish, NN, /);
  await page.keyboard.press("ArrowLeft");
  assert.match(await focused(), /^the, DET, /);
  assert.equal(await page.locator('.token button[tabindex="0"]').count(), 1);
  await page.keyboard.press("Home");
  assert.match(await focused(), /^They, NN, /);
});

test("up and down lead to the row above and below", async () => {
  await tag(page, "The cat ate the fish\nThey read that book");
  await page.focus(".token button");
  await page.keyboard.press("ArrowDown");
  assert.match(await focused(), /^They, /);
  await page.keyboard.press("ArrowUp");
  assert.match(await focused(), /^The, /);
});

test("the focus shows the most probable tags; Escape hides them", async () => {
  await page.locator(".token button").nth(1).focus();
  await page.waitForSelector("#card:not([hidden])");
  const rows = await page.$$eval("#card li", (items) => items.map((item) => item.innerText.split(/\s+/)));
  assert.equal(rows.length, 3);
  assert.equal(rows[0][0], "NN");
  const sum = rows.reduce((total, [, value]) => total + Number(value), 0);
  assert.ok(Math.abs(sum - 100) < 0.2, `${sum}`);
  assert.equal(await page.locator(".token button").nth(1).getAttribute("aria-describedby"), "card");
  await page.keyboard.press("Escape");
  assert.ok(await page.isHidden("#card"));
  await page.locator(".token button").nth(2).hover();
  await page.waitForSelector("#card:not([hidden])");
  assert.match(await page.innerText("#card"), /^ate\s+V/);
  await page.mouse.move(2, 2);
  await page.waitForSelector("#card", { state: "hidden" });
});

test("a tag of the legend makes its tokens stand out", async () => {
  const entry = page.locator("#legend button", { hasText: "DET" });
  await entry.focus();
  await page.keyboard.press("Space");
  assert.equal(await entry.getAttribute("aria-pressed"), "true");
  assert.equal(await page.locator(".picked").count(), 3);
  await page.keyboard.press("Space");
  assert.equal(await page.locator(".picking").count(), 0);
});

test("a model can be picked by key", async () => {
  // The driver has to be listening before the key is pressed, not about to.
  page.on("filechooser", () => {});
  await page.focus("#model-open");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
  await chooser.setFiles(given.models.subword);
  await inUse(page, "subword.onnx");
  await page.setInputFiles("#model-file", given.models.tutorial);
  await inUse(page, "tutorial.onnx");
});

test("tabs by arrow keys, a batch by key, its table scrolls by key", async () => {
  await page.focus("#tab-sentence");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(), "tab-batch");
  await page.fill("#batch-text", "The cat ate the fish\n".repeat(40));
  await page.focus("#batch-run");
  await page.keyboard.press("Enter");
  await says(page, "#batch-status", /^Done: 40 sentences, 200 tokens/);
  await page.focus(".token-table");
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.querySelector('.token-table [role="row"][aria-rowindex="201"]'));
  await page.focus("#tab-batch");
  await page.keyboard.press("ArrowLeft");
  assert.ok(await page.isVisible("#text"));
});

test("roles and names", async () => {
  await tag(page, "The fish");
  const tree = await page.locator("body").ariaSnapshot();
  for (const line of [
    "- banner:",
    "- main:",
    "- contentinfo:",
    '- heading "Words, tagged as you type" [level=1]',
    '- tab "Sentence" [selected]',
    '- tabpanel "Sentence":',
    '- textbox "Text to tag; each line is a sentence"',
    '- group "Tagged tokens; arrow keys move between them":',
    '- complementary "Model and runtime":',
    '- radio "WebAssembly, 1 thread" [checked]',
    '- radio "WebGPU" [disabled]',
    '- button "Open another model…"',
  ]) {
    assert.ok(tree.includes(line), `${line} in\n${tree}`);
  }
  assert.match(tree, /- list:\n\s+- listitem:\n\s+- button "The, DET, [\d.]+ %":?.*\n(?:.*\n)*?\s+- listitem:\n\s+- button "fish, NN, /);
});

test("results are told politely, once typing rests", async () => {
  assert.equal(await page.getAttribute("#announcement", "role"), "status");
  await page.fill("#text", "");
  await page.locator("#text").pressSequentially("The cat", { delay: 30 });
  await shows(page, "Thecat");
  assert.doesNotMatch(await page.textContent("#announcement"), /^2 tokens tagged, \d uncertain\.$/);
  await says(page, "#announcement", /^2 tokens tagged, \d uncertain\.$/);
});

test("no errors, no requests elsewhere", () => assertClean(seen));

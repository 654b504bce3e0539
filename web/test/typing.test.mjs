/** Typed text gets the tags that Python gives, with every kind of model. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, given, open, openModel, says, shows, tag, tokens } from "./harness.mjs";

const { page, seen, server } = await open({ hash: `#text=${encodeURIComponent("The cat ate")}` });

/** The page shows one decimal of a percentage; int8 models differ between batches by what they round. */
function assertSame(found, { tokens: words, tags, scores, tolerance }) {
  assert.deepEqual(
    found.map(([word, tagged]) => [word, tagged]),
    words.map((word, i) => [word, tags[i]]),
  );
  found.forEach(([, , percent], i) => assert.ok(Math.abs(percent - 100 * scores[i]) <= 0.06 + 100 * tolerance));
}

test("the text of the address is tagged first", async () => {
  assert.equal(await page.inputValue("#text"), "The cat ate");
  assert.deepEqual((await tokens(page)).map(([word]) => word), ["The", "cat", "ate"]);
});

for (const [name, sentences] of Object.entries(given.expected)) {
  test(`${name}: as Python tags`, async () => {
    if (name !== "tutorial") await openModel(page, name);
    for (const sentence of sentences) {
      await page.fill("#text", sentence.text);
      await shows(page, sentence.tokens.join(""));
      assertSame(await tokens(page), sentence);
    }
    // All at once: each line is a sentence of its own.
    await page.fill("#text", sentences.map(({ text }) => text).join("\n\n"));
    await shows(page, sentences.flatMap(({ tokens: words }) => words).join(""));
    assert.equal(await page.locator(".tokens").count(), sentences.length);
  });
}

test("the latest of many quick texts wins, and typing is never held up", async () => {
  await page.click("#text");
  await page.fill("#text", "");
  await page.keyboard.type("the cat ate fish Ann Lee went to Oslo", { delay: 2 });
  assert.equal(await page.inputValue("#text"), "the cat ate fish Ann Lee went to Oslo");
  await shows(page, "thecatatefishAnnLeewenttoOslo");
});

test("latency and speed of the last run", async () => {
  assert.match(await says(page, "#speed", /tokens/), /^9 tokens in [\d.]+ ms, [\d,]+ tokens\/s · WebAssembly, 1 thread$/);
});

test("nothing is nothing", async () => {
  await page.fill("#text", " \n ");
  await says(page, "#speed", /Nothing to tag/);
  assert.equal(await page.locator(".token").count(), 0);
});

test("text from right to left runs from right to left, its tags do not", async () => {
  await openModel(page, "subword");
  await tag(page, "ذهبت مريم\nthe cat");
  const lists = page.locator(".tokens");
  const direction = (element) => getComputedStyle(element).direction;
  assert.equal(await lists.nth(0).evaluate(direction), "rtl");
  assert.equal(await lists.nth(1).evaluate(direction), "ltr");
  assert.equal(await lists.nth(0).locator(".tag").first().evaluate(direction), "ltr");
});

test("entities are spans with their type", async () => {
  await tag(page, "Ann Lee went to Oslo in May");
  const found = await page.$$eval(".token", (items) =>
    items.map((item) => [item.querySelector("button").ariaLabel.split(", ")[1], item.className, item.innerText]),
  );
  assert.ok(found.some(([name]) => name !== "O"));
  for (const [name, classes, text] of found) {
    assert.equal(classes.includes("entity"), name !== "O");
    if (classes.includes("entity") && classes.includes("begins")) assert.match(text, new RegExp(`${name.slice(2)}\\??$`));
  }
});

test("a word the model refuses is said where its tags would stand", async () => {
  await openModel(page, "characters-crf");
  await page.fill("#text", "the zebra");
  assert.match(await says(page, "#tagged", /zebra/), /no word "zebra"/);
  assert.equal(await page.locator(".token").count(), 0);
  await tag(page, "the cat");
});

test("a text too long to read word by word goes to the other tab", async () => {
  await page.evaluate(() => {
    const text = document.querySelector("#text");
    text.value = "the cat ".repeat(5000);
    text.dispatchEvent(new Event("input"));
  });
  await page.click("text=Take it to");
  assert.equal((await page.inputValue("#batch-text")).length, 40_000);
  assert.ok(await page.isChecked("#cut-running"));
  await page.click("#tab-sentence");
  await page.click("#clear");
});

test("a link holds the text and nothing else; the skip link leaves it alone", async () => {
  await tag(page, "the cat");
  await page.click("#copy-link");
  await page.waitForFunction(() => location.hash);
  assert.equal(page.url(), `${server.url}#text=the%20cat`);
  await page.evaluate(() => (location.hash = "#text"));
  assert.equal(await page.inputValue("#text"), "the cat");
  await page.evaluate(() => (location.hash = "#text=the%20fish"));
  await shows(page, "thefish");
});

test("no errors, no requests elsewhere", () => assertClean(seen));

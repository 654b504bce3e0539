/** Text, tags, file names and metadata that try to become markup or script, and a page that may not call out. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assertClean, given, inUse, open, says, tag, tokens } from "./harness.mjs";

const { page, seen } = await open();
const ATTACK = "<img/src=x/onerror=globalThis.pwned=1>";

const unharmed = () => page.evaluate(() => globalThis.pwned === undefined && !document.querySelector("#tagged img, aside img, .card img"));

test("tokens are text", async () => {
  await tag(page, `They ${ATTACK} <script>globalThis.pwned=1</script>`);
  assert.equal((await tokens(page))[1][0], ATTACK);
  await page.locator(".token button").nth(1).hover();
  await page.waitForSelector("#card:not([hidden])");
  assert.match(await page.innerText("#card"), /<img/);
  assert.ok(await unharmed());
});

test("tags, file names and metadata are text", async () => {
  const name = "<b onclick=alert(1)>&amp;.onnx";
  await page.setInputFiles("#model-file", { name, mimeType: "", buffer: readFileSync(given.models.hostile) });
  await inUse(page, name);
  await tag(page, "The cat");
  assert.ok((await page.innerText("#legend")).includes("<img"));
  assert.ok((await page.innerText("#model-facts")).includes("<script>"));
  await page.click("#tab-batch");
  await page.fill("#batch-text", `${ATTACK} cat`);
  await page.click("#batch-run");
  await says(page, "#batch-status", /^Done/);
  await page.waitForSelector('.token-table .rows [role="row"]'); // drawn with the next frame
  assert.ok((await page.innerText(".token-table")).includes(ATTACK));
  await page.click("#tab-sentence");
  await page.setInputFiles("#model-file", { name, mimeType: "", buffer: Buffer.from("bad") });
  assert.ok((await says(page, "#alerts", /Still using/)).startsWith(name));
  assert.ok(await unharmed());
});

test("lone surrogates, controls, direction marks and 10,000 combining marks", async () => {
  await page.setInputFiles("#model-file", given.models.subword);
  await inUse(page, "subword.onnx");
  for (const text of ["\ud800 x", "a\u0000b", "\u202eevil\u202c", `e${"\u0301".repeat(10_000)}`, "👩‍👩‍👧 🇫🇷"]) {
    await page.evaluate((value) => {
      const field = document.querySelector("#text");
      field.value = value;
      field.dispatchEvent(new Event("input"));
    }, text);
    await page.waitForFunction(
      (value) =>
        [...document.querySelectorAll(".token .word")].map((one) => one.textContent).join("") ===
        document.querySelector("#text").value.replace(/\s/g, ""),
      text,
    );
  }
});

test("the page's own policy: no markup from text, no script elsewhere, no calls elsewhere", async () => {
  seen.errors.length = 0;
  const results = await page.evaluate(async () => {
    const refused = async (act) => {
      try {
        await act();
        return false;
      } catch {
        return true;
      }
    };
    return {
      markup: await refused(() => (document.body.innerHTML = "<p>x</p>")),
      script: await refused(() => new Worker("https://example.org/x.js")),
      // In a turn of its own: what the tests' driver evaluates may evaluate in turn.
      evaluation: await new Promise((resolve) => setTimeout(() => resolve(refused(() => globalThis.eval("1"))))),
      call: await refused(() => fetch("https://example.org/")),
      beacon: await refused(() => {
        if (!navigator.sendBeacon("https://example.org/", "x")) throw new Error("refused");
        return new Promise((resolve, reject) => {
          document.addEventListener("securitypolicyviolation", reject, { once: true });
          setTimeout(resolve, 500);
        });
      }),
    };
  });
  assert.deepEqual(results, { markup: true, script: true, evaluation: true, call: true, beacon: true });
  // The browser reports what it refused; nothing else is among it.
  assert.ok(seen.errors.every((text) => /Content Security Policy|Trusted|violates/.test(text)), seen.errors.join("\n"));
  seen.errors.length = 0;
});

test("the worker may not call out either", async () => {
  const [worker] = page.workers();
  const refused = await worker.evaluate(() => fetch("https://example.org/").then(() => false, () => true));
  assert.ok(refused);
  seen.errors = seen.errors.filter((text) => !/Content Security Policy|violates/.test(text));
});

test("no errors, no requests elsewhere", () => {
  seen.strangers = seen.strangers.filter((url) => !url.startsWith("https://example.org/"));
  assertClean(seen);
});

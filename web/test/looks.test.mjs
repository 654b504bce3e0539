/** Light, dark and narrow: all text is readable, and nothing sticks out. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClean, open, openModel, says, tag } from "./harness.mjs";

const { page, seen } = await open();

/** Elements whose text has less contrast with what lies behind it than WCAG AA asks for (4.5). */
function faint() {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour[3] === 255) return colour;
      }
      return [255, 255, 255, 255];
    };
    const found = [];
    let checked = 0;
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!own || !element.checkVisibility({ visibilityProperty: true }) || element.closest(":disabled, .hidden-label, .skip")) {
        continue;
      }
      const [a, b] = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      checked++;
      if (contrast < 4.5) found.push(`${element.className || element.id || element.localName}: ${contrast.toFixed(2)}`);
    }
    return { checked, found };
  });
}

/** All colours there are: the palette's known tags, and as many made ones, on one token each. */
async function showAllColours() {
  await page.evaluate(async () => {
    const { colours, paint } = await import("./app/palette.js");
    const upos = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split(" ");
    const made = Array.from({ length: 50 }, (_, i) => `T${i}`);
    const model = document.querySelector(".token");
    const list = document.querySelector(".tokens");
    for (const colour of [...colours(upos).values(), ...colours(made).values()]) {
      const copy = model.cloneNode(true);
      paint(copy, colour);
      list.append(copy);
    }
  });
}

for (const scheme of ["light", "dark"]) {
  test(`${scheme}: contrast of everything`, async () => {
    await page.emulateMedia({ colorScheme: scheme });
    await tag(page, "They ate the fish");
    await page.setInputFiles("#model-file", { name: "bad.onnx", mimeType: "", buffer: Buffer.from("bad") });
    await says(page, "#alerts", /bad\.onnx/);
    await page.click("#selftest");
    await says(page, "#selftest-result", /Agrees/);
    await page.locator(".token button").first().focus();
    await page.waitForSelector("#card:not([hidden])");
    await showAllColours();
    const { checked, found } = await faint();
    assert.ok(checked > 150, `${checked} checked`);
    assert.deepEqual(found, []);
  });
}

test("the system's theme, and the button over it, kept for the next visit", async () => {
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  assert.notEqual(light, dark);
  await page.click("#theme");
  assert.equal(await page.textContent("#theme"), "Theme: light");
  assert.equal(await ground(), light);
  await page.reload();
  await page.waitForSelector(".token");
  assert.equal(await ground(), light);
  await page.click("#theme");
  assert.equal(await ground(), dark);
  await page.click("#theme");
  assert.equal(await page.textContent("#theme"), "Theme: system");
});

test("a model of entities, for what follows", () => openModel(page, "subword"));

for (const [width, height] of [
  [320, 640],
  [390, 844],
  // 1280 pixels at 200 %.
  [640, 400],
]) {
  test(`${width} pixels wide: nothing sticks out`, async () => {
    await page.setViewportSize({ width, height });
    await tag(page, `Ann Lee went to ${"Donaudampfschifffahrtsgesellschaft".repeat(4)} in Oslo`);
    await page.locator(".token button").nth(4).focus();
    await page.waitForSelector("#card:not([hidden])");
    const box = await page.locator("#card").boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= width);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
    await page.click("#tab-batch");
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
    await page.click("#tab-sentence");
  });
}

test("no motion where none is wanted", async () => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const moving = await page.$$eval("*", (all) => all.filter((one) => /[1-9]/.test(getComputedStyle(one).transitionDuration)).length);
  assert.equal(moving, 0);
});

test("no errors, no requests elsewhere", () => assertClean(seen));

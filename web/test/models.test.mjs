/** Other models and other runtimes; what cannot be used is said, and what was in use stays. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assertClean, given, inUse, open, openModel, says, tag, tokens } from "./harness.mjs";

const { page, seen } = await open();

/** Drops a file on the page, as a file manager does. */
async function drop(name, bytes) {
  const data = await page.evaluateHandle(
    ([file, content]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(content)], file));
      return transfer;
    },
    [name, [...bytes]],
  );
  await page.dispatchEvent("body", "dragover", { dataTransfer: data });
  assert.ok(await page.isVisible("#drop-veil"));
  await page.dispatchEvent("body", "drop", { dataTransfer: data });
  assert.ok(await page.isHidden("#drop-veil"));
}

const tutorial = readFileSync(given.models.tutorial);

test("facts of the shipped model", async () => {
  const facts = await page.innerText("#model-facts");
  const made = ["public domain", "PyTorch tutorials", "tutorial, 9 tokens", "train: accuracy 100.0 %"];
  for (const fact of ["tutorial.onnx", "kB", "fp32", ...made]) {
    assert.ok(facts.includes(fact), `${fact} in ${facts}`);
  }
});

const BAD = {
  "not ONNX": [Buffer.from("<!doctype html>"), /is not an ONNX model/],
  "without metadata": [Buffer.from([0x08, 8, 0x3a, 0]), /without lstm-deploy metadata/],
  "cut off": [tutorial.subarray(0, tutorial.length / 2), /is not an ONNX model/],
  empty: [Buffer.alloc(0), /is empty/],
};
for (const [name, [bytes, message]] of Object.entries(BAD)) {
  test(`a file that is ${name}: one line, and the old model stays`, async () => {
    await drop("bad.onnx", bytes);
    const said = await says(page, "#alerts", message);
    assert.match(said, /^bad\.onnx: .*Still using tutorial\.onnx\./);
    await tag(page, "They ate the fish");
    assert.deepEqual((await tokens(page)).map(([, found]) => found), ["NN", "V", "DET", "NN"]);
    await page.click("#alerts button");
    assert.equal(await page.textContent("#alerts"), "");
  });
}

test("a dropped model is used, and says what it is", async () => {
  await drop("mine.onnx", readFileSync(given.models["characters-crf"]));
  await inUse(page, "mine.onnx");
  assert.match(await page.innerText("#model-facts"), /best path of a CRF/);
});

for (const name of Object.keys(given.models).filter((one) => one !== "hostile")) {
  test(`${name}: the self-test agrees`, async () => {
    await openModel(page, name);
    await page.click("#selftest");
    await says(page, "#selftest-result", /✓ Agrees: \d+ cases, \d+ tokens; largest difference/);
  });
}

test("threads work, as the service worker isolates the page", async () => {
  assert.ok(await page.evaluate(() => crossOriginIsolated));
  await openModel(page, "tutorial");
  await page.check("#provider-threads");
  await says(page, "#notices", /Now on WebAssembly, \d threads/);
  await tag(page, "The cat ate");
  assert.deepEqual((await tokens(page)).map(([, found]) => found), ["DET", "NN", "V"]);
  assert.match(await page.textContent("#speed"), /threads$/);
});

test("WebGPU: disabled with the reason, and a failure falls back with a message", async () => {
  assert.ok(await page.isDisabled("#provider-webgpu"));
  assert.match(await page.textContent("#provider-webgpu-note"), /^Not available: /);
  // As where an adapter is found, but its device is lost before the worker has it.
  await page.evaluate(() => (document.querySelector("#provider-webgpu").disabled = false));
  await page.click("#provider-webgpu"); // not check(): the failure may switch back before it looks
  await says(page, "#notices", /WebGPU does not work here \(no WebGPU adapter\)\. Still on WebAssembly, \d threads\./);
  assert.ok(await page.isChecked("#provider-threads"));
  await tag(page, "The fish");
});

test("no errors, no requests elsewhere", () => assertClean(seen));

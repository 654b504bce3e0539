/**
 * The client in Chromium: self-tests of all model files on onnxruntime-web, in WebAssembly with 1 and 2 threads, and
 * tags equal to Python's. LSTM_DEPLOY_EXPECTED names a JSON file made by Python: a list of { name, path, sentences,
 * tags, scores }; without it there are the self-tests alone.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { findChromium, openChromium } from "../../tools/chromium.js";
import { serve } from "../../tools/site.js";
import { MODELS, TREEBANK_MODELS } from "../support/models.js";

const ALL = { ...MODELS, ...TREEBANK_MODELS };
const EXPECTED = process.env.LSTM_DEPLOY_EXPECTED
  ? JSON.parse(readFileSync(process.env.LSTM_DEPLOY_EXPECTED, "utf8"))
  : [];
const PAGE = readFileSync(new URL("../../README.md", import.meta.url), "utf8").match(/```html\n(.*?)```/s)?.[1] ?? "";
const skip = findChromium() ? false : "no program chromium on PATH";

for (const threads of [1, 2]) {
  describe(`Chromium, WebAssembly with ${threads} thread${threads > 1 ? "s" : ""}`, { skip, timeout: 300000 }, () => {
    let site, chromium, page;
    before(async () => {
      const models = Object.entries(ALL).map(([name, path]) => [`/models/${name}.onnx`, path]);
      const expected = EXPECTED.map(({ name, path }) => [`/expected/${name}.onnx`, path]);
      const files = [...models, ...expected, ["/tutorial.onnx", MODELS.tutorial]];
      site = await serve(Object.fromEntries(files), { "/": "<!doctype html><title>tagger</title>", "/readme": PAGE });
      chromium = await openChromium();
      page = await chromium.newPage();
      await page.goto(site.url);
      await page.evaluate(async (numThreads) => {
        const [ort, client] = await Promise.all([import("/ort/ort.wasm.min.mjs"), import("/client/index.js")]);
        ort.env.wasm.numThreads = numThreads;
        globalThis.client = client;
        globalThis.load = async (path) => {
          const response = await fetch(path);
          return client.Tagger.load(await response.arrayBuffer(), ort);
        };
        globalThis.ort = ort;
      }, threads);
    });
    after(async () => {
      await chromium?.close();
      await site?.close();
    });

    test("the page may have threads", async () => {
      assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), true);
    });

    for (const name of Object.keys(ALL)) {
      test(`${name} answers as PyTorch did`, async () => {
        const report = await page.evaluate(async (path) => {
          const tagger = await globalThis.load(path);
          const found = await tagger.selfTest();
          await tagger.release();
          return found;
        }, `/models/${name}.onnx`);
        assert.deepEqual(report.failures, []);
        assert.ok(report.cases > 0);
      });
    }

    test("the page in README.md", async () => {
      const readme = await chromium.newPage();
      await readme.goto(`${site.url}/readme`);
      await readme.waitForFunction(() => globalThis.document.body?.textContent.trim() === "NN V DET NN");
      await readme.close();
    });

    test("a missing file is an error of ours", async () => {
      const message = await page.evaluate(() => globalThis.load("/no.onnx").catch((error) => `${error}`));
      assert.match(message, /^NotOnnxError: the model file is empty; expected /);
    });

    test("a streaming file in chunks, calls overlapping", async () => {
      const [parts, whole] = await page.evaluate(async () => {
        const response = await fetch("/models/streaming.onnx");
        const { StreamingTagger } = globalThis.client;
        const tagger = await StreamingTagger.load(await response.arrayBuffer(), globalThis.ort);
        const tokens = "Ann went to the cat and 東京 .".split(" ");
        const stream = tagger.stream();
        const [expected, ...pushed] = await Promise.all([tagger.tag(tokens), ...tokens.map((t) => stream.push([t]))]);
        await tagger.release();
        return [pushed.flatMap(({ tags }) => tags), expected.tags];
      });
      assert.deepEqual(parts, whole);
    });

    for (const { name, sentences, tags, scores, precision } of EXPECTED) {
      test(`${name}: tags of ${sentences.length} sentences are Python's`, async () => {
        const found = await page.evaluate(
          async ([path, given]) => {
            const tagger = await globalThis.load(path);
            const results = await tagger.tagBatch(given);
            await tagger.release();
            return results;
          },
          [`/expected/${name}.onnx`, sentences],
        );
        assertSame(found, tags, scores, precision);
      });
    }
  });
}

/** Tags equal; of an int8 file, whose rounding depends on the batch, all but one in 200. */
function assertSame(found, tags, scores, precision) {
  let [count, differ] = [0, 0];
  for (const [i, result] of found.entries()) {
    assert.equal(result.tags.length, tags[i].length);
    for (const [j, tag] of result.tags.entries()) {
      count++;
      if (tag !== tags[i][j]) differ++;
      else if (precision !== "int8") assert.ok(Math.abs(Math.log(result.scores[j]) - Math.log(scores[i][j])) < 1e-4);
    }
  }
  assert.ok(count > 0);
  assert.ok(differ <= (precision === "int8" ? count / 200 : 0), `${differ} of ${count} tags differ`);
}

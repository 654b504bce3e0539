/**
 * Measures the client in Node and in Chromium, and prints JSON.
 *
 *     node bench/run.js --model FILE.onnx --sentences FILE.json [--output FILE.json] [--rounds 5] [--single 300]
 *         [--pages 15] [--without-chromium]
 *
 * The sentences are a JSON list of lists of tokens. `lstm-deploy`'s own figures stand in benchmarks/NOTES.md.
 *
 * - encoder: batches of 50 sentences to id arrays, of words met for the first time and of words in the cache.
 * - tokens_per_second: `tagBatch` of all sentences with scores, strings in and strings out; median of the rounds.
 * - one_sentence_ms: `tag` of one sentence of 20 tokens with scores; median.
 * - first_tags_ms: from the start of the navigation to the tags of the first sentence, in a new page each time: HTML,
 *   client, onnxruntime-web and its WebAssembly, model, session, tags. Everything comes from Chromium's own HTTP cache,
 *   which three pages before have filled. Median of the pages.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import * as ort from "onnxruntime-node";

import { Tagger } from "../src/index.js";
import { findChromium, openChromium } from "../tools/chromium.js";
import { serve } from "../tools/site.js";
import { measure, median, rounded } from "./measure.js";

const THREADS = [1, 2];
const PAGE = `<!doctype html><title>first tags</title><script type="module">
  import * as ort from "/ort/ort.wasm.min.mjs";
  import { Tagger } from "/client/index.js";
  ort.env.wasm.numThreads = Number(new URLSearchParams(location.search).get("threads"));
  const response = await fetch("/model.onnx");
  const tagger = await Tagger.load(await response.arrayBuffer(), ort);
  const { tags } = await tagger.tagText("They ate the fish.");
  globalThis.firstTags = { time: performance.now(), tags: tags.length };
</script>`;

const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    sentences: { type: "string" },
    output: { type: "string" },
    rounds: { type: "string", default: "5" },
    single: { type: "string", default: "300" },
    pages: { type: "string", default: "15" },
    "without-chromium": { type: "boolean", default: false },
  },
});
if (!options.model || !options.sentences) {
  console.error("usage: node bench/run.js --model FILE.onnx --sentences FILE.json (a list of lists of tokens)");
  process.exit(2);
}
const counts = { rounds: Number(options.rounds), single: Number(options.single) };
const sentences = JSON.parse(readFileSync(options.sentences, "utf8"));
const bytes = readFileSync(options.model);

const report = {
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
  model: { name: basename(options.model), bytes: bytes.length },
  sentences: sentences.length,
  tokens: sentences.reduce((sum, sentence) => sum + sentence.length, 0),
  ...counts,
  node: await inNode(),
  chromium: options["without-chromium"] || !findChromium() ? null : await inChromium(Number(options.pages)),
};
const text = `${JSON.stringify(report, null, 2)}\n`;
process.stdout.write(text);
if (options.output) writeFileSync(options.output, text);

async function inNode() {
  const found = { onnxruntime_node: ort.env.versions.node };
  for (const threads of THREADS) {
    const tagger = await Tagger.load(bytes, ort, { sessionOptions: { intraOpNumThreads: threads } });
    found[`threads_${threads}`] = await measure(tagger, sentences, counts);
    await tagger.release();
  }
  return found;
}

async function inChromium(pages) {
  const site = await serve(
    {
      "/model.onnx": options.model,
      "/sentences.json": options.sentences,
      "/bench/measure.js": fileURLToPath(new URL("measure.js", import.meta.url)),
    },
    { "/": "<!doctype html><title>measure</title>", "/first": PAGE },
  );
  const chromium = await openChromium();
  try {
    const found = { version: chromium.version() };
    for (const threads of THREADS) {
      const page = await chromium.newPage();
      await page.goto(site.url);
      found[`threads_${threads}`] = await page.evaluate(measureInPage, { threads, counts });
      await page.close();
      const times = [];
      for (let i = 0; i < pages + 3; i++) times.push(await firstTags(chromium, `${site.url}/first?threads=${threads}`));
      found[`threads_${threads}`].first_tags_ms = rounded(median(times.slice(3)));
      found[`threads_${threads}`].first_tags_ms_of_pages = times.slice(3).map(rounded);
    }
    return found;
  } finally {
    await chromium.close();
    await site.close();
  }
}

async function measureInPage({ threads, counts }) {
  const [ort, { Tagger }, { measure }] = await Promise.all([
    import("/ort/ort.wasm.min.mjs"),
    import("/client/index.js"),
    import("/bench/measure.js"),
  ]);
  ort.env.wasm.numThreads = threads;
  const [model, sentences] = await Promise.all([fetch("/model.onnx"), fetch("/sentences.json")]);
  const tagger = await Tagger.load(await model.arrayBuffer(), ort);
  return { onnxruntime_web: ort.env.versions.web, ...(await measure(tagger, await sentences.json(), counts)) };
}

async function firstTags(chromium, url) {
  const page = await chromium.newPage();
  try {
    await page.goto(url);
    await page.waitForFunction(() => globalThis.firstTags);
    return await page.evaluate(() => globalThis.firstTags.time);
  } finally {
    await page.close();
  }
}

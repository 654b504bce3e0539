/** The worker: runtime and model, answering one question a message. Nothing here touches the page. */

import { InputError, Tagger } from "../client/index.js";
import { download } from "./download.js";

/** Tags of a token that are sent along: what the card has room for. */
const MOST_PROBABLE = 6;

/** @type {any} */
let runtime = null;
/** @type {object} */
let sessionOptions = {};
/** @type {Tagger | null} */
let tagger = null;

/** @type {Record<string, (parameters: any) => Promise<unknown>>} */
const ANSWERS = {
  async start({ provider, threads, files }) {
    // Asked here as well as in the page: without an adapter the runtime's own message names no cause.
    if (provider === "webgpu" && !(await navigator.gpu?.requestAdapter())) throw new Error("no WebGPU adapter");
    runtime = await import(files.script.url);
    const { env } = runtime;
    env.logLevel = "error";
    env.wasm.numThreads = threads;
    env.wasm.wasmPaths = { mjs: files.loader.url };
    // Fetched here rather than by the runtime, to show how far it is, and so that any server's type for it will do.
    env.wasm.wasmBinary = await download(files.wasm, "runtime", progress);
    // Errors are thrown as well; what is below them would only fill the console.
    sessionOptions = { executionProviders: [provider], logSeverityLevel: 3 };
  },

  async open(source) {
    const bytes = source.blob
      ? new Uint8Array(await source.blob.arrayBuffer())
      : await download(source, "model", progress);
    const opened = await Tagger.load(bytes, runtime, { sessionOptions });
    // The first run is slow, and shows whether the runtime has all that the model needs.
    await opened.tag(opened.metadata.golden.find(({ tokens }) => tokens.length)?.tokens ?? []);
    const before = tagger;
    tagger = opened;
    await before?.release();
    return { metadata: opened.metadata, bytes: bytes.length };
  },

  async tag({ texts }) {
    const sentences = [];
    const start = performance.now();
    for (const text of texts) sentences.push(await model().tagText(text));
    return { sentences, ms: performance.now() - start };
  },

  async tagMany({ texts }) {
    const start = performance.now();
    try {
      const spans = texts.map((/** @type {string} */ text) => model().tokenize(text));
      const found = await model().tagBatch(spans.map(tokensOf));
      const sentences = found.map((sentence, i) => ({ text: texts[i], ...sentence }));
      return { sentences, ms: performance.now() - start };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return untilRefused(texts, start);
    }
  },

  async distribution({ tokens }) {
    const all = await model().distribution(tokens);
    return all.map((tags) => tags.slice(0, MOST_PROBABLE));
  },

  selfTest: () => model().selfTest(),
};

/** @param {import("../client/index.js").Span[]} spans */
const tokensOf = (spans) => spans.map(({ token }) => token);

/**
 * The sentences before the one that the model refuses, and why it does.
 *
 * @param {string[]} texts
 * @param {number} start
 */
async function untilRefused(texts, start) {
  const sentences = [];
  for (const text of texts) {
    try {
      sentences.push(await model().tagText(text));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return { sentences, ms: performance.now() - start, refused: { name: error.name, message: error.message } };
    }
  }
  return { sentences, ms: performance.now() - start };
}

function model() {
  if (!tagger) throw new Error("no model is open");
  return tagger;
}

/** @param {import("./engine.js").Progress} value */
function progress(value) {
  postMessage({ progress: value });
}

addEventListener("message", async ({ data: { id, kind, parameters } }) => {
  try {
    postMessage({ id, result: await ANSWERS[kind](parameters) });
  } catch (caught) {
    const error = caught instanceof Error ? caught : new Error(String(caught));
    postMessage({ id, error: { name: error.name, message: error.message } });
  }
});

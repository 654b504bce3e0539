/** The worker that tags, as promises. One engine is one worker, runtime and model; another runtime is another engine. */

import { scriptUrl } from "./script-urls.js";

/** An error of the worker, under the name that it had there. */
export class EngineError extends Error {
  /** @param {{ name: string, message: string }} error */
  constructor({ name, message }) {
    super(message);
    this.name = name;
  }
}

/**
 * One sentence as tagged.
 *
 * @typedef {{ text: string, tokens: string[], tags: string[], scores: number[], offsets: [number, number][] }} Tagged
 */
/** @typedef {{ part: string, loaded: number, total: number }} Progress */
/** @typedef {{ url: string, bytes: number } | { blob: Blob }} ModelSource */

export class Engine {
  /** @type {Worker} */
  #worker;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  #last = 0;
  #stopped = false;

  /** @param {(progress: Progress) => void} [onProgress] */
  constructor(onProgress = () => {}) {
    this.#worker = new Worker(scriptUrl("./tagger.worker.js"), { type: "module", name: "tagger" });
    this.#worker.addEventListener("message", ({ data }) => {
      if (data.progress) onProgress(data.progress);
      const waiting = this.#waiting.get(data.id);
      if (!waiting) return;
      this.#waiting.delete(data.id);
      if (data.error) waiting.reject(new EngineError(data.error));
      else waiting.resolve(data.result);
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#fail(new EngineError({ name: "WorkerFailure", message: event.message || "its script did not load" }));
    });
  }

  /**
   * Starts the runtime.
   *
   * @param {{ provider: "wasm" | "webgpu", threads: number, files: Record<string, { url: string, bytes: number }> }} options
   */
  start(options) {
    return this.#ask("start", options);
  }

  /**
   * Opens a model; the one before stays in use if this fails.
   *
   * @param {ModelSource} source
   * @returns {Promise<{ metadata: import("../client/index.js").ModelMetadata, bytes: number }>}
   */
  open(source) {
    return this.#ask("open", source);
  }

  /**
   * Tags one text after another, each as one sentence, each alone.
   *
   * @param {string[]} texts
   * @returns {Promise<{ sentences: Tagged[], ms: number }>}
   */
  tag(texts) {
    return this.#ask("tag", { texts });
  }

  /**
   * Tags many sentences, in batches. Up to the first that the model refuses, if there is one.
   *
   * @param {string[]} texts
   * @returns {Promise<{ sentences: Tagged[], ms: number, refused?: { name: string, message: string } }>}
   */
  tagMany(texts) {
    return this.#ask("tagMany", { texts });
  }

  /**
   * The most probable tags of each token.
   *
   * @param {string[]} tokens
   * @returns {Promise<{ tag: string, probability: number }[][]>}
   */
  distribution(tokens) {
    return this.#ask("distribution", { tokens });
  }

  /** @returns {Promise<import("../client/index.js").GoldenReport>} */
  selfTest() {
    return this.#ask("selfTest", {});
  }

  stop() {
    this.#worker.terminate();
    this.#fail(new EngineError({ name: "Stopped", message: "the tagger was stopped" }));
  }

  /**
   * @param {string} kind
   * @param {object} parameters
   * @returns {Promise<any>}
   */
  #ask(kind, parameters) {
    if (this.#stopped) return Promise.reject(new EngineError({ name: "Stopped", message: "the tagger was stopped" }));
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, kind, parameters });
    });
  }

  /** @param {EngineError} error */
  #fail(error) {
    this.#stopped = true;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

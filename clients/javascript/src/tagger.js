/** The flow of prediction, nothing else: tokenize -> encode -> run -> decode. */

import { planBatches } from "./batching.js";
import { decodeRow, rowProbabilities } from "./decoding.js";
import { Encoder } from "./encoding.js";
import { shown } from "./errors.js";
import { checkGolden } from "./golden.js";
import { TaggerSession } from "./session.js";

/** Cells of a batch, by graph form: where each is fastest. */
const BATCH_TOKENS = /** @type {Readonly<Record<string, number>>} */ ({ scan_int8: 3072 });
const BATCH_TOKENS_OF_OTHERS = 1024;

/** @typedef {import("./decoding.js").TaggedSentence} TaggedSentence */
/**
 * A tagged text: `text.slice(start, end)` is the token, for each `[start, end]` of `offsets` (UTF-16 code units).
 *
 * @typedef {TaggedSentence & { text: string, offsets: [number, number][] }} TaggedText
 */
/** @typedef {{ tag: string, probability: number }} TagProbability */

/**
 * How a model is opened and run.
 *
 * @typedef {object} LoadOptions
 * @property {object} [sessionOptions] for the runtime, as its `InferenceSession.create` takes them
 * @property {number} [batchTokens] cells (rows x longest row) that a batch has at most; the memory taken grows with it
 */

/** Tags sentences with one model file. Any number of calls may be under way; the runtime does them one by one. */
export class Tagger {
  /** @type {number} */
  #batchTokens;

  /**
   * Use `load`.
   *
   * @param {TaggerSession} session
   * @param {LoadOptions} [options]
   */
  constructor(session, { batchTokens } = {}) {
    /** The open model file; its `run` takes ids from anywhere, and checks them. */
    this.session = session;
    /** Makes the model's inputs. */
    this.encoder = new Encoder(session.parts);
    /** What the file says of itself; frozen. */
    this.metadata = session.parts.metadata;
    this.#batchTokens = batchTokens ?? BATCH_TOKENS[this.metadata.graphForm] ?? BATCH_TOKENS_OF_OTHERS;
  }

  /** Cells (rows x longest row) that a batch has at most. */
  get batchTokens() {
    return this.#batchTokens;
  }

  /**
   * The tagger for a file made by `lstm-deploy export`.
   *
   * @param {Uint8Array | ArrayBuffer} bytes the model file
   * @param {import("./runtime.js").Runtime} runtime what `import * as ort from "onnxruntime-web"` (or
   *     `"onnxruntime-node"`) gives
   * @param {LoadOptions} [options]
   * @returns {Promise<Tagger>}
   * @throws {import("./errors.js").ModelFileError} the file is not one of ours, or contradicts itself
   * @throws {import("./errors.js").RuntimeFailure} the runtime does not open it
   * @throws {TypeError | RangeError} no bytes, no runtime, or `batchTokens` below 1
   */
  static async load(bytes, runtime, options = {}) {
    return new Tagger(await openChecked(bytes, runtime, options), options);
  }

  /**
   * The tokens of `text` by the model's tokenizer, with UTF-16 offsets: `text.slice(start, end) === token`.
   *
   * @param {string} text
   * @returns {import("./tokenizer.js").Span[]}
   * @throws {TypeError} it is not a string
   */
  tokenize(text) {
    return this.session.parts.tokenizer.spans(text);
  }

  /**
   * Tags one sentence.
   *
   * @param {readonly string[]} tokens
   * @param {{ scores?: boolean }} [options] scores: whether to give the probability of each tag too
   * @returns {Promise<TaggedSentence>}
   * @throws {TypeError} `tokens` is not an array (for text there is `tagText`), or holds something else than strings
   * @throws {import("./errors.js").InputError} a token the model has no id for, if it has no unknown one
   * @throws {import("./errors.js").RuntimeFailure} the runtime fails
   */
  async tag(tokens, options) {
    checkTokens(tokens);
    return this.#tagOne([...tokens], options);
  }

  /**
   * Tags one sentence of text, cut by the model's tokenizer.
   *
   * @param {string} text
   * @param {{ scores?: boolean }} [options] as `tag`
   * @returns {Promise<TaggedText>}
   * @throws {TypeError} it is not a string
   */
  async tagText(text, options) {
    const spans = this.tokenize(text);
    const found = await this.#tagOne(
      spans.map(({ token }) => token),
      options,
    );
    return { text, ...found, offsets: spans.map(({ start, end }) => [start, end]) };
  }

  /**
   * Tags many sentences; results in the order given. Sentences of like length run together.
   *
   * They are the same as one by one, except that an int8 model rounds more in large batches: see FORMAT.md for its
   * tolerance.
   *
   * @param {readonly (readonly string[])[]} sentences
   * @param {{ scores?: boolean }} [options] as `tag`; without scores is faster
   * @returns {Promise<TaggedSentence[]>}
   * @throws {TypeError} not an array of arrays of strings
   * @throws {import("./errors.js").InputError} a token the model has no id for, if it has no unknown one
   * @throws {import("./errors.js").RuntimeFailure} the runtime fails
   */
  async tagBatch(sentences, options) {
    if (!Array.isArray(sentences)) {
      throw new TypeError(`expected an array of sentences, each an array of tokens; got ${shown(sentences)}`);
    }
    for (const tokens of sentences) checkTokens(tokens);
    const kept = sentences.map((tokens) => [...tokens]);
    /** @type {TaggedSentence[]} */
    const results = kept.map((tokens) => ({ tokens, tags: [], scores: [] }));
    const batches = planBatches(
      kept.map((tokens) => tokens.length),
      this.#batchTokens,
    );
    /** @param {number[]} batch */
    const start = (batch) => {
      const answer = this.session.runEncoded(this.encoder.encode(batch.map((i) => kept[i])), options);
      // Whoever awaits it gets the error; meanwhile it may fail unwatched.
      answer.catch(() => undefined);
      return answer;
    };
    // The next batch is encoded, and the last one decoded, while the runtime is at work.
    let running = batches.length ? start(batches[0]) : null;
    for (const [number, batch] of batches.entries()) {
      const next = number + 1 < batches.length ? start(batches[number + 1]) : null;
      const answer = await /** @type {Promise<import("./session.js").Answer>} */ (running);
      batch.forEach((i, row) => (results[i] = decodeRow(kept[i], answer, row, this.session.parts)));
      running = next;
    }
    return results;
  }

  /**
   * The probability of every tag at each token, most probable first; of equals the one with the lower id.
   *
   * @param {readonly string[]} tokens
   * @returns {Promise<TagProbability[][]>}
   * @throws {TypeError} as `tag`
   */
  async distribution(tokens) {
    checkTokens(tokens);
    const length = tokens.length;
    if (!length) return [];
    const answer = await this.session.runEncoded(this.encoder.encode([tokens]));
    const probabilities = rowProbabilities(answer, 0, length, this.session.parts);
    const { tags } = this.metadata;
    return Array.from({ length }, (_, i) =>
      tags
        .map((tag, id) => ({ tag, probability: probabilities[i * tags.length + id] }))
        .sort((a, b) => b.probability - a.probability),
    );
  }

  /**
   * Runs the file's golden cases: whether this runtime gives what PyTorch gave.
   *
   * @returns {Promise<import("./golden.js").GoldenReport>}
   */
  async selfTest() {
    return checkGolden(this.session, this.encoder);
  }

  /** Frees the model, after what was asked for before is done. */
  async release() {
    await this.session.release();
  }

  /**
   * @param {string[]} tokens
   * @param {{ scores?: boolean }} [options]
   * @returns {Promise<TaggedSentence>}
   */
  async #tagOne(tokens, options) {
    if (!tokens.length) return { tokens, tags: [], scores: [] };
    const answer = await this.session.runEncoded(this.encoder.encode([tokens]), options);
    return decodeRow(tokens, answer, 0, this.session.parts);
  }
}

/**
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {import("./runtime.js").Runtime} runtime
 * @param {LoadOptions} options
 * @returns {Promise<TaggerSession>}
 */
export async function openChecked(bytes, runtime, { sessionOptions, batchTokens }) {
  if (batchTokens !== undefined && !(Number.isInteger(batchTokens) && batchTokens >= 1)) {
    throw new RangeError(`batchTokens is ${shown(batchTokens)}; expected a whole number from 1`);
  }
  return TaggerSession.open(bytes, runtime, sessionOptions);
}

/**
 * @param {unknown} tokens
 * @throws {TypeError} they are no array
 */
export function checkTokens(tokens) {
  if (!Array.isArray(tokens)) {
    const cure = typeof tokens === "string" ? "; use tagText for text" : "";
    throw new TypeError(`expected an array of tokens, got ${typeof tokens}: ${shown(tokens)}${cure}`);
  }
}

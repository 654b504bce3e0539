/** Raw text -> sentences of words, by a tagger of characters (FORMAT.md, section 10). */

import { ModelFileError } from "./errors.js";
import { Tagger } from "./tagger.js";
import { Tokenizer } from "./tokenizer.js";
import { classCodes } from "./unicode14.js";

const CHARACTERS = new Tokenizer({ kind: "characters", keep: [], suffixes: [], split: "" });
const LINE_BREAK = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/g;
const SPACE = "s".charCodeAt(0);
/** Characters that a window keeps, and those on each side of it that are tagged for their context alone. */
const WINDOW = 800;
const MARGIN = 100;

/** @typedef {import("./tokenizer.js").Span} Span */
/**
 * A sentence of a text.
 *
 * @typedef {object} TextSentence
 * @property {string[]} tokens its words; white space within one is a single space
 * @property {[number, number][]} offsets `[start, end]` of each in the text, in UTF-16 code units
 */
/** @typedef {{ start: number, stop: number, first: number, last: number }} Window */

/** Cuts raw text with one model file of column `segmentation`. */
export class Segmenter {
  #tagger;

  /**
   * Use `load`.
   *
   * @param {Tagger} tagger
   * @throws {ModelFileError} its file tags words
   */
  constructor(tagger) {
    if (tagger.metadata.column !== "segmentation") {
      throw new ModelFileError(
        `the model file has tags of column ${tagger.metadata.column}; expected a segmenter, of column segmentation; ` +
          "train one with --column segmentation",
      );
    }
    this.#tagger = tagger;
    /** What the file says of itself; frozen. */
    this.metadata = tagger.metadata;
  }

  /**
   * The segmenter for a file made by `lstm-deploy export`. Arguments and errors are those of `Tagger.load`.
   *
   * @param {Uint8Array | ArrayBuffer} bytes the model file
   * @param {import("./runtime.js").Runtime} runtime
   * @param {import("./tagger.js").LoadOptions} [options]
   * @returns {Promise<Segmenter>}
   * @throws {ModelFileError} the file tags words
   */
  static async load(bytes, runtime, options) {
    return new Segmenter(await Tagger.load(bytes, runtime, options));
  }

  /**
   * The sentences of `text`, in order; together their words hold all of it but white space.
   *
   * @param {string} text
   * @returns {Promise<TextSentence[]>}
   * @throws {TypeError} `text` is not a string
   */
  async segment(text) {
    if (typeof text !== "string") throw new TypeError(`a text must be a string, got ${typeof text}`);
    const found = paragraphs(text).map(([start, end]) => {
      const spans = CHARACTERS.spans(text.slice(start, end));
      return { start, spans, windows: planWindows(spans.length) };
    });
    const parts = found.flatMap(({ spans, windows }) =>
      windows.map(({ start, stop }) => spans.slice(start, stop).map(({ token }) => token)),
    );
    const results = await this.#tagger.tagBatch(parts, { scores: false });
    let at = 0;
    return found.flatMap(({ start, spans, windows }) => {
      const tags = windows.flatMap((w) => results[at++].tags.slice(w.first - w.start, w.last - w.start));
      return cut(spans, tags).map((words) => sentenceOf(text, words, start));
    });
  }

  /** Frees the model, after what was asked for before is done. */
  async release() {
    await this.#tagger.release();
  }
}

/**
 * Start and end of each paragraph, without the white space around it, in UTF-16 code units.
 *
 * @param {string} text
 * @returns {[number, number][]}
 */
function paragraphs(text) {
  const classes = classCodes();
  // White space is never of two code units, nor is half of such a pair white space.
  const isSpace = (/** @type {number} */ at) => classes[text.charCodeAt(at)] === SPACE;
  /** @type {[number, number][]} */
  const found = [];
  let start = -1;
  for (let at = 0; at < text.length;) {
    let end = at;
    while (end < text.length && isSpace(end)) end++;
    const breaks = end - at > 1 ? (text.slice(at, end).match(LINE_BREAK)?.length ?? 0) : 0;
    if (end === text.length && end > at) break;
    if (start < 0) start = end;
    else if (breaks > 1) {
      found.push([start, at]);
      start = end;
    }
    at = end;
    while (at < text.length && !isSpace(at)) at++;
  }
  if (start < 0) return found;
  let end = text.length;
  while (isSpace(end - 1)) end--;
  return [...found, [start, end]];
}

/**
 * @param {number} length
 * @returns {Window[]}
 */
function planWindows(length) {
  if (length <= WINDOW + 2 * MARGIN) return [{ start: 0, stop: length, first: 0, last: length }];
  return Array.from({ length: Math.ceil(length / WINDOW) }, (_, i) => {
    const first = i * WINDOW;
    const last = Math.min(first + WINDOW, length);
    return { start: Math.max(first - MARGIN, 0), stop: Math.min(first + WINDOW + MARGIN, length), first, last };
  });
}

/**
 * The sentences of a paragraph, each a list of its words.
 *
 * @param {Span[]} spans its characters
 * @param {string[]} tags one a character
 * @returns {[number, number][][]}
 */
function cut(spans, tags) {
  /** @type {[number, number][][]} */
  const sentences = [];
  let gap = ""; // the tag of white space right before
  spans.forEach(({ token, start, end }, i) => {
    const tag = tags[i];
    if (token === " " || token === "\n") {
      gap = tag;
      return;
    }
    const words = sentences[sentences.length - 1];
    if (!words || tag === "sentence") sentences.push([[start, end]]);
    else if (tag === "token" || (gap && !(gap === "inside" && tag === "inside"))) words.push([start, end]);
    else words[words.length - 1][1] = end;
    gap = "";
  });
  return sentences;
}

/**
 * @param {string} text
 * @param {[number, number][]} words offsets in a paragraph
 * @param {number} at where that begins
 * @returns {TextSentence}
 */
function sentenceOf(text, words, at) {
  /** @type {[number, number][]} */
  const offsets = words.map(([start, end]) => [start + at, end + at]);
  return { tokens: offsets.map(([start, end]) => oneSpaced(text.slice(start, end))), offsets };
}

/** @param {string} word */
function oneSpaced(word) {
  const classes = classCodes();
  let found = "";
  for (const char of word) {
    if (classes[/** @type {number} */ (char.codePointAt(0))] !== SPACE) found += char;
    else if (!found.endsWith(" ")) found += " ";
  }
  return found;
}

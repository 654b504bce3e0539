/** Tokens -> the arrays a model takes. */

import { shown } from "./errors.js";

const MAX_CACHED_TYPES = 2 ** 16;
const MAX_CACHED_CHARACTERS = 2 ** 22;
const PADDING_ROW = 0;

/**
 * An array of ids: `data` in row-major order, `dims` its shape.
 *
 * @typedef {{ data: Int32Array, dims: readonly number[] }} Ids
 */

/**
 * Kind -> ids: `word_ids` (batch, sequence), `subword_ids` (batch, sequence, feature), `char_ids` (batch, sequence,
 * character) with `char_lengths` (batch, sequence), `lengths` (batch,). A model has those it takes.
 *
 * @typedef {Record<string, Ids>} Inputs
 */

/**
 * Turns batches of sentences into padded id arrays; ids of a word are worked out once and kept.
 *
 * The cache of word types starts afresh past 65,536 of them or 4 million characters, so that an endless stream of new
 * words takes bounded memory.
 */
export class Encoder {
  #parts;
  #types;

  /** @param {Pick<import("./metadata.js").ModelParts, "vocabulary" | "features" | "characters">} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#types = new TypeTable(parts);
  }

  /**
   * The model's inputs for `sentences`, padded to the longest of them.
   *
   * @param {readonly (readonly string[])[]} sentences at least one; an empty one becomes a row of padding
   * @returns {Inputs}
   * @throws {TypeError} a token that is not a string
   * @throws {import("./errors.js").InputError} one that the model has no id for
   */
  encode(sentences) {
    if (this.#types.isFull()) this.#types = new TypeTable(this.#parts);
    const types = this.#types;
    const batch = sentences.length;
    const lengths = new Int32Array(batch);
    let sequence = 0;
    for (let i = 0; i < batch; i++) sequence = Math.max(sequence, (lengths[i] = sentences[i].length));
    const rows = new Int32Array(batch * sequence).fill(PADDING_ROW);
    for (let i = 0; i < batch; i++) {
      const tokens = sentences[i];
      for (let j = 0, at = i * sequence; j < tokens.length; j++, at++) {
        rows[at] = types.rows.get(tokens[j]) ?? types.add(tokens[j]);
      }
    }
    return types.inputs(rows, batch, sequence, lengths);
  }
}

/**
 * The ids of one row as nested lists without any padding, and without the lengths, which are those of the lists.
 *
 * @param {Inputs} inputs
 * @param {number} row
 * @returns {Record<string, (number | number[])[]>}
 */
export function raggedIds(inputs, row) {
  const length = inputs.lengths.data[row];
  /** @type {Record<string, (number | number[])[]>} */
  const found = {};
  for (const [kind, { data, dims }] of Object.entries(inputs)) {
    if (kind === "lengths" || kind === "char_lengths") continue;
    const [, sequence, width] = dims;
    found[kind] = Array.from({ length }, (_, token) => {
      const at = row * sequence + token;
      if (width === undefined) return data[at];
      const count = kind === "char_ids" ? inputs.char_lengths.data[at] : width;
      return Array.from(data.subarray(at * width, at * width + count));
    });
  }
  return found;
}

/**
 * Word type -> row of growing tables, filled as words are met.
 *
 * Characters of all types lie one after another: a table padded to the longest word would take what one word of
 * 10,000 characters asks for. At row 0 lies padding.
 */
class TypeTable {
  /** @type {Map<string, number>} */
  rows = new Map();
  #vocabulary;
  #features;
  #characters;
  #size = PADDING_ROW + 1;
  #width;
  #wordIds = new Int32Array(1024);
  #subwordIds;
  #starts = new Int32Array(1024);
  #counts = new Int32Array(1024);
  #charIds = new Int32Array(4096);
  #spelt = 0;

  /** @param {Pick<import("./metadata.js").ModelParts, "vocabulary" | "features" | "characters">} parts */
  constructor({ vocabulary, features, characters }) {
    this.#vocabulary = vocabulary;
    this.#features = features;
    this.#characters = characters;
    this.#width = features?.size ?? 0;
    this.#subwordIds = new Int32Array(1024 * this.#width);
    this.#wordIds[PADDING_ROW] = vocabulary?.paddingId ?? 0;
    this.#subwordIds.fill(features?.paddingId ?? 0, 0, this.#width);
  }

  /** Whether it holds as much as may be kept. */
  isFull() {
    return this.rows.size > MAX_CACHED_TYPES || this.#spelt > MAX_CACHED_CHARACTERS;
  }

  /**
   * The row of a token met for the first time.
   *
   * @param {string} token
   * @returns {number}
   */
  add(token) {
    if (typeof token !== "string")
      throw new TypeError(`a token must be a string, got ${kindOf(token)}: ${shown(token)}`);
    const wordId = this.#vocabulary?.id(token) ?? 0;
    const features = this.#features?.ids(token) ?? [];
    const spelling = this.#characters?.ids(token) ?? [];
    const row = this.#size;
    if (row === this.#wordIds.length) {
      this.#wordIds = grown(this.#wordIds, 2 * row);
      this.#starts = grown(this.#starts, 2 * row);
      this.#counts = grown(this.#counts, 2 * row);
      this.#subwordIds = grown(this.#subwordIds, 2 * row * this.#width);
    }
    const end = this.#spelt + spelling.length;
    if (end > this.#charIds.length) this.#charIds = grown(this.#charIds, 2 * end);
    this.#wordIds[row] = wordId;
    this.#subwordIds.set(features, row * this.#width);
    this.#starts[row] = this.#spelt;
    this.#counts[row] = spelling.length;
    this.#charIds.set(spelling, this.#spelt);
    this.#spelt = end;
    this.#size = row + 1;
    this.rows.set(ownCopy(token), row);
    return row;
  }

  /**
   * @param {Int32Array} rows (batch, sequence)
   * @param {number} batch
   * @param {number} sequence
   * @param {Int32Array} lengths (batch,)
   * @returns {Inputs}
   */
  inputs(rows, batch, sequence, lengths) {
    /** @type {Inputs} */
    const inputs = {};
    if (this.#vocabulary) inputs.word_ids = { data: taken(this.#wordIds, rows), dims: [batch, sequence] };
    if (this.#features) inputs.subword_ids = { data: this.#hashed(rows), dims: [batch, sequence, this.#width] };
    if (this.#characters) {
      const counts = taken(this.#counts, rows);
      const width = counts.reduce((most, count) => Math.max(most, count), 1);
      inputs.char_ids = { data: this.#spellings(rows, width), dims: [batch, sequence, width] };
      inputs.char_lengths = { data: counts, dims: [batch, sequence] };
    }
    inputs.lengths = { data: lengths, dims: [batch] };
    return inputs;
  }

  /** @param {Int32Array} rows */
  #hashed(rows) {
    const [width, table] = [this.#width, this.#subwordIds];
    const found = new Int32Array(rows.length * width);
    for (let i = 0, at = 0; i < rows.length; i++) {
      for (let from = rows[i] * width, end = from + width; from < end; from++, at++) found[at] = table[from];
    }
    return found;
  }

  /**
   * @param {Int32Array} rows
   * @param {number} width
   */
  #spellings(rows, width) {
    const table = this.#charIds;
    const found = new Int32Array(rows.length * width).fill(this.#characters?.paddingId ?? 0);
    for (let i = 0; i < rows.length; i++) {
      const start = this.#starts[rows[i]];
      for (let j = this.#counts[rows[i]] - 1; j >= 0; j--) found[i * width + j] = table[start + j];
    }
    return found;
  }
}

/**
 * @param {Int32Array} table
 * @param {Int32Array} rows
 */
function taken(table, rows) {
  const found = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) found[i] = table[rows[i]];
  return found;
}

/**
 * The same text that shares no memory: a slice of a long document would keep all of it alive in the cache.
 *
 * @param {string} token
 */
function ownCopy(token) {
  return ` ${token}`.slice(1);
}

/**
 * @param {Int32Array} table
 * @param {number} size
 */
function grown(table, size) {
  const larger = new Int32Array(size);
  larger.set(table);
  return larger;
}

/** @param {unknown} value */
function kindOf(value) {
  return value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
}

/**
 * Token -> subword feature ids, by hashing: no table of features is stored anywhere. Specified in FORMAT.md,
 * section 6: `"template=value"` in UTF-8 goes through CRC-32 modulo the number of buckets.
 */

import { classCodes, lower } from "./unicode14.js";

const SHAPE_RUN = 4;
const CRC_TABLE = crcTable();
const UPPER = code("X");
const LETTER = code("x");
const DIGIT = code("d");
/** @type {ReadonlyMap<number, number>} */
const SHAPE_OF_CLASS = new Map([
  [code("u"), UPPER],
  ...[..."lom"].map((letter) => /** @type {[number, number]} */ ([code(letter), LETTER])),
  ...[..."dn"].map((letter) => /** @type {[number, number]} */ ([code(letter), DIGIT])),
]);

/**
 * The token's shape: X upper, x other letters and marks, d numbers, the rest as is; runs cut at 4.
 * `shape("Lstm-2024ab")` is `"Xxxx-ddddxx"`.
 *
 * @param {string} token
 * @returns {string}
 */
export function shape(token) {
  return shapePoints(codePoints(token))
    .map((point) => String.fromCodePoint(point))
    .join("");
}

/** The feature spec of a model: which templates, hashed into how many buckets. */
export class SubwordFeatures {
  #templates;

  /**
   * @param {readonly string[]} templates names as in FORMAT.md
   * @param {number} buckets at least 1
   * @param {number} [paddingId] what stands at padding
   * @throws {RangeError} an unknown template, none at all, or no buckets
   */
  constructor(templates, buckets, paddingId = 0) {
    const unknown = templates.filter(
      (name) => typeof name !== "string" || !/^(lower|shape|(prefix|suffix)[1-6])$/.test(name),
    );
    if (unknown.length || !templates.length) {
      const known = "lower, prefix1 to prefix6, suffix1 to suffix6, shape";
      throw new RangeError(`feature templates ${unknown.join(", ") || "missing"}; known: ${known}`);
    }
    if (!(Number.isInteger(buckets) && buckets >= 1)) {
      throw new RangeError(`${buckets} feature buckets; at least 1 is needed`);
    }
    this.buckets = buckets;
    this.paddingId = paddingId;
    this.#templates = templates.map((name) => {
      const sized = /^(prefix|suffix)([1-6])$/.exec(name);
      return {
        kind: sized ? sized[1] : name,
        size: sized ? Number(sized[2]) : 0,
        crc: crcOfPoints(codePoints(`${name}=`), 0, name.length + 1, -1),
      };
    });
  }

  /** How many features a token has. */
  get size() {
    return this.#templates.length;
  }

  /**
   * One bucket per template, each from 0 to buckets - 1.
   *
   * @param {string} token
   * @returns {number[]}
   */
  ids(token) {
    const points = codePoints(token);
    const lowered = codePoints(lower(token));
    return this.#templates.map(({ kind, size, crc }) => {
      if (kind === "shape") {
        const drawn = shapePoints(points);
        return this.#bucket(crcOfPoints(drawn, 0, drawn.length, crc));
      }
      const start = kind === "suffix" ? Math.max(lowered.length - size, 0) : 0;
      const end = kind === "prefix" ? Math.min(size, lowered.length) : lowered.length;
      return this.#bucket(crcOfPoints(lowered, start, end, crc));
    });
  }

  /** @param {number} crc */
  #bucket(crc) {
    return (~crc >>> 0) % this.buckets;
  }
}

/**
 * The code points of a text; a lone surrogate is one.
 *
 * @param {string} text
 * @returns {number[]}
 */
export function codePoints(text) {
  const points = [];
  for (const char of text) points.push(/** @type {number} */ (char.codePointAt(0)));
  return points;
}

/** @param {readonly number[]} points */
function shapePoints(points) {
  const kinds = classCodes();
  /** @type {number[]} */
  const drawn = [];
  let run = 0;
  let last = -1;
  for (const point of points) {
    const symbol = SHAPE_OF_CLASS.get(kinds[point]) ?? point;
    run = symbol === last ? run + 1 : 1;
    last = symbol;
    if (run <= SHAPE_RUN) drawn.push(symbol);
  }
  return drawn;
}

/**
 * CRC-32 over the UTF-8 of code points, going on from `crc`, neither begun nor ended by its inversion.
 *
 * A lone surrogate gives the three bytes that its code point would have, which no encoder of the platform writes.
 *
 * @param {readonly number[]} points
 * @param {number} start
 * @param {number} end
 * @param {number} crc
 */
function crcOfPoints(points, start, end, crc) {
  for (let i = start; i < end; i++) {
    const point = points[i];
    if (point < 0x80) {
      crc = step(crc, point);
    } else if (point < 0x800) {
      crc = step(step(crc, 0xc0 | (point >> 6)), 0x80 | (point & 0x3f));
    } else {
      const last = 0x80 | (point & 0x3f);
      const middle = 0x80 | ((point >> 6) & 0x3f);
      if (point < 0x10000) crc = step(step(step(crc, 0xe0 | (point >> 12)), middle), last);
      else crc = step(step(step(step(crc, 0xf0 | (point >> 18)), 0x80 | ((point >> 12) & 0x3f)), middle), last);
    }
  }
  return crc;
}

/**
 * @param {number} crc
 * @param {number} byte
 */
function step(crc, byte) {
  return (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
}

function crcTable() {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
}

/** @param {string} letter */
function code(letter) {
  return letter.charCodeAt(0);
}

/**
 * Character classes and lower case, per code point, as of Unicode 14.0, whatever the engine knows.
 *
 * A class is a letter: `u` upper and title case, `l` lower case, `o` other letters, `m` marks, `d` decimal digits,
 * `n` other numbers, `p` punctuation, `y` symbols, `f` format characters, `s` white space, `x` everything else.
 */

import { CLASSES, LOWER } from "./unicode14-data.js";

const POINTS = 0x110000;
const I_WITH_DOT = 0x130;
const ASCII = /^[\0-\x7f]*$/;

/** @type {Uint8Array | undefined} */
let classTable;
/** @type {Map<number, string> | undefined} */
let lowerTable;

/**
 * The class of each code point: code unit of its letter. 1.1 MB, filled on first use.
 *
 * @returns {Uint8Array} (0x110000,)
 */
export function classCodes() {
  if (!classTable) {
    classTable = new Uint8Array(POINTS);
    let at = 0;
    for (const [, count, letter] of CLASSES.matchAll(/(\d*)([a-z])/g)) {
      const end = at + Number(count || 1);
      classTable.fill(letter.charCodeAt(0), at, end);
      at = end;
    }
  }
  return classTable;
}

/**
 * One class letter per code point of `text`.
 *
 * @param {string} text
 * @returns {string}
 */
export function classes(text) {
  const codes = classCodes();
  let found = "";
  for (const char of text) found += String.fromCharCode(codes[/** @type {number} */ (char.codePointAt(0))]);
  return found;
}

/**
 * The full lower-case mapping of each code point on its own; unassigned ones stay. No context (a capital sigma is
 * always U+03C3) and no locale (U+0130 becomes two code points).
 *
 * @param {string} text
 * @returns {string}
 */
export function lower(text) {
  if (ASCII.test(text)) return text.toLowerCase();
  lowerTable ??= readLower();
  let found = "";
  for (const char of text) found += lowerTable.get(/** @type {number} */ (char.codePointAt(0))) ?? char;
  return found;
}

/** @returns {Map<number, string>} */
function readLower() {
  const table = new Map([[I_WITH_DOT, "i\u0307"]]);
  let point = 0;
  for (const run of LOWER.split(" ")) {
    const [gap, step, count, difference] = run.split(",").map((number) => parseInt(number, 36));
    point += gap;
    for (let i = 0; i < count; i++) table.set(point + i * step, String.fromCodePoint(point + i * step + difference));
    point += step * (count - 1);
  }
  return table;
}

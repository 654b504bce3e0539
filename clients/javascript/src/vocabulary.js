/** Words and characters as ids. Knows nothing of text, files or graphs. */

import { shown, UnknownCharacterError, UnknownWordError } from "./errors.js";
import { lower } from "./unicode14.js";

/**
 * How text is looked up in a table.
 *
 * @typedef {object} Lookup
 * @property {number | null} unknown_id what stands for an entry that is not there; null makes such a one an error
 * @property {number} padding_id a row of the table
 * @property {"keep" | "lower"} case `lower` looks up in lower case
 */

/** Word -> id by exact match after the case policy; id = position in `words`, null where no text maps to the id. */
export class Vocabulary {
  #ids;
  #unknown;
  #lowered;

  /**
   * @param {readonly (string | null)[]} words one per row of the model's table
   * @param {Lookup} lookup
   * @throws {RangeError} a word twice, or `unknown_id` or `padding_id` outside the table
   */
  constructor(words, lookup) {
    this.#ids = positions(words, "word", lookup);
    this.#unknown = lookup.unknown_id;
    this.#lowered = lookup.case === "lower";
    this.paddingId = lookup.padding_id;
  }

  /**
   * The id of `token`, or of the unknown word.
   *
   * @param {string} token
   * @returns {number}
   * @throws {UnknownWordError} it is not there, and there is no unknown word
   */
  id(token) {
    const found = this.#ids.get(this.#lowered ? lower(token) : token) ?? this.#unknown;
    if (found === null) {
      throw new UnknownWordError(
        `the model has no word ${shown(token)} and no unknown word to take for it; expected one of its ` +
          `${this.#ids.size} words; export again with --unknown WORD where the vocabulary has a word for unseen ` +
          "ones, else train with one",
      );
    }
    return found;
  }
}

/** Character -> id; the characters of a token are its code points after the case policy. */
export class CharacterVocabulary {
  #ids;
  #unknown;
  #lowered;

  /**
   * @param {readonly (string | null)[]} characters one per row of the model's table
   * @param {Lookup} lookup
   * @throws {RangeError} an entry that is not one character, one twice, or an id outside the table
   */
  constructor(characters, lookup) {
    this.#ids = positions(characters, "character", lookup);
    for (const character of this.#ids.keys()) {
      if ([...character].length !== 1) throw new RangeError(`${shown(character)} is not one character`);
    }
    this.#unknown = lookup.unknown_id;
    this.#lowered = lookup.case === "lower";
    this.paddingId = lookup.padding_id;
  }

  /**
   * The id of each character of `token`, at least one: an empty token is one unknown (else padding) character.
   *
   * @param {string} token
   * @returns {number[]}
   * @throws {UnknownCharacterError} one is not there, and there is no unknown character
   */
  ids(token) {
    /** @type {number[]} */
    const found = [];
    for (const character of this.#lowered ? lower(token) : token) {
      const id = this.#ids.get(character) ?? this.#unknown;
      if (id === null) throw this.#unknownCharacter(character, token);
      found.push(id);
    }
    return found.length ? found : [this.#unknown ?? this.paddingId];
  }

  /**
   * @param {string} character
   * @param {string} token
   */
  #unknownCharacter(character, token) {
    const point = /** @type {number} */ (character.codePointAt(0)).toString(16).toUpperCase().padStart(4, "0");
    return new UnknownCharacterError(
      `the model has no character ${shown(character)} (U+${point}, in ${shown(token)}) and no unknown character to ` +
        `take for it; expected one of its ${this.#ids.size} characters; export again with an unknown character in ` +
        "its spec",
    );
  }
}

/**
 * Entry -> id, where entries, ids and case policy go together.
 *
 * @param {readonly (string | null)[]} entries
 * @param {string} what
 * @param {Lookup} lookup
 * @returns {Map<string, number>}
 */
function positions(entries, what, lookup) {
  /** @type {Map<string, number>} */
  const ids = new Map();
  entries.forEach((entry, id) => {
    if (entry === null) return;
    if (ids.has(entry)) throw new RangeError(`the vocabulary holds the ${what} ${shown(entry)} twice`);
    ids.set(entry, id);
  });
  for (const name of /** @type {const} */ (["unknown_id", "padding_id"])) {
    const value = lookup[name];
    if (value === null && name === "unknown_id") continue;
    if (!(Number.isInteger(value) && Number(value) >= 0 && Number(value) < entries.length)) {
      throw new RangeError(`${name} is ${shown(value)}, outside the ${entries.length} rows of the vocabulary`);
    }
  }
  if (lookup.case !== "keep" && lookup.case !== "lower") {
    throw new RangeError(`case policy ${shown(lookup.case)} is not known (keep, lower)`);
  }
  return ids;
}

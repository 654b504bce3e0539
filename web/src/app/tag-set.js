/** What a model's tags are to the page: labels with colours and glosses, and how a tagged sentence is parted into them. */

import { entities, isIob2 } from "../client/entities.js";
import { gloss } from "./glosses.js";
import { colours } from "./palette.js";

/** Below this a tag is marked as uncertain. */
export const UNCERTAIN = 0.6;

/**
 * A token as it is shown.
 *
 * @typedef {object} Piece
 * @property {string} label a tag, or the type of an entity, or `O`
 * @property {boolean} begins the label stands here
 * @property {boolean} ends
 */

export class TagSet {
  /** @param {import("../client/index.js").ModelMetadata} metadata */
  constructor({ tags, column }) {
    this.column = column;
    /** Tags mark entities (IOB2): tokens are shown as spans with a type. */
    this.entities = isIob2(tags);
    /** What is coloured and counted: tags, or types of entities and `O`. */
    this.labels = this.entities ? [...new Set(tags.map(typeOf))] : [...tags];
    this.colours = colours(this.labels);
  }

  /** @param {string} tag */
  labelOf(tag) {
    return this.entities ? typeOf(tag) : tag;
  }

  /** @param {string} label */
  gloss(label) {
    return gloss(label, this);
  }

  /**
   * @param {readonly string[]} tags of one sentence
   * @returns {Piece[]}
   */
  pieces(tags) {
    const pieces = tags.map((tag) => ({ label: this.labelOf(tag), begins: true, ends: true }));
    if (!this.entities) return pieces;
    for (const { start, end } of entities(tags)) {
      for (let i = start; i < end; i++) {
        pieces[i].begins = i === start;
        pieces[i].ends = i === end - 1;
      }
    }
    return pieces;
  }
}

/** @param {string} tag */
const typeOf = (tag) => (tag === "O" ? tag : tag.slice(2));

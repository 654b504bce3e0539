/** What well-known tags stand for, in words. */

/** https://universaldependencies.org/u/pos/ @type {Record<string, string>} */
const UPOS = {
  ADJ: "adjective",
  ADP: "adposition",
  ADV: "adverb",
  AUX: "auxiliary",
  CCONJ: "coordinating conjunction",
  DET: "determiner",
  INTJ: "interjection",
  NOUN: "noun",
  NUM: "numeral",
  PART: "particle",
  PRON: "pronoun",
  PROPN: "proper noun",
  PUNCT: "punctuation",
  SCONJ: "subordinating conjunction",
  SYM: "symbol",
  VERB: "verb",
  X: "other",
};

/** @type {Record<string, string>} */
const ENTITIES = { PER: "person", LOC: "place", ORG: "organisation", MISC: "other name", O: "no entity" };

/**
 * @param {string} label
 * @param {{ column: string, entities: boolean }} tagSet
 * @returns {string} empty where nothing is known
 */
export function gloss(label, { column, entities }) {
  const known = entities ? ENTITIES : column === "upos" ? UPOS : {};
  return Object.hasOwn(known, label) ? known[label] : "";
}

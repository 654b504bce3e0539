/** IOB2 tags -> entity spans. Follows conlleval, as seqeval's default mode does. */

/**
 * Tokens `start` to `end` (exclusive) of one sentence are a `type`.
 *
 * @typedef {{ type: string, start: number, end: number }} Entity
 */

/**
 * The tag set marks entities: `O` and at least one `B-` or `I-`, nothing else.
 *
 * @param {Iterable<string>} tags
 * @returns {boolean}
 */
export function isIob2(tags) {
  const found = new Set(tags);
  return found.has("O") && found.size > 1 && [...found].every((tag) => tag === "O" || /^[BI]-[^]/.test(tag));
}

/**
 * The entities of one sentence, in order. An `I-` that does not continue an entity of its type starts one, so that any
 * sequence of tags has a reading (conlleval; Tjong Kim Sang and Buchholz 2000).
 *
 * @param {readonly string[]} tags
 * @returns {Entity[]}
 */
export function entities(tags) {
  /** @type {Entity[]} */
  const found = [];
  let start = 0;
  let current = "";
  for (let i = 0; i <= tags.length; i++) {
    const tag = tags[i] ?? "O";
    const type = tag === "O" ? "" : tag.slice(2);
    if (type !== current || tag.startsWith("B-")) {
      if (current) found.push({ type: current, start, end: i });
      start = i;
      current = type;
    }
  }
  return found;
}

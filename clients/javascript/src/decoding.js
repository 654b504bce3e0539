/** A model's answer to a batch -> tags and probabilities of each sentence. */

/**
 * One sentence with a tag for each token.
 *
 * @typedef {object} TaggedSentence
 * @property {string[]} tokens as given
 * @property {string[]} tags one per token
 * @property {number[]} scores probability of each tag, from 0 to 1: of the tag given the sentence, marginal over all
 *     other tags where the model ends in a CRF; empty where scores were not asked for
 */

/**
 * The result for one row of a batch.
 *
 * @param {string[]} tokens of the row
 * @param {import("./session.js").Answer} answer
 * @param {number} row
 * @param {import("./metadata.js").ModelParts} parts
 * @returns {TaggedSentence}
 */
export function decodeRow(tokens, answer, row, { metadata, crf }) {
  const names = metadata.tags;
  const { tagIds, scores, sequence } = answer;
  const length = tokens.length;
  const start = row * sequence;
  const tags = /** @type {string[]} */ (new Array(length));
  for (let i = 0; i < length; i++) tags[i] = names[tagIds[start + i]];
  if (!scores) return { tokens, tags, scores: [] };
  const found = /** @type {number[]} */ (new Array(length));
  const marginals = crf?.marginals(rowScores(answer, row, length, names.length));
  for (let i = 0; i < length; i++) {
    const id = tagIds[start + i];
    found[i] = marginals ? marginals[i * names.length + id] : Math.exp(scores[(start + i) * names.length + id]);
  }
  return { tokens, tags, scores: found };
}

/**
 * The scores of all tags at the tokens of one row: a view of (sequence, tag), without padding.
 *
 * @param {import("./session.js").Answer} answer one with scores
 * @param {number} row
 * @param {number} length
 * @param {number} tags
 * @returns {Float32Array}
 */
export function rowScores({ scores, sequence }, row, length, tags) {
  if (!scores) throw new TypeError("the answer has tags alone; expected the scores of all tags");
  const start = row * sequence * tags;
  return scores.subarray(start, start + length * tags);
}

/**
 * The probability of each tag at each token of one row.
 *
 * @param {import("./session.js").Answer} answer
 * @param {number} row
 * @param {number} length
 * @param {import("./metadata.js").ModelParts} parts
 * @returns {ArrayLike<number>} (sequence, tag)
 */
export function rowProbabilities(answer, row, length, { metadata, crf }) {
  const scores = rowScores(answer, row, length, metadata.tags.length);
  return crf ? crf.marginals(scores) : Float64Array.from(scores, Math.exp);
}

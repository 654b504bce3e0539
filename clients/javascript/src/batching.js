/** Which sentences go together: batches of like length under a token budget. */

/**
 * Indices of the sentences of each batch, longest batch first.
 *
 * A batch takes sentences of neighbouring lengths, so that little of it is padding, and holds at most `maxTokens`
 * cells (rows x longest row) unless a single sentence is longer. Empty sentences are in no batch.
 *
 * @param {readonly number[]} lengths tokens of each sentence
 * @param {number} maxTokens
 * @returns {number[][]}
 */
export function planBatches(lengths, maxTokens) {
  const order = [...lengths.keys()].filter((i) => lengths[i]).sort((a, b) => lengths[b] - lengths[a]);
  /** @type {number[][]} */
  const batches = [];
  for (let start = 0; start < order.length;) {
    const end = start + Math.max(Math.floor(maxTokens / lengths[order[start]]), 1);
    batches.push(order.slice(start, end));
    start = end;
  }
  return batches;
}

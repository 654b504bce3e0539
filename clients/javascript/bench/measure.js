/** What is measured of one open tagger, alike in Node and in Chromium. Times in milliseconds, rates a second. */

const BATCH = 50;

/**
 * @param {import("../src/index.js").Tagger} tagger
 * @param {string[][]} sentences
 * @param {{ rounds: number, single: number }} counts
 */
export async function measure(tagger, sentences, { rounds, single }) {
  const tokens = sentences.reduce((sum, sentence) => sum + sentence.length, 0);
  const groups = [];
  for (let at = 0; at < sentences.length; at += BATCH) groups.push(sentences.slice(at, at + BATCH));
  const encode = () => groups.forEach((group) => tagger.encoder.encode(group));
  const first = await timed(encode);
  const cached = await repeated(rounds, encode);
  await tagger.tagBatch(sentences);
  const tagging = await repeated(rounds, () => tagger.tagBatch(sentences));
  const sentence = sentences.find(({ length }) => length === 20) ?? sentences[0];
  await repeated(Math.ceil(single / 10), () => tagger.tag(sentence));
  const alone = await repeated(single, () => tagger.tag(sentence));
  return {
    encoder_new_words_per_second: rate(tokens, first),
    encoder_words_per_second: rate(tokens, median(cached)),
    tokens_per_second: rate(tokens, median(tagging)),
    tokens_per_second_of_rounds: tagging.map((time) => rate(tokens, time)),
    one_sentence_tokens: sentence.length,
    one_sentence_ms: rounded(median(alone)),
    one_sentence_ms_95th_percentile: rounded(alone.sort((a, b) => a - b)[Math.floor(0.95 * alone.length)]),
  };
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {number} value */
export function rounded(value) {
  return Number(value.toPrecision(4));
}

async function repeated(count, job) {
  const times = [];
  for (let i = 0; i < count; i++) times.push(await timed(job));
  return times;
}

async function timed(job) {
  const start = performance.now();
  await job();
  return performance.now() - start;
}

function rate(count, time) {
  return Math.round((count / time) * 1000);
}

/** The golden cases of a model file: does this runtime give what the file says it should? (FORMAT.md, section 7) */

import { rowScores } from "./decoding.js";
import { raggedIds } from "./encoding.js";
import { TOLERANCES } from "./metadata.js";

/** Rows of the batch that all cases are run in, repeated: enough for what a graph does with many rows. */
const ROWS = 16;

/**
 * What checking the golden cases found.
 *
 * @typedef {object} GoldenReport
 * @property {number} cases how many there are
 * @property {number} tokens in all of them
 * @property {number} maxDifference largest difference of a log-probability, with a CRF of a marginal one
 * @property {string[]} failures one line per disagreement; empty where all is well
 */

/** @typedef {import("./metadata.js").GoldenCase} GoldenCase */
/**
 * Of one sentence: (sequence,) and (sequence, tag).
 *
 * @typedef {{ tagIds: Int32Array, scores: Float32Array }} RowAnswer
 */

/**
 * Tokenizer, ids, tags and scores of each golden case, alone and all in one ragged batch of many rows; through a
 * streaming file once more in chunks of 1, 2, 3 ... tokens.
 *
 * @param {import("./session.js").TaggerSession} session
 * @param {import("./encoding.js").Encoder} encoder
 * @returns {Promise<GoldenReport>}
 */
export async function checkGolden(session, encoder) {
  const { golden } = session.parts.metadata;
  const check = new Check(session, encoder);
  for (const [i, one] of golden.entries()) check.ids(one, `case ${i + 1}`);
  for (const [i, one] of golden.entries()) check.answer(one, (await check.rows([one]))[0], `case ${i + 1} alone`);
  const numbered = [...golden.entries()].filter(([, { tokens }]) => tokens.length);
  const many = Array(Math.ceil(ROWS / Math.max(numbered.length, 1)))
    .fill(numbered)
    .flat();
  const answers = await check.rows(many.map(([, one]) => one));
  for (const [row, [i, one]] of many.entries()) check.answer(one, answers[row], `case ${i + 1} in a batch`);
  if (session.parts.states.length) {
    for (const [i, one] of golden.entries()) check.answer(one, await check.inChunks(one), `case ${i + 1} in chunks`);
  }
  return check.report;
}

class Check {
  #session;
  #encoder;

  /**
   * @param {import("./session.js").TaggerSession} session
   * @param {import("./encoding.js").Encoder} encoder
   */
  constructor(session, encoder) {
    const { golden } = session.parts.metadata;
    this.#session = session;
    this.#encoder = encoder;
    /** @type {GoldenReport} */
    this.report = {
      cases: golden.length,
      tokens: golden.reduce((sum, { tokens }) => sum + tokens.length, 0),
      maxDifference: 0,
      failures: [],
    };
  }

  /**
   * The model's answer to each case, all in one batch.
   *
   * @param {GoldenCase[]} cases
   * @returns {Promise<RowAnswer[]>}
   */
  async rows(cases) {
    if (!cases.length) return [];
    const answer = await this.#session.run(this.#encoder.encode(cases.map(({ tokens }) => tokens)));
    return cases.map(({ tokens }, row) => this.#row(answer, row, tokens.length));
  }

  /**
   * The answer to a case that is handed over in chunks of 1, 2, 3 ... tokens.
   *
   * @param {GoldenCase} one
   * @returns {Promise<RowAnswer>}
   */
  async inChunks({ tokens }) {
    let states = this.#session.initialStates(1);
    /** @type {number[]} */
    const tagIds = [];
    /** @type {number[]} */
    const scores = [];
    for (let at = 0, size = 1; at < tokens.length; at += size, size++) {
      const chunk = tokens.slice(at, at + size);
      const answer = await this.#session.run(this.#encoder.encode([chunk]), { states });
      const row = this.#row(answer, 0, chunk.length);
      tagIds.push(...row.tagIds);
      scores.push(...row.scores);
      states = answer.states;
    }
    return { tagIds: Int32Array.from(tagIds), scores: Float32Array.from(scores) };
  }

  /**
   * Tokens and ids are those of the file.
   *
   * @param {GoldenCase} one
   * @param {string} where
   */
  ids({ text, tokens, inputs }, where) {
    if (text !== null) {
      const cut = this.#session.parts.tokenizer.spans(text).map(({ token }) => token);
      this.#same(`${where}: the tokenizer gives`, cut, tokens);
    }
    const found = raggedIds(this.#encoder.encode([tokens]), 0);
    for (const kind of new Set([...Object.keys(found), ...Object.keys(inputs)])) {
      this.#same(`${where}: ${kind} are`, found[kind], inputs[kind]);
    }
  }

  /**
   * Tags and scores are those of the file, or as good.
   *
   * @param {GoldenCase} one
   * @param {RowAnswer} answer
   * @param {string} where
   */
  answer(one, answer, where) {
    const { metadata, crf } = this.#session.parts;
    const tolerance = TOLERANCES[metadata.precision];
    const expected = one.scores.map(Math.log);
    const { values, allowed, tied } = crf
      ? againstPath(crf, one, answer, tolerance)
      : againstTags(one, answer, expected, tolerance, metadata.tags.length);
    if (!tied) {
      const tags = Array.from(answer.tagIds, (id) => metadata.tags[id]);
      this.report.failures.push(`${where}: the tags are ${tags.join(" ")}; expected ${one.tags.join(" ")}`);
      return;
    }
    values.forEach((value, i) => {
      const difference = Math.abs(value - expected[i]);
      if (difference > this.report.maxDifference) this.report.maxDifference = difference;
      if (!(difference <= allowed[i])) {
        this.report.failures.push(
          `${where}: a log-probability is ${value.toFixed(7)}; expected ${expected[i].toFixed(7)}`,
        );
      }
    });
  }

  /**
   * @param {import("./session.js").Answer} answer
   * @param {number} row
   * @param {number} length
   * @returns {RowAnswer}
   */
  #row(answer, row, length) {
    const start = row * answer.sequence;
    const scores = rowScores(answer, row, length, this.#session.parts.metadata.tags.length);
    return { tagIds: answer.tagIds.subarray(start, start + length), scores };
  }

  /**
   * @param {string} what
   * @param {unknown} found
   * @param {unknown} expected
   */
  #same(what, found, expected) {
    const [got, wanted] = [found, expected].map((value) => JSON.stringify(value) ?? "missing");
    if (got !== wanted) this.report.failures.push(`${what} ${got}; expected ${wanted}`);
  }
}

/**
 * Log-probabilities of the expected tags, how far each may be off, and whether the tags are those, or about as good.
 *
 * @param {GoldenCase} one
 * @param {RowAnswer} answer
 * @param {number[]} expected logarithms of the probabilities in the file
 * @param {number} tolerance
 * @param {number} tags
 */
function againstTags({ tag_ids: tagIds }, answer, expected, tolerance, tags) {
  const values = tagIds.map((id, i) => answer.scores[i * tags + id]);
  const allowed = expected.map((value) => tolerance + tolerance * Math.abs(value));
  const tied = tagIds.every(
    (id, i) => answer.tagIds[i] === id || answer.scores[i * tags + answer.tagIds[i]] - values[i] <= allowed[i],
  );
  return { values, allowed, tied };
}

/**
 * Logarithms of the expected tags' marginals, how far each may be off, and whether the path is as good.
 *
 * @param {import("./crf.js").Crf} crf
 * @param {GoldenCase} one
 * @param {RowAnswer} answer
 * @param {number} tolerance
 */
function againstPath(crf, { tag_ids: tagIds }, { tagIds: path, scores }, tolerance) {
  const bound = crf.pathTolerance(scores, tagIds, tolerance);
  const marginals = crf.marginals(scores);
  const values = tagIds.map((id, i) => Math.log(marginals[i * crf.tags + id]));
  const same = tagIds.every((id, i) => path[i] === id);
  const tied = same || crf.pathScore(scores, path) - crf.pathScore(scores, tagIds) <= bound;
  return { values, allowed: tagIds.map(() => bound), tied };
}

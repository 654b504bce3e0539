/**
 * A linear-chain CRF's numbers: the score of a path, marginal probabilities (FORMAT.md, section 3). The best path is
 * found by the model's graph.
 */

/** The lowest score there is: what minus infinity is stored as. */
const FORBIDDEN = Math.fround(-1e30);
/** Sums of factors above this have lost nothing that counts to numbers too small for a double. */
const SAFE = 1e-200;

/** Scores of tag sequences; everything in double precision. */
export class Crf {
  /**
   * @param {{ transitions: readonly (readonly number[])[], start: readonly number[], end: readonly number[] }} spec
   *     transitions (from, to); start and end (tag,)
   * @throws {TypeError | RangeError} shapes that do not go together, a number that is none, or one above 1e30
   */
  constructor({ transitions, start, end }) {
    if (![transitions, start, end, ...(Array.isArray(transitions) ? transitions : [])].every(Array.isArray)) {
      throw new TypeError("transitions, start or end is not a list of numbers");
    }
    /** How many tags there are. */
    this.tags = start.length;
    if (!this.tags || [transitions, end, ...transitions].some((list) => list.length !== this.tags)) {
      throw new RangeError(`start has ${this.tags} numbers; expected as many, at least one, in end and in transitions`);
    }
    this.start = numbers(start);
    this.end = numbers(end);
    this.forward = new Step(transitions.map(numbers));
    this.backward = new Step(transitions.map((_, to) => numbers(transitions.map((row) => row[to]))));
  }

  /**
   * The score of one path.
   *
   * @param {Float32Array} emissions (sequence, tag)
   * @param {ArrayLike<number>} path (sequence,) tag ids
   * @returns {number}
   */
  pathScore(emissions, path) {
    if (!path.length) return 0;
    let score = this.start[path[0]] + this.end[path[path.length - 1]];
    for (let t = 0; t < path.length; t++) {
      score += emissions[t * this.tags + path[t]];
      if (t) score += this.forward.moves[path[t - 1]][path[t]];
    }
    return score;
  }

  /**
   * How far the score of a path may be off where each emission may be by `tolerance`, absolute and relative.
   *
   * @param {Float32Array} emissions (sequence, tag)
   * @param {ArrayLike<number>} path (sequence,) tag ids
   * @param {number} tolerance
   * @returns {number}
   */
  pathTolerance(emissions, path, tolerance) {
    let sum = 0;
    for (let t = 0; t < path.length; t++) sum += 1 + Math.abs(emissions[t * this.tags + path[t]]);
    return tolerance * sum;
  }

  /**
   * The probability of each tag at each token of one sentence, over all paths.
   *
   * @param {Float32Array} emissions (sequence, tag)
   * @returns {Float64Array} (sequence, tag)
   */
  marginals(emissions) {
    const { tags } = this;
    const length = emissions.length / tags;
    const found = new Float64Array(emissions.length);
    const reached = new Float64Array(tags);
    for (let t = 0; t < length; t++) {
      if (t) this.forward.advance(reached);
      else reached.set(this.start);
      for (let j = 0; j < tags; j++) reached[j] += emissions[t * tags + j];
      found.set(reached, t * tags);
    }
    for (let t = length - 1; t >= 0; t--) {
      const row = found.subarray(t * tags, (t + 1) * tags);
      if (t === length - 1) {
        reached.set(this.end);
      } else {
        for (let j = 0; j < tags; j++) reached[j] += emissions[(t + 1) * tags + j];
        this.backward.advance(reached);
      }
      for (let j = 0; j < tags; j++) row[j] += reached[j];
      normalise(row);
    }
    return found;
  }
}

/**
 * One step of the sums over all paths: `out[j] = lse over i of (values[i] + moves[i][j])`.
 *
 * The exponentials of the moves are worked out once, so that a step takes as many as there are tags, not their square;
 * where that would lose something (moves that are as good as forbidden) the sum is taken on logarithms.
 */
class Step {
  #factors;
  #tops;
  #before;
  #weights;

  /** @param {readonly Float64Array[]} moves (from, to) */
  constructor(moves) {
    this.moves = moves;
    this.#tops = moves.map((_, to) => Math.max(...moves.map((row) => row[to])));
    this.#factors = this.#tops.map((top, to) => Float64Array.from(moves, (row) => Math.exp(row[to] - top)));
    this.#before = new Float64Array(moves.length);
    this.#weights = new Float64Array(moves.length);
  }

  /** @param {Float64Array} values (tag,), replaced by the result */
  advance(values) {
    const [before, weights] = [this.#before, this.#weights];
    const size = before.length;
    before.set(values);
    const top = largest(before);
    for (let i = 0; i < size; i++) weights[i] = Math.exp(before[i] - top);
    for (let j = 0; j < size; j++) {
      const factors = this.#factors[j];
      let sum = 0;
      for (let i = 0; i < size; i++) sum += weights[i] * factors[i];
      values[j] = sum > SAFE ? top + this.#tops[j] + Math.log(sum) : this.#onLogarithms(j);
    }
  }

  /** @param {number} to */
  #onLogarithms(to) {
    const sums = this.#before.map((value, from) => value + this.moves[from][to]);
    const top = largest(sums);
    return top + Math.log(sums.reduce((sum, value) => sum + Math.exp(value - top), 0));
  }
}

/**
 * Logarithms -> probabilities, in place.
 *
 * @param {Float64Array} row
 */
function normalise(row) {
  const top = largest(row);
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - top);
  for (let j = 0; j < row.length; j++) row[j] /= sum;
}

/** @param {Float64Array} values */
function largest(values) {
  let top = values[0];
  for (let i = 1; i < values.length; i++) if (values[i] > top) top = values[i];
  return top;
}

/**
 * Single-precision numbers from -1e30 to 1e30; anything lower is kept as that.
 *
 * @param {readonly number[]} values
 */
function numbers(values) {
  return Float64Array.from(values, (value) => {
    if (typeof value !== "number") throw new TypeError("it holds something other than numbers");
    const found = Math.max(Math.fround(value), FORBIDDEN);
    if (!(found <= -FORBIDDEN)) throw new RangeError(`it holds ${value}; expected numbers of at most 1e30`);
    return found;
  });
}

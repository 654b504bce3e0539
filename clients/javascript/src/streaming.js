/** Tokens as they come: a streaming file tags each chunk of a text at once and remembers where it stands. */

import { decodeRow } from "./decoding.js";
import { ModelFileError, shown } from "./errors.js";
import { checkTokens, openChecked, Tagger } from "./tagger.js";

/** @typedef {import("./decoding.js").TaggedSentence} TaggedSentence */
/** @typedef {import("./session.js").States} States */

/**
 * Tags text streams with a file made by `lstm-deploy export --streaming`; and whole sentences, as `Tagger`.
 *
 * However a sentence is cut into chunks, its tags and scores are those of the whole sentence. Any number of streams
 * share one tagger.
 */
export class StreamingTagger extends Tagger {
  /**
   * The tagger for a streaming file. Arguments and errors as for `Tagger.load`.
   *
   * @param {Uint8Array | ArrayBuffer} bytes
   * @param {import("./runtime.js").Runtime} runtime
   * @param {import("./tagger.js").LoadOptions} [options]
   * @returns {Promise<StreamingTagger>}
   * @throws {ModelFileError} also where the file is for whole sentences
   */
  static async load(bytes, runtime, options = {}) {
    const session = await openChecked(bytes, runtime, options);
    if (!session.parts.states.length) {
      await session.release();
      throw new ModelFileError(
        "the model file is for whole sentences; expected a streaming one; load it with Tagger, or make one with " +
          "`lstm-deploy export --streaming`",
      );
    }
    return new StreamingTagger(session, options);
  }

  /**
   * A stream at the start of a sentence, or where another one stood.
   *
   * @param {States} [state] what `Stream.state` gave
   * @returns {Stream}
   * @throws {RangeError} a state of another model
   */
  stream(state) {
    return new Stream(this, state);
  }
}

/** Where one text stands. */
export class Stream {
  #tagger;
  /** After the pushes answered so far. @type {States} */
  #state = {};
  /** After all pushes so far: where the next one goes on. @type {Promise<States>} */
  #tail = Promise.resolve({});
  /** Counts moves from outside, which the end of a push made before must not undo. */
  #moves = 0;

  /**
   * Use `StreamingTagger.stream`.
   *
   * @param {StreamingTagger} tagger
   * @param {States} [state]
   */
  constructor(tagger, state) {
    this.#tagger = tagger;
    if (state === undefined) this.reset();
    else this.state = state;
  }

  /**
   * The tags of exactly these tokens, which go on from those pushed before. Pushes are answered in the order made,
   * awaited or not.
   *
   * @param {readonly string[]} tokens the next of the sentence, any number, none too
   * @param {{ scores?: boolean }} [options] scores: whether to give the probability of each tag too
   * @returns {Promise<TaggedSentence>}
   * @throws {TypeError} `tokens` is not an array, or holds something else than strings
   * @throws {import("./errors.js").InputError} a token the model has no id for, if it has no unknown one
   * @throws {import("./errors.js").RuntimeFailure} the runtime fails. The stream has not moved after an error
   */
  async push(tokens, options) {
    checkTokens(tokens);
    const kept = [...tokens];
    const moves = this.#moves;
    const before = this.#tail;
    const done = before.then((state) => this.#advance(kept, state, options));
    this.#tail = done.then(
      ({ state }) => state,
      () => before,
    );
    const { result, state } = await done;
    if (moves === this.#moves) this.#state = state;
    return result;
  }

  /** Back to the start of a sentence. Pushes under way are still answered as what they were. */
  reset() {
    this.#move(this.#tagger.session.initialStates(1));
  }

  /** A copy of where the stream stands, after the pushes answered so far: name -> (size,); plain data, to park. */
  get state() {
    return copied(this.#state);
  }

  /**
   * @throws {TypeError | RangeError} a state of another model
   */
  set state(state) {
    /** @type {States} */
    const found = {};
    const specs = this.#tagger.session.parts.states;
    const expected = Object.fromEntries(specs.map(({ name, size }) => [name, size]));
    for (const { name, size } of specs) {
      if (state?.[name]?.length !== size || Object.keys(state).length !== specs.length) {
        throw new RangeError(
          `a state of ${shown(sizes(state))}; expected ${shown(expected)}: one that this model's stream gave`,
        );
      }
      found[name] = Float32Array.from(state[name]);
    }
    this.#move(found);
  }

  /** Another stream that stands where this one does. */
  copy() {
    return new Stream(this.#tagger, this.#state);
  }

  /** @param {States} state */
  #move(state) {
    this.#state = state;
    this.#moves++;
    this.#tail = Promise.resolve(state);
  }

  /**
   * The answer to a chunk and the state after it; a long chunk goes through the model in pieces.
   *
   * @param {string[]} tokens
   * @param {States} state
   * @param {{ scores?: boolean }} [options]
   */
  async #advance(tokens, state, options) {
    const { session, encoder, batchTokens } = this.#tagger;
    /** @type {TaggedSentence} */
    const result = { tokens, tags: [], scores: [] };
    // All are looked up before any is run: a word without an id moves nothing.
    const pieces = [];
    for (let at = 0; at < tokens.length; at += batchTokens) {
      const piece = tokens.slice(at, at + batchTokens);
      pieces.push({ piece, inputs: encoder.encode([piece]) });
    }
    for (const { piece, inputs } of pieces) {
      const answer = await session.runEncoded(inputs, { ...options, states: state });
      const { tags, scores } = decodeRow(piece, answer, 0, session.parts);
      for (const tag of tags) result.tags.push(tag);
      for (const score of scores) result.scores.push(score);
      state = answer.states;
    }
    return { result, state };
  }
}

/**
 * @param {States} states
 * @returns {States}
 */
function copied(states) {
  return Object.fromEntries(Object.entries(states).map(([name, values]) => [name, Float32Array.from(values)]));
}

/** @param {unknown} state */
function sizes(state) {
  if (typeof state !== "object" || state === null) return state;
  return Object.fromEntries(Object.entries(state).map(([name, values]) => [name, values?.length]));
}

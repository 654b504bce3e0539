/**
 * The string map in the ONNX file -> typed metadata. FORMAT.md is its specification.
 *
 * Knows the names and types of what is written, not how a graph is run.
 */

import { Crf } from "./crf.js";
import { FormatVersionError, MetadataError, MissingMetadataError, printable, reason, shown } from "./errors.js";
import { SubwordFeatures } from "./features.js";
import { Tokenizer } from "./tokenizer.js";
import { CharacterVocabulary, Vocabulary } from "./vocabulary.js";

const PREFIX = "lstm_deploy.";
/** The newest format version that this client reads; all older ones too. */
export const FORMAT_VERSION = 5;
/**
 * Version, a key it brought, and what that is in files older than it.
 *
 * @type {readonly (readonly [number, string, string])[]}
 */
const ADDED = [
  [2, "precision", "fp32"],
  [2, "rounding", "{}"],
  [3, "decoder", '{"kind": "argmax"}'],
  [3, "notes", "[]"],
  [4, "runtimes", '["onnxruntime", "onnxruntime-node", "onnxruntime-web"]'],
];
/** Graph forms whose precision this client can tell from the graph; a file of another one is taken at its word. */
export const GRAPH_FORMS = ["reverse_sequence", "sequence_lens", "gate", "scan_int8"];
/**
 * Precision -> how far a log-probability or emission may be from PyTorch's on the stored weights: absolute, and
 * relative to the value.
 */
export const TOLERANCES = { fp32: 1e-5, fp16: 1e-5, rows8: 1e-5, int8: 0.15 };
const MAX_TAGS = 65_536;
/** Characters of a tag. */
const MAX_TAG = 1_024;
/** Tags go into tables, and onto pages and terminals. */
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )*$/u;
const SEGMENTATION_TAGS = ["inside", "outside", "sentence", "token"];
const COLUMNS = /** @type {const} */ (["upos", "xpos", "tag", "segmentation"]);

/**
 * An input of the graph, with the fields that FORMAT.md gives its kind (section 2).
 *
 * @typedef {object} InputSpec
 * @property {string} name in the graph
 * @property {string} kind `word_ids`, `subword_ids`, `char_ids`, `char_lengths`, `lengths` or `state`
 * @property {"int32" | "float32"} dtype
 * @property {readonly string[]} axes
 * @property {number} [rows] of the table that the ids select from
 * @property {number | null} [unknown_id]
 * @property {number} [padding_id]
 * @property {"keep" | "lower"} [case]
 * @property {"crc32"} [hash]
 * @property {readonly string[]} [templates]
 * @property {readonly (string | null)[]} [characters]
 * @property {number} [size] numbers of one row of a state
 * @property {string} [next] the output that gives the state after the chunk
 * @property {readonly number[] | null} [initial] what a sentence starts from; null for zeros
 */

/**
 * An output of the graph.
 *
 * @typedef {object} OutputSpec
 * @property {string} name in the graph
 * @property {string} kind `tag_ids`, `log_probs`, `emissions` or `state`
 * @property {"int32" | "float32"} dtype
 * @property {readonly string[]} axes
 */

/**
 * How tags are chosen: each token's best, or by the numbers of a CRF.
 *
 * @typedef {{ kind: "argmax" } | { kind: "crf", transitions: number[][], start: number[], end: number[] }} Decoder
 */

/**
 * One sentence with everything a client should get for it (FORMAT.md, section 7).
 *
 * @typedef {object} GoldenCase
 * @property {readonly string[]} tokens
 * @property {Readonly<Record<string, readonly (number | readonly number[])[]>>} inputs input kind -> ids, unpadded
 * @property {readonly number[]} tag_ids
 * @property {readonly string[]} tags
 * @property {readonly number[]} scores probability of each chosen tag, from PyTorch
 * @property {string | null} text what `tokens` were cut from, or null
 */

/**
 * All that a model file says of itself beside its graph; frozen. Everything below the first level is as FORMAT.md
 * names it.
 *
 * @typedef {object} ModelMetadata
 * @property {number} formatVersion
 * @property {string} graphForm
 * @property {"fp32" | "fp16" | "rows8" | "int8"} precision how weights are stored
 * @property {"upos" | "xpos" | "tag" | "segmentation"} column what the tags are
 * @property {readonly InputSpec[]} inputs in the graph's order
 * @property {readonly OutputSpec[]} outputs in the graph's order
 * @property {Readonly<Decoder>} decoder
 * @property {readonly (string | null)[]} words the word with id i at position i; null where no text maps to the id
 * @property {readonly string[]} tags the tag with id i at position i
 * @property {Readonly<import("./tokenizer.js").TokenizerSpec>} tokenizer
 * @property {Readonly<Record<string, any>>} training where the model comes from; nothing in it changes an answer
 * @property {Readonly<Record<string, string>>} versions package -> version that made the file
 * @property {readonly GoldenCase[]} golden cases for a client to test itself with
 * @property {Readonly<Record<string, any>>} proof figures of the parity check that the file passed
 * @property {Readonly<Record<string, any>>} rounding what rounding the weights cost; empty for fp32
 * @property {readonly string[]} notes what the exporter took for granted
 * @property {readonly string[]} runtimes those that the file claims to be right in
 * @property {Readonly<Record<string, any>>} card what the model is for, made of what, how good; or empty
 */

/**
 * A recurrent state of a streaming file: an input and the output that feeds it at the next chunk.
 *
 * @typedef {object} State
 * @property {string} name of the input
 * @property {string} next name of the output
 * @property {number} size numbers of one stream
 * @property {Float32Array} initial (size,) what a sentence starts from
 */

/**
 * The working parts that the metadata describes.
 *
 * @typedef {object} ModelParts
 * @property {ModelMetadata} metadata
 * @property {Tokenizer} tokenizer
 * @property {Vocabulary | null} vocabulary
 * @property {SubwordFeatures | null} features
 * @property {CharacterVocabulary | null} characters
 * @property {Crf | null} crf
 * @property {readonly State[]} states
 * @property {string} scores name of the output that scores all tags
 */

/**
 * The metadata in an ONNX file's string map, and the parts made of it.
 *
 * @param {ReadonlyMap<string, string>} properties
 * @returns {ModelParts}
 * @throws {MissingMetadataError} there is none
 * @throws {FormatVersionError} it is of a newer format than this client reads
 * @throws {MetadataError} it is incomplete, malformed or contradicts itself
 */
export function readMetadata(properties) {
  const values = new Values(properties);
  const version = readVersion(values);
  for (const [since, key, text] of ADDED) if (since > version) values.add(key, text);
  const metadata = frozen(readFields(values, version));
  const kinds = inputKinds(values, metadata);
  checkForm(values, metadata);
  checkSegmentation(values, metadata);
  const word = kinds.get("word_ids");
  const spelt = kinds.get("char_ids");
  const states = values.usable("inputs", "has no usable state", () => readStates(metadata.inputs));
  checkInputs(values, metadata);
  checkGolden(values, metadata);
  return Object.freeze({
    metadata,
    tokenizer: values.usable("tokenizer", "is not usable", () => new Tokenizer(metadata.tokenizer)),
    vocabulary: word ? values.usable("inputs", "and words do not agree", () => readWords(metadata.words, word)) : null,
    features: values.usable("inputs", "has no usable subword spec", () => readFeatures(kinds.get("subword_ids"))),
    characters: spelt ? values.usable("inputs", "has no usable character spec", () => readCharacters(spelt)) : null,
    crf: values.usable("decoder", "is not usable", () => readCrf(metadata, states)),
    states,
    scores: checkOutputs(values, metadata, states),
  });
}

/**
 * @param {Values} values
 * @param {number} formatVersion
 * @returns {ModelMetadata}
 */
function readFields(values, formatVersion) {
  const tags = values.list("tags", "string");
  if (!tags.length || new Set(tags).size !== tags.length) throw values.error("tags", "is empty or holds a tag twice");
  if (tags.length > MAX_TAGS) throw values.error("tags", `holds ${tags.length} tags; expected at most ${MAX_TAGS}`);
  const odd = tags.find((tag) => !PRINTABLE.test(tag) || [...tag].length > MAX_TAG);
  if (odd !== undefined) {
    throw values.error("tags", `holds ${shown(odd)}; expected at most ${MAX_TAG} printable characters`);
  }
  const words = values.list("words");
  if (!words.every((word) => word === null || typeof word === "string")) {
    throw values.error("words", "holds something other than words and nulls");
  }
  return {
    formatVersion,
    graphForm: values.text("graph_form"),
    precision: values.choice("precision", ["fp32", "fp16", "rows8", "int8"]),
    column: values.choice("column", COLUMNS),
    inputs: values.list("inputs", "object"),
    outputs: values.list("outputs", "object"),
    decoder: values.object("decoder"),
    words,
    tags,
    tokenizer: values.object("tokenizer"),
    training: values.object("training"),
    versions: values.object("versions"),
    golden: values.list("golden", "object"),
    proof: values.object("proof"),
    rounding: values.object("rounding"),
    notes: values.list("notes", "string"),
    runtimes: values.list("runtimes", "string"),
    card: values.has("card") ? values.object("card") : {},
  };
}

/** @param {Values} values */
function readVersion(values) {
  if (!values.has("format_version")) {
    throw new MissingMetadataError(
      "the model file is an ONNX model without lstm-deploy metadata; make the file with `lstm-deploy export`",
    );
  }
  const text = values.text("format_version");
  const version = Number(text);
  if (!/^[0-9]{1,9}$/.test(text) || version < 1) {
    throw values.error("format_version", `is ${shown(text)}; expected a whole number from 1`);
  }
  if (version > FORMAT_VERSION) {
    throw new FormatVersionError(
      `the model file is of format version ${version}, newer than ${FORMAT_VERSION}, the newest that this ` +
        "lstm-deploy reads; install a newer lstm-deploy",
    );
  }
  return version;
}

/**
 * @param {Values} values
 * @param {ModelMetadata} metadata
 */
function checkSegmentation(values, { column, tokenizer, tags }) {
  if ((column === "segmentation") !== (tokenizer.kind === "characters")) {
    throw values.error("tokenizer", `is of kind ${shown(tokenizer.kind)}; characters and column segmentation go together`);
  }
  if (column === "segmentation" && !tags.every((tag) => SEGMENTATION_TAGS.includes(tag))) {
    throw values.error("tags", `are ${shown(tags.join(", "))}; expected some of ${SEGMENTATION_TAGS.join(", ")}`);
  }
}

/**
 * The inputs by kind, where all kinds are known and enough of them are there.
 *
 * @param {Values} values
 * @param {ModelMetadata} metadata
 * @returns {Map<string, InputSpec>}
 */
function inputKinds(values, { inputs }) {
  /** @type {Map<string, InputSpec>} */
  const kinds = new Map();
  const known = Object.keys(AXES);
  for (const spec of inputs) {
    if (!known.includes(spec.kind)) {
      throw values.error("inputs", `has an input of unknown kind ${shown(spec.kind)}; known: ${known.join(", ")}`);
    }
    if (kinds.has(spec.kind) && spec.kind !== "state") {
      throw values.error("inputs", `has two inputs of kind ${spec.kind}`);
    }
    kinds.set(spec.kind, spec);
  }
  const spelt = kinds.has("char_ids") || kinds.has("char_lengths");
  const needed = ["lengths", ...(spelt ? ["char_ids", "char_lengths"] : ["word_ids"])];
  const missing = needed.filter((kind) => !kinds.has(kind));
  if (missing.length) throw values.error("inputs", `lacks the inputs ${missing.join(", ")}`);
  return kinds;
}

/** @type {Readonly<Record<string, readonly string[]>>} */
const AXES = {
  word_ids: ["batch", "sequence"],
  subword_ids: ["batch", "sequence", "feature"],
  char_ids: ["batch", "sequence", "character"],
  char_lengths: ["batch", "sequence"],
  lengths: ["batch"],
  state: ["batch", "state"],
};

/**
 * Names, types and axes are those of the kinds.
 *
 * @param {Values} values
 * @param {ModelMetadata} metadata
 */
function checkInputs(values, { inputs }) {
  for (const spec of inputs) checkTensor(values, "inputs", spec, AXES[spec.kind]);
  if (new Set(inputs.map((spec) => spec.name)).size !== inputs.length) {
    throw values.error("inputs", "has two inputs of one name");
  }
}

/**
 * The outputs that a client reads are there; the name of the one that scores all tags.
 *
 * @param {Values} values
 * @param {ModelMetadata} metadata
 * @param {readonly State[]} states
 */
function checkOutputs(values, { outputs, decoder }, states) {
  const kind = decoder.kind === "crf" ? "emissions" : "log_probs";
  /** @param {string} wanted */
  const only = (wanted) => {
    const found = outputs.filter((spec) => spec.kind === wanted);
    if (found.length !== 1) throw values.error("outputs", `has ${found.length} outputs of kind ${wanted}; expected 1`);
    return found[0];
  };
  const tagIds = only("tag_ids");
  if (tagIds.name !== "tag_ids") throw values.error("outputs", `names the tag ids ${shown(tagIds.name)}`);
  checkTensor(values, "outputs", tagIds, ["batch", "sequence"]);
  const scores = only(kind);
  checkTensor(values, "outputs", scores, ["batch", "sequence", "tag"]);
  for (const { next } of states) {
    const output = outputs.find((spec) => spec.name === next);
    if (!output) throw values.error("outputs", `has no ${shown(next)}, which the inputs name as a next state`);
    checkTensor(values, "outputs", output, AXES.state);
  }
  return scores.name;
}

/**
 * @param {Values} values
 * @param {string} key
 * @param {InputSpec | OutputSpec} spec
 * @param {readonly string[]} axes
 */
function checkTensor(values, key, spec, axes) {
  const dtype = FLOATS.has(spec.kind) ? "float32" : "int32";
  if (typeof spec.name !== "string" || !spec.name) throw values.error(key, `has a ${spec.kind} without a name`);
  if (spec.dtype !== dtype || JSON.stringify(spec.axes) !== JSON.stringify(axes)) {
    const found = `${shown(spec.dtype)} ${shown(spec.axes)}`;
    throw values.error(key, `says ${found} for ${spec.name}; expected ${shown(dtype)} ${shown(axes)}`);
  }
}

const FLOATS = new Set(["state", "log_probs", "emissions"]);

/**
 * @param {Values} values
 * @param {ModelMetadata} metadata
 */
function checkForm(values, { graphForm, precision }) {
  if (GRAPH_FORMS.includes(graphForm) && (graphForm === "scan_int8") !== (precision === "int8")) {
    throw values.error("graph_form", `is ${graphForm}; scan_int8 and precision int8 go together, it is ${precision}`);
  }
}

/**
 * @param {readonly (string | null)[]} words
 * @param {InputSpec} spec
 */
function readWords(words, spec) {
  if (spec.rows !== words.length) throw new RangeError(`rows is ${shown(spec.rows)}, there are ${words.length} words`);
  return new Vocabulary(words, readLookup(spec));
}

/** @param {InputSpec} spec */
function readCharacters(spec) {
  const { characters } = spec;
  if (!Array.isArray(characters) || !characters.every((char) => char === null || typeof char === "string")) {
    throw new TypeError("characters is not a list of characters and nulls");
  }
  if (spec.rows !== characters.length) {
    throw new RangeError(`rows is ${shown(spec.rows)}, there are ${characters.length} characters`);
  }
  return new CharacterVocabulary(characters, readLookup(spec));
}

/**
 * @param {InputSpec} spec
 * @returns {import("./vocabulary.js").Lookup}
 */
function readLookup(spec) {
  const { unknown_id, padding_id } = spec;
  if (unknown_id === undefined || padding_id === undefined || spec.case === undefined) {
    throw new TypeError("unknown_id, padding_id or case is missing");
  }
  return { unknown_id, padding_id, case: spec.case };
}

/** @param {InputSpec | undefined} spec */
function readFeatures(spec) {
  if (!spec) return null;
  if (spec.hash !== "crc32") throw new RangeError(`hash ${shown(spec.hash)} is not known (crc32)`);
  if (!Array.isArray(spec.templates)) throw new TypeError("templates is not a list");
  const { rows = 0, padding_id = -1 } = spec;
  if (!(padding_id >= 0 && padding_id < rows)) throw new RangeError(`padding_id is ${padding_id}, outside the table`);
  if (rows >= 2 ** 31) throw new RangeError(`rows is ${rows}, more than ids of 32 bits can tell apart`);
  return new SubwordFeatures(spec.templates, rows, padding_id);
}

/**
 * @param {ModelMetadata} metadata
 * @param {readonly State[]} states
 */
function readCrf({ decoder, tags }, states) {
  if (decoder.kind === "argmax") return null;
  if (decoder.kind !== "crf") {
    throw new RangeError(`kind ${shown(/** @type {any} */ (decoder).kind)} is not known (argmax, crf)`);
  }
  if (states.length) {
    throw new RangeError("it chooses among paths through a whole sentence; a file with states has chunks");
  }
  const crf = new Crf(decoder);
  if (crf.tags !== tags.length) throw new RangeError(`it has ${crf.tags} tags, the file ${tags.length}`);
  return crf;
}

/**
 * @param {readonly InputSpec[]} inputs
 * @returns {State[]}
 */
function readStates(inputs) {
  const states = inputs
    .filter((spec) => spec.kind === "state")
    .map(({ name, next, size = 0, initial = null }) => {
      if (typeof next !== "string" || !next) throw new TypeError(`${shown(name)} has no next`);
      if (!(Number.isInteger(size) && size >= 1)) throw new RangeError(`${shown(name)} has the size ${shown(size)}`);
      if (initial !== null && !(initial.length === size && initial.every((value) => typeof value === "number"))) {
        throw new RangeError(`${shown(name)} of size ${size} starts from something other than ${size} numbers`);
      }
      return { name, next, size, initial: initial ? Float32Array.from(initial) : new Float32Array(size) };
    });
  const names = new Set(states.flatMap(({ name, next }) => [name, next]));
  if (names.size !== 2 * states.length) throw new RangeError("two have one name");
  return states;
}

/**
 * The cases have the types and the one length they should.
 *
 * @param {Values} values
 * @param {ModelMetadata} metadata
 */
function checkGolden(values, { golden, tags }) {
  values.usable("golden", "is not usable", () => {
    for (const { tokens, inputs, tag_ids: tagIds, tags: names, scores, text } of golden) {
      if (![tokens, tagIds, names, scores].every(Array.isArray) || typeof inputs !== "object" || !inputs) {
        throw new TypeError("tokens, inputs, tag_ids, tags or scores is missing");
      }
      if (!tokens.every((token) => typeof token === "string")) throw new TypeError("tokens hold no strings");
      if (!scores.every((score) => typeof score === "number")) throw new TypeError("scores hold no numbers");
      if ([tagIds, names, scores].some((list) => list.length !== tokens.length)) {
        throw new RangeError("tokens, tag_ids, tags and scores differ in number");
      }
      if (tagIds.some((id, i) => tags[id] !== names[i])) throw new RangeError("tag_ids are not those of the tags");
      if (text !== null && typeof text !== "string") throw new TypeError("text is neither null nor a string");
    }
  });
}

/** The string map, taken apart key by key; every failure names the key. */
class Values {
  #texts;

  /** @param {ReadonlyMap<string, string>} properties */
  constructor(properties) {
    this.#texts = new Map(properties);
  }

  /** @param {string} key */
  has(key) {
    return this.#texts.has(PREFIX + key);
  }

  /**
   * What an older file does not say.
   *
   * @param {string} key
   * @param {string} text
   */
  add(key, text) {
    if (!this.has(key)) this.#texts.set(PREFIX + key, text);
  }

  /** @param {string} key */
  text(key) {
    const text = this.#texts.get(PREFIX + key);
    if (text === undefined) throw this.error(key, "is missing");
    return text;
  }

  /**
   * @template {string} T
   * @param {string} key
   * @param {readonly T[]} choices
   * @returns {T}
   */
  choice(key, choices) {
    const text = this.text(key);
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw this.error(key, `is ${shown(text)}; expected one of ${choices.join(", ")}`);
    return found;
  }

  /**
   * @param {string} key
   * @returns {any}
   */
  object(key) {
    const value = this.#json(key);
    if (!isObject(value)) throw this.error(key, `is ${shown(value)}; expected a JSON object`);
    return value;
  }

  /**
   * @param {string} key
   * @param {"string" | "object"} [type] of its items
   * @returns {any[]}
   */
  list(key, type) {
    const value = this.#json(key);
    if (!Array.isArray(value)) throw this.error(key, `is ${shown(value)}; expected a JSON list`);
    if (type && !value.every((item) => (type === "object" ? isObject(item) : typeof item === type))) {
      throw this.error(key, `holds something other than a JSON ${type}`);
    }
    return value;
  }

  /**
   * What `make` makes; what it says against the value is said of the key.
   *
   * @template T
   * @param {string} key
   * @param {string} fact
   * @param {() => T} make
   * @returns {T}
   */
  usable(key, fact, make) {
    try {
      return make();
    } catch (error) {
      throw this.error(key, `${fact}: ${reason(error)}`, error);
    }
  }

  /**
   * @param {string} key
   * @param {string} fact
   * @param {unknown} [cause]
   */
  error(key, fact, cause) {
    const options = cause === undefined ? undefined : { cause };
    const text = `the model file's metadata ${PREFIX}${key} ${printable(fact)}; export the model again`;
    return new MetadataError(text, options);
  }

  /**
   * @param {string} key
   * @returns {unknown}
   */
  #json(key) {
    const text = this.text(key);
    return this.usable(key, "is not JSON", () => (LARGE.test(text) ? JSON.parse(text, finite) : JSON.parse(text)));
  }
}

/** What a number that is more than one can be has in it. */
const LARGE = /[0-9]{300}|[eE]\+?0*[1-9][0-9]{2}/;

/**
 * @param {string} _
 * @param {unknown} value
 */
function finite(_, value) {
  if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError("it holds more than a number can be");
  return value;
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The same value, it and all within frozen. With a list of what is left to do, because a file may nest deeper than
 * calls can.
 *
 * @template T
 * @param {T} value plain JSON
 * @returns {T}
 */
function frozen(value) {
  /** @type {unknown[]} */
  const left = [value];
  while (left.length) {
    const item = left.pop();
    if (typeof item !== "object" || item === null) continue;
    for (const inner of Object.values(item)) if (typeof inner === "object") left.push(inner);
    Object.freeze(item);
  }
  return value;
}

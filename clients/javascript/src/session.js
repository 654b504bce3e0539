/** Opens a model file, checks that graph and metadata agree, and runs checked id arrays through it. */

import { IdRangeError, MetadataError, reason, RuntimeFailure, shown } from "./errors.js";
import { GRAPH_FORMS, readMetadata } from "./metadata.js";
import { readModelFile } from "./modelfile.js";
import { checkRuntime, inTurn } from "./runtime.js";

/** Operators that only pick or lay out ids. */
const SELECTING = new Set([
  "GatherND",
  "Concat",
  "Reshape",
  "Transpose",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Slice",
  "Cast",
  "Identity",
]);
const FREE_AXES = new Set(["batch", "sequence", "character"]);

/**
 * Of a streaming file: name of each state -> float32 (batch, size), or of one stream alone (size,). Empty for others.
 *
 * @typedef {Record<string, Float32Array>} States
 */

/**
 * What the model says of a batch.
 *
 * @typedef {object} Answer
 * @property {number} batch
 * @property {number} sequence
 * @property {Int32Array} tagIds (batch, sequence), -1 at padding
 * @property {Float32Array | null} scores (batch, sequence, tag): log-probabilities, or with a CRF emissions; null where
 *     only tags were asked for; unspecified at padding
 * @property {States} states after the last token of each row
 */

/**
 * The metadata in an ONNX file, without a runtime.
 *
 * @param {Uint8Array | ArrayBuffer} bytes the model file
 * @returns {import("./metadata.js").ModelMetadata}
 * @throws {import("./errors.js").ModelFileError} it is not one of ours, or contradicts itself
 * @throws {TypeError} `bytes` are none
 */
export function readModel(bytes) {
  return readChecked(asBytes(bytes)).metadata;
}

/** One open model file. Runs are done one after another, in the order asked for. */
export class TaggerSession {
  #runtime;
  #session;
  #isOpen = true;
  /** @type {Promise<void> | null} */
  #released = null;
  #tagCount;

  /**
   * Use `open`.
   *
   * @param {import("./metadata.js").ModelParts} parts
   * @param {import("./runtime.js").Runtime} runtime
   * @param {import("./runtime.js").RuntimeSession} session
   */
  constructor(parts, runtime, session) {
    /** The metadata and the working parts made of it. */
    this.parts = parts;
    this.#runtime = runtime;
    this.#session = session;
    this.#tagCount = parts.metadata.tags.length;
  }

  /**
   * @param {Uint8Array | ArrayBuffer} bytes the model file
   * @param {import("./runtime.js").Runtime} runtime `onnxruntime-web` or `onnxruntime-node`
   * @param {object} [sessionOptions] handed to the runtime as they are
   * @returns {Promise<TaggerSession>}
   * @throws {import("./errors.js").ModelFileError} the file is not one of ours, or contradicts itself
   * @throws {RuntimeFailure} the runtime does not open it
   * @throws {TypeError} no bytes, or no runtime
   */
  static async open(bytes, runtime, sessionOptions) {
    checkRuntime(runtime);
    const content = asBytes(bytes);
    const parts = readChecked(content);
    /** @type {import("./runtime.js").RuntimeSession} */
    let session;
    try {
      session = await inTurn(runtime, () => runtime.InferenceSession.create(content, sessionOptions));
    } catch (error) {
      throw new RuntimeFailure(
        `the ONNX runtime does not open the model (${reason(error)}); check that its own files (.wasm) load and that ` +
          "it knows ONNX operator set 17, else export the model again",
        { cause: error },
      );
    }
    try {
      checkSignature(session, parts.metadata);
    } catch (error) {
      await session.release();
      throw error;
    }
    return new TaggerSession(parts, runtime, session);
  }

  /**
   * The answer to a batch of ids from anywhere: they are checked first.
   *
   * @param {import("./encoding.js").Inputs} inputs
   * @param {{ scores?: boolean, states?: States }} [options]
   * @returns {Promise<Answer>}
   * @throws {IdRangeError} an id outside its table, a length below 0 or above its axis, or arrays whose shapes do not
   *     go together
   * @throws {RuntimeFailure} the runtime fails on it
   */
  async run(inputs, options) {
    this.#check(inputs);
    return this.runEncoded(inputs, options);
  }

  /**
   * The answer to a batch that the model's own `Encoder` made, whose ids need no check.
   *
   * An empty batch, or one of empty rows, never reaches the runtime: some releases end the process.
   *
   * @param {import("./encoding.js").Inputs} inputs a sentence a row; of a streaming file, a chunk a row
   * @param {{ scores?: boolean, states?: States }} [options] scores: whether to give the scores of all tags too;
   *     states: of a streaming file, what each row goes on from, by default the start of a sentence
   * @returns {Promise<Answer>}
   * @throws {RuntimeFailure} the runtime fails on it
   */
  async runEncoded(inputs, { scores = true, states } = {}) {
    const [batch, sequence] = this.#shape(inputs);
    const before = states ?? this.initialStates(batch);
    if (!batch || !sequence) {
      const none = scores ? new Float32Array(0) : null;
      return { batch, sequence, tagIds: new Int32Array(0), scores: none, states: before };
    }
    return inTurn(this.#runtime, async () => {
      if (!this.#isOpen) throw new RuntimeFailure("the tagger was released; expected an open one; load it again");
      try {
        return await this.#runNow(inputs, before, scores, batch, sequence);
      } catch (error) {
        throw new RuntimeFailure(
          `the ONNX runtime cannot run the model on a batch of ${batch} x ${sequence} (${reason(error)}); if memory ` +
            "is short lower batchTokens, else export the model again",
          { cause: error },
        );
      }
    });
  }

  /**
   * What `batch` sentences start from; nothing for a file that is not a streaming one.
   *
   * @param {number} batch
   * @returns {States}
   */
  initialStates(batch) {
    /** @type {States} */
    const states = {};
    for (const { name, size, initial } of this.parts.states) {
      const rows = new Float32Array(batch * size);
      for (let row = 0; row < batch; row++) rows.set(initial, row * size);
      states[name] = rows;
    }
    return states;
  }

  /** Frees the model, after the runs that were asked for before. Runs from now on fail. */
  release() {
    this.#released ??= inTurn(this.#runtime, () => {
      this.#isOpen = false;
      return this.#session.release();
    });
    return this.#released;
  }

  /**
   * @param {import("./encoding.js").Inputs} inputs
   * @param {States} states
   * @param {boolean} wanted
   * @param {number} batch
   * @param {number} sequence
   * @returns {Promise<Answer>}
   */
  async #runNow(inputs, states, wanted, batch, sequence) {
    const { Tensor } = this.#runtime;
    const { metadata, scores: scoresName, states: specs } = this.parts;
    /** @type {Record<string, any>} */
    const feeds = {};
    for (const { name, kind } of metadata.inputs) {
      if (kind !== "state") feeds[name] = new Tensor("int32", inputs[kind].data, inputs[kind].dims);
    }
    for (const { name, size } of specs) feeds[name] = new Tensor("float32", states[name], [batch, size]);
    const fetches = ["tag_ids", ...(wanted ? [scoresName] : []), ...specs.map(({ next }) => next)];
    const found = await this.#session.run(feeds, fetches);
    /**
     * @param {string} name
     * @param {number} size
     */
    const dataOf = async (name, size) => {
      // In WebAssembly this is the data itself; from a GPU it comes back now, and is freed there.
      const data = await found[name].getData(true);
      if (data.length !== size) throw new RangeError(`${name} has ${data.length} numbers, expected ${size}`);
      return data;
    };
    /** @type {States} */
    const after = {};
    for (const { name, next, size } of specs) after[name] = await dataOf(next, batch * size);
    return {
      batch,
      sequence,
      tagIds: await dataOf("tag_ids", batch * sequence),
      scores: wanted ? await dataOf(scoresName, batch * sequence * this.#tagCount) : null,
      states: after,
    };
  }

  /**
   * @param {import("./encoding.js").Inputs} inputs
   * @returns {readonly number[]}
   */
  #shape(inputs) {
    const first = this.parts.metadata.inputs.find((spec) => spec.rows !== undefined);
    return inputs[/** @type {any} */ (first).kind].dims;
  }

  /** @param {import("./encoding.js").Inputs} inputs */
  #check(inputs) {
    const specs = this.parts.metadata.inputs.filter((spec) => spec.kind !== "state");
    const missing = specs.filter(({ kind }) => !(inputs[kind]?.data instanceof Int32Array && inputs[kind].dims));
    if (missing.length) {
      const names = missing.map(({ kind }) => kind).join(", ");
      throw new IdRangeError(
        `the inputs lack ${names}; expected { data: Int32Array, dims } of each; encode with the model's own encoder`,
      );
    }
    const [batch, sequence] = this.#shape(inputs);
    for (const { kind, axes, rows } of specs) {
      const { data, dims } = inputs[kind];
      const expected = [batch, sequence].slice(0, axes.length);
      const fits = dims.length === axes.length && expected.every((size, axis) => dims[axis] === size);
      if (!fits || data.length !== dims.reduce((product, size) => product * size, 1)) {
        const cure = kind === "lengths" ? "one length a row" : "pad all inputs alike";
        throw new IdRangeError(
          `${kind} has ${data.length} ids, shape ${shown(dims)}; expected ${shown(expected)}: ${cure}`,
        );
      }
      const columns = kind === "subword_ids" ? this.parts.features?.size : undefined;
      if (columns !== undefined && dims[2] !== columns) {
        throw new IdRangeError(
          `${kind} has ${dims[2]} features a token; the model takes ${columns}; encode with the model's own encoder`,
        );
      }
      if (rows !== undefined) checkIds(kind, data, rows);
    }
    checkLengths("lengths", inputs.lengths.data, sequence, "sequence");
    if (inputs.char_ids) {
      const characters = inputs.char_ids.dims[2];
      if (!characters) throw new IdRangeError("char_ids has no columns; expected at least one; pad");
      checkLengths("char_lengths", inputs.char_lengths.data, characters, "character");
    }
  }
}

/**
 * @param {string} kind
 * @param {Int32Array} ids
 * @param {number} rows
 */
function checkIds(kind, ids, rows) {
  const bad = ids.find((id) => id < 0 || id >= rows);
  if (bad !== undefined) {
    throw new IdRangeError(
      `${kind} holds the id ${bad}; the model has 0 to ${rows - 1}; encode with the model's own encoder`,
    );
  }
}

/**
 * @param {string} kind
 * @param {Int32Array} lengths
 * @param {number} most
 * @param {string} axis
 */
function checkLengths(kind, lengths, most, axis) {
  const bad = lengths.find((length) => length < 0 || length > most);
  if (bad !== undefined) {
    throw new IdRangeError(
      `${kind} holds ${bad}; expected 0 to ${most}, the ${axis} axis; count what stands before the padding`,
    );
  }
}

/**
 * @param {Uint8Array | ArrayBuffer} bytes
 * @returns {Uint8Array}
 */
function asBytes(bytes) {
  if (bytes instanceof Uint8Array) return bytes;
  // Not instanceof: a buffer may come from another frame or worker.
  if (Object.prototype.toString.call(bytes) === "[object ArrayBuffer]") return new Uint8Array(bytes);
  const got = `${typeof bytes}: ${shown(bytes)}`;
  throw new TypeError(
    `expected the model file's bytes (Uint8Array or ArrayBuffer), got ${got}; read or fetch the file first`,
  );
}

/** @param {Uint8Array} bytes */
function readChecked(bytes) {
  const file = readModelFile(bytes);
  const parts = readMetadata(file.properties);
  checkPrecision(file, parts.metadata);
  checkTables(file, parts.metadata);
  return parts;
}

/**
 * The graph is of the precision that the metadata names.
 *
 * @param {import("./modelfile.js").ModelFile} file
 * @param {import("./metadata.js").ModelMetadata} metadata
 */
function checkPrecision(file, { graphForm, precision }) {
  if (!GRAPH_FORMS.includes(graphForm)) return;
  const bytes = file.innerNodes.some((node) => node.opType === "MatMulInteger");
  const halves = [...file.initializers.values()].some(({ dtype }) => dtype === "float16");
  const rows = [...file.initializers.values()].some(({ dtype }) => dtype === "int8");
  const found = bytes ? "int8" : halves ? "fp16" : rows ? "rows8" : "fp32";
  if (found !== precision) {
    throw new MetadataError(
      `the model file's metadata says precision ${precision}, the graph is ${found}; export the model again`,
    );
  }
}

/**
 * The table that each id input selects from has as many rows as the metadata counts.
 *
 * @param {import("./modelfile.js").ModelFile} file
 * @param {import("./metadata.js").ModelMetadata} metadata
 */
function checkTables({ nodes, initializers }, { inputs }) {
  for (const { name, rows } of inputs) {
    if (rows === undefined) continue;
    const ids = new Set([name]);
    // Each node stands after what it reads.
    for (const node of nodes) {
      if (SELECTING.has(node.opType) && ids.has(node.inputs[0])) for (const output of node.outputs) ids.add(output);
    }
    const tables = nodes
      .filter((node) => node.opType === "Gather" && ids.has(node.inputs[1]) && initializers.has(node.inputs[0]))
      .map((node) => node.inputs[0]);
    if (!tables.length) {
      throw new MetadataError(`no table in the model file's graph is looked up by ${name}; export the model again`);
    }
    for (const table of tables) {
      const shape = initializers.get(table)?.shape ?? [];
      if (shape[0] !== rows) {
        throw new MetadataError(
          `the model file's metadata counts ${rows} rows for ${name}, the graph's table ${table} has the shape ` +
            `${shown(shape)}; export the model again`,
        );
      }
    }
  }
}

/**
 * Names, types and ranks of inputs and outputs are those of the metadata; as many outputs as tags.
 *
 * @param {import("./runtime.js").RuntimeSession} session
 * @param {import("./metadata.js").ModelMetadata} metadata
 */
function checkSignature(session, metadata) {
  for (const [what, specs, names, found] of /** @type {const} */ ([
    ["input", metadata.inputs, session.inputNames, session.inputMetadata],
    ["output", metadata.outputs, session.outputNames, session.outputMetadata],
  ])) {
    const expected = specs.map((spec) => spec.name);
    if (JSON.stringify([...names]) !== JSON.stringify(expected)) {
      throw new MetadataError(
        `the graph's ${what}s are ${names.join(", ")}; the metadata says ${expected.join(", ")}; export the model ` +
          "again",
      );
    }
    found?.forEach((value, i) => checkValue(what, specs[i], value, metadata.tags.length));
  }
}

/**
 * @param {string} what
 * @param {import("./metadata.js").InputSpec | import("./metadata.js").OutputSpec} spec
 * @param {any} value what the runtime says of it
 * @param {number} tags
 */
function checkValue(what, spec, value, tags) {
  const shape = /** @type {(number | string)[]} */ (value.shape ?? []);
  if (value.type !== spec.dtype || shape.length !== spec.axes.length) {
    throw new MetadataError(
      `the graph's ${what} ${spec.name} is ${value.type} ${shown(shape)}; the metadata says ${spec.dtype} ` +
        `${shown(spec.axes)}; export the model again`,
    );
  }
  shape.forEach((size, i) => {
    const axis = spec.axes[i];
    const fixed = typeof size === "number" && size >= 0;
    if (fixed && FREE_AXES.has(axis)) {
      throw new MetadataError(`${what} ${spec.name} has fixed axes ${shown(shape)}; export the model again`);
    }
    const expected = axis === "tag" ? tags : axis === "state" && "size" in spec ? spec.size : undefined;
    if (fixed && expected !== undefined && size !== expected) {
      throw new MetadataError(
        `the metadata says ${expected} numbers on the ${axis} axis of ${spec.name}, the graph has ${size}; export ` +
          "the model again",
      );
    }
  });
}

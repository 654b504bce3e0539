/**
 * Reads what an ONNX file says of itself, without a runtime and without its weights.
 *
 * A protocol-buffer walk over the fields needed (numbers from onnx.proto): metadata, opsets, nodes, and name, type
 * and shape of each initializer. Weights are skipped in place. Knows nothing of what the metadata means.
 */

import { NotOnnxError, reason } from "./errors.js";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const MODEL = { ir: 1, graph: 7, opset: 8, property: 14 };
const GRAPH = { node: 1, initializer: 5 };
const NODE = { input: 1, output: 2, type: 4, attribute: 5 };
const ATTRIBUTE = { graph: 6, graphs: 11 };
const TENSOR = { dims: 1, type: 2, name: 8 };
const MAX_DEPTH = 8;
/** @type {Readonly<Record<number, string>>} */
const TYPES = { 1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64" };

/**
 * One operator of the graph.
 *
 * @typedef {{ opType: string, inputs: string[], outputs: string[] }} GraphNode
 */

/**
 * What the file says of itself.
 *
 * @typedef {object} ModelFile
 * @property {number} irVersion
 * @property {Map<string, number>} opsets domain -> version
 * @property {Map<string, string>} properties the metadata, as it stands
 * @property {GraphNode[]} nodes operators of the graph itself
 * @property {GraphNode[]} innerNodes those of the bodies of its control flow, at any depth
 * @property {Map<string, { dtype: string, shape: number[] }>} initializers constants of the graph, without their values
 */

/**
 * What the ONNX file in `bytes` says of itself.
 *
 * @param {Uint8Array} bytes
 * @returns {ModelFile}
 * @throws {NotOnnxError} the bytes are not an ONNX model
 */
export function readModelFile(bytes) {
  if (!bytes.length) {
    throw new NotOnnxError("the model file is empty; expected an ONNX model made by `lstm-deploy export`");
  }
  /** @type {ModelFile} */
  const model = {
    irVersion: 0,
    opsets: new Map(),
    properties: new Map(),
    nodes: [],
    innerNodes: [],
    initializers: new Map(),
  };
  let hasGraph = false;
  try {
    for (const fields = new Fields(bytes, 0, bytes.length); fields.next();) {
      if (fields.number === MODEL.ir && fields.wire === VARINT) model.irVersion = fields.value;
      else if (fields.wire === VARINT) continue;
      else if (fields.number === MODEL.opset) readOpset(model, fields.message());
      else if (fields.number === MODEL.property) readProperty(model, fields.message());
      else if (fields.number === MODEL.graph) {
        hasGraph = true;
        readGraph(model, fields.message());
      }
    }
  } catch (error) {
    const cure = "expected a file made by `lstm-deploy export`, whole and unchanged";
    throw new NotOnnxError(`the model file is not an ONNX model (${reason(error)}); ${cure}`, { cause: error });
  }
  if (!hasGraph || !model.irVersion) {
    throw new NotOnnxError(
      "the model file is not an ONNX model (it has no graph); expected a file made by `lstm-deploy export`",
    );
  }
  return model;
}

/**
 * @param {ModelFile} model
 * @param {Fields} fields
 */
function readOpset(model, fields) {
  let domain = "";
  let version = 0;
  while (fields.next()) {
    if (fields.number === 1) domain = fields.text();
    else if (fields.number === 2 && fields.wire === VARINT) version = fields.value;
  }
  model.opsets.set(domain, version);
}

/**
 * @param {ModelFile} model
 * @param {Fields} fields
 */
function readProperty(model, fields) {
  let key = "";
  let value = "";
  while (fields.next()) {
    if (fields.number === 1) key = fields.text();
    else if (fields.number === 2) value = fields.text();
  }
  model.properties.set(key, value);
}

/**
 * @param {ModelFile} model
 * @param {Fields} fields
 */
function readGraph(model, fields) {
  while (fields.next()) {
    if (fields.number === GRAPH.node) model.nodes.push(readNode(model, fields.message(), 0));
    else if (fields.number === GRAPH.initializer) readTensor(model, fields.message());
  }
}

/**
 * One node; those of the graphs that are its attributes go to `innerNodes`.
 *
 * @param {ModelFile} model
 * @param {Fields} fields
 * @param {number} depth
 * @returns {GraphNode}
 */
function readNode(model, fields, depth) {
  if (depth > MAX_DEPTH) throw new RangeError(`control flow nested more than ${MAX_DEPTH} deep`);
  /** @type {GraphNode} */
  const node = { opType: "", inputs: [], outputs: [] };
  while (fields.next()) {
    if (fields.number === NODE.type) node.opType = fields.text();
    else if (fields.number === NODE.input) node.inputs.push(fields.text());
    else if (fields.number === NODE.output) node.outputs.push(fields.text());
    else if (fields.number === NODE.attribute) readAttribute(model, fields.message(), depth + 1);
  }
  return node;
}

/**
 * @param {ModelFile} model
 * @param {Fields} fields
 * @param {number} depth
 */
function readAttribute(model, fields, depth) {
  while (fields.next()) {
    if (fields.number !== ATTRIBUTE.graph && fields.number !== ATTRIBUTE.graphs) continue;
    for (const graph = fields.message(); graph.next();) {
      if (graph.number === GRAPH.node) model.innerNodes.push(readNode(model, graph.message(), depth));
    }
  }
}

/**
 * @param {ModelFile} model
 * @param {Fields} fields
 */
function readTensor(model, fields) {
  let name = "";
  let dtype = 0;
  /** @type {number[]} */
  const shape = [];
  while (fields.next()) {
    if (fields.number === TENSOR.dims) shape.push(...fields.numbers());
    else if (fields.number === TENSOR.type && fields.wire === VARINT) dtype = fields.value;
    else if (fields.number === TENSOR.name) name = fields.text();
  }
  model.initializers.set(name, { dtype: TYPES[dtype] ?? `type ${dtype}`, shape });
}

/** Walks the fields of one message: after `next()` is true, `number`, `wire` and `value` or the content are its. */
class Fields {
  number = 0;
  wire = 0;
  value = 0;
  #start = 0;
  #bytes;
  #at;
  #end;

  /**
   * @param {Uint8Array} bytes
   * @param {number} at
   * @param {number} end
   */
  constructor(bytes, at, end) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  next() {
    if (this.#at >= this.#end) return false;
    const key = this.#varint();
    this.number = Math.floor(key / 8);
    this.wire = key % 8;
    if (this.wire === VARINT) {
      this.value = this.#varint();
      return true;
    }
    let size = 0;
    if (this.wire === BYTES) size = this.#varint();
    else if (this.wire === FIXED32) size = 4;
    else if (this.wire === FIXED64) size = 8;
    else throw new RangeError(`wire type ${this.wire} at byte ${this.#at}`);
    this.#start = this.#at;
    this.#at += size;
    if (this.#at > this.#end) throw new RangeError(`a field ends ${this.#at - this.#end} bytes past its message`);
    return true;
  }

  /** The fields of the message that this field is. */
  message() {
    if (this.wire === VARINT) throw new TypeError("a number where a message should be");
    return new Fields(this.#bytes, this.#start, this.#at);
  }

  text() {
    if (this.wire === VARINT) throw new TypeError("a number where a text should be");
    return UTF8.decode(this.#bytes.subarray(this.#start, this.#at));
  }

  /** A repeated number, packed or not. */
  numbers() {
    if (this.wire === VARINT) return [this.value];
    const values = [];
    for (const packed = this.message(); packed.#at < packed.#end;) values.push(packed.#varint());
    return values;
  }

  #varint() {
    let value = 0;
    for (let shift = 1, count = 0; count < 10; count++, shift *= 128) {
      if (this.#at >= this.#end) throw new RangeError("a number is cut off");
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError(`a number of more than 10 bytes at byte ${this.#at}`);
  }
}

// A byte order mark is a character of the text like any other.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

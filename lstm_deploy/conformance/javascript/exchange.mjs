// The files of ../exchange.py in Node: batches in, answers out.

import { appendFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const TYPES = { int32: Int32Array, float32: Float32Array, int64: BigInt64Array };

export function readBatches(folder) {
  const { model, outputs, batches } = JSON.parse(readFileSync(join(folder, "batches.json"), "utf8"));
  const data = readFileSync(join(folder, "batches.bin"));
  const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  return { model, outputs, batches, bytes };
}

/** Inputs of one batch: name -> { type, dims, data }. */
export function inputsOf(batch, bytes) {
  return Object.fromEntries(Object.entries(batch).map(([name, { dtype, shape, at }]) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return [name, { type: dtype, dims: shape, data: new TYPES[dtype](bytes, at, count) }];
  }));
}

/** Appends answers, each complete before the next batch is tried. */
export class AnswerWriter {
  constructor(folder) {
    this.data = join(folder, "answers.bin");
    this.lines = join(folder, "answers.jsonl");
  }

  /** outputs: name -> { type, dims, bytes } */
  add(batch, outputs) {
    const specs = {};
    for (const [name, { type, dims, bytes }] of Object.entries(outputs)) {
      const size = existsSync(this.data) ? statSync(this.data).size : 0;
      const at = Math.ceil(size / 8) * 8;
      appendFileSync(this.data, Buffer.concat([Buffer.alloc(at - size), Buffer.from(bytes)]));
      specs[name] = { dtype: type, shape: dims, at };
    }
    this.line({ batch, outputs: specs });
  }

  fail(error, batch) {
    this.line(batch === undefined ? { error } : { batch, error });
  }

  line(text) {
    appendFileSync(this.lines, "\n" + JSON.stringify(text) + "\n"); // what a process left half-written stays apart
  }
}

export function said(error) {
  return String(error?.message ?? error).split("\n")[0];
}

/** A package of the folder `npm`, wherever this script itself lies. */
export async function load(npm, name) {
  const resolve = createRequire(join(npm, "..", "resolve.js")).resolve;
  return import(pathToFileURL(resolve(name)).href);
}

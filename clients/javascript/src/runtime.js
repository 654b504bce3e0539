/** The ONNX runtime, handed in and never imported: onnxruntime-web, onnxruntime-node or one with their calls. */

import { shown } from "./errors.js";

/**
 * A tensor as the runtime gives it back.
 *
 * @typedef {object} RuntimeTensor
 * @property {readonly number[]} dims
 * @property {(release?: boolean) => Promise<unknown>} getData
 */

/**
 * An open model.
 *
 * @typedef {object} RuntimeSession
 * @property {readonly string[]} inputNames
 * @property {readonly string[]} outputNames
 * @property {readonly any[]} [inputMetadata] absent in older releases
 * @property {readonly any[]} [outputMetadata]
 * @property {(feeds: any, fetches: any) => Promise<any>} run
 * @property {() => Promise<void>} release
 */

/**
 * What of the modules `onnxruntime-web` and `onnxruntime-node` is used.
 *
 * @typedef {object} Runtime
 * @property {{ create(model: Uint8Array, options?: any): Promise<RuntimeSession> }} InferenceSession
 * @property {new (type: any, data: any, dims: readonly number[]) => any} Tensor
 */

/**
 * Runtime -> the end of the work that waits for it. onnxruntime-web fails when two runs overlap, with some execution
 * providers even two of different sessions, so that there is one queue for all models of a runtime.
 *
 * @type {WeakMap<object, Promise<unknown>>}
 */
const queues = new WeakMap();

/**
 * The result of `job`, which begins when all work handed in for `runtime` before is over, whether well or not.
 *
 * @template T
 * @param {Runtime} runtime
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 */
export function inTurn(runtime, job) {
  const before = queues.get(runtime.InferenceSession) ?? Promise.resolve();
  const done = before.then(job);
  queues.set(
    runtime.InferenceSession,
    done.catch(() => undefined),
  );
  return done;
}

/**
 * @param {Runtime} runtime
 * @throws {TypeError} it is none
 */
export function checkRuntime(runtime) {
  if (typeof runtime?.InferenceSession?.create !== "function" || typeof runtime.Tensor !== "function") {
    const cure = 'pass what `import * as ort from "onnxruntime-web"` (or "onnxruntime-node") gives';
    throw new TypeError(`expected an ONNX runtime with InferenceSession and Tensor, got ${shown(runtime)}; ${cure}`);
  }
}

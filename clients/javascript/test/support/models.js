/** Model files of the repository, and ways to spoil them. */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";

import { StreamingTagger, Tagger } from "../../src/index.js";

const ROOT = new URL("../../../../", import.meta.url);
const DATA = ["characters", "characters-crf", "segmenter", "streaming", "subword", "subword-int8"];
/** Name -> path. Those of the tests, each of another form, and the tutorial's. */
export const MODELS = Object.fromEntries([
  ["tutorial", fileURLToPath(new URL("exported/tutorial.onnx", ROOT))],
  ...DATA.map((name) => [name, fileURLToPath(new URL(`tests/runtime/data/${name}.onnx`, ROOT))]),
]);
/** Name -> path of larger models, which are there where somebody has made them. */
export const TREEBANK_MODELS = Object.fromEntries(
  ["ewt", "ewt-int8"]
    .map((name) => [name, fileURLToPath(new URL(`exported/${name}.onnx`, ROOT))])
    .filter(([, path]) => existsSync(path)),
);

/** Bytes of the model `name`. */
export function bytesOf(name) {
  return new Uint8Array(readFileSync(MODELS[name]));
}

/** The tagger for the model `name`, released after the test `context`. */
export async function load(context, name, options) {
  const tagger = await Tagger.load(bytesOf(name), ort, options);
  context.after(() => tagger.release());
  return tagger;
}

/** The streaming tagger for the one streaming model, released after the test `context`. */
export async function loadStreaming(context, options) {
  const tagger = await StreamingTagger.load(bytesOf("streaming"), ort, options);
  context.after(() => tagger.release());
  return tagger;
}

/** The JSON value of a metadata key. */
export function stored(bytes, key) {
  for (const { number, content } of topLevelFields(bytes)) {
    if (number !== 14) continue;
    const [name, value] = pair(content);
    if (name === `lstm_deploy.${key}`) return JSON.parse(value);
  }
  return undefined;
}

/** A copy of a model file with metadata values replaced: text as it is, undefined removes, the rest as JSON. */
export function rewritten(bytes, changes) {
  const parts = [];
  for (const { number, raw, content } of topLevelFields(bytes)) {
    const key = number === 14 ? pair(content)[0].replace("lstm_deploy.", "") : "";
    if (!(key in changes)) parts.push(raw);
  }
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    parts.push(field(14, concat([field(1, encode(`lstm_deploy.${key}`)), field(2, encode(text))])));
  }
  return concat(parts);
}

/** A copy of a model file without any metadata. */
export function bare(bytes) {
  return concat([...topLevelFields(bytes)].filter(({ number }) => number !== 14).map(({ raw }) => raw));
}

function* topLevelFields(bytes) {
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const varint = () => {
      let value = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = bytes[at++];
        value += (byte & 0x7f) * factor;
        if (byte < 0x80) return value;
      }
    };
    const key = varint();
    const value = varint();
    const begin = at;
    if (key % 8 === 2) at += value;
    yield { number: Math.floor(key / 8), raw: bytes.subarray(start, at), content: bytes.subarray(begin, at) };
  }
}

function pair(content) {
  return [...topLevelFields(content)].map((part) => new TextDecoder().decode(part.content));
}

function field(number, content) {
  return concat([varint(number * 8 + 2), varint(content.length), content]);
}

function varint(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Uint8Array.from([...bytes, value]);
}

function concat(parts) {
  return new Uint8Array(Buffer.concat(parts));
}

function encode(text) {
  return new TextEncoder().encode(text);
}

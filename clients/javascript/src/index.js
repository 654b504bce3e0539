/**
 * LSTM sequence taggers in Node and in browsers: one ONNX file made by lstm-deploy, run with the ONNX runtime that is
 * handed in.
 *
 *     import * as ort from "onnxruntime-web"; // or "onnxruntime-node"
 *     import { Tagger } from "lstm-deploy";
 *     const tagger = await Tagger.load(bytes, ort);
 *     const { tokens, tags, scores } = await tagger.tagText("They ate the fish");
 */

export { entities, isIob2 } from "./entities.js";
export {
  FormatVersionError,
  IdRangeError,
  InputError,
  LstmDeployError,
  MetadataError,
  MissingMetadataError,
  ModelFileError,
  NotOnnxError,
  RuntimeFailure,
  UnknownCharacterError,
  UnknownWordError,
} from "./errors.js";
export { FORMAT_VERSION } from "./metadata.js";
export { Segmenter } from "./segmenter.js";
export { readModel } from "./session.js";
export { Stream, StreamingTagger } from "./streaming.js";
export { Tagger } from "./tagger.js";

/** @typedef {import("./metadata.js").ModelMetadata} ModelMetadata */
/** @typedef {import("./metadata.js").GoldenCase} GoldenCase */
/** @typedef {import("./decoding.js").TaggedSentence} TaggedSentence */
/** @typedef {import("./tagger.js").TaggedText} TaggedText */
/** @typedef {import("./tagger.js").TagProbability} TagProbability */
/** @typedef {import("./tagger.js").LoadOptions} LoadOptions */
/** @typedef {import("./segmenter.js").TextSentence} TextSentence */
/** @typedef {import("./tokenizer.js").Span} Span */
/** @typedef {import("./entities.js").Entity} Entity */
/** @typedef {import("./golden.js").GoldenReport} GoldenReport */
/** @typedef {import("./session.js").States} States */
/** @typedef {import("./runtime.js").Runtime} Runtime */

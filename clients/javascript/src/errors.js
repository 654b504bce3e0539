/**
 * Every error that the client raises on purpose.
 *
 *     LstmDeployError
 *     ├── ModelFileError             a model file cannot be used
 *     │   ├── NotOnnxError           it is not an ONNX file
 *     │   ├── FormatVersionError     it is newer than this client
 *     │   └── MetadataError          its metadata is broken or contradicts its graph
 *     │       └── MissingMetadataError   it has none: lstm-deploy did not write it
 *     ├── InputError                 a text or token cannot be tagged by this model
 *     │   ├── UnknownWordError       a word that the model does not have, nor one to take for it
 *     │   └── UnknownCharacterError  likewise a character
 *     ├── IdRangeError               ids or lengths outside what the model has
 *     └── RuntimeFailure             the ONNX runtime does not open the file, or fails on a batch
 *
 * A message is one line: the fact, what was found and what was expected, the cure. Arguments of a wrong type are
 * a `TypeError`, numbers out of their range a `RangeError`, as in the language itself.
 */

/** Base of all errors raised on purpose by this package. */
export class LstmDeployError extends Error {}

/** A model file cannot be used. */
export class ModelFileError extends LstmDeployError {}

/** The bytes are not an ONNX model. */
export class NotOnnxError extends ModelFileError {}

/** The file's format version is newer than this package reads. */
export class FormatVersionError extends ModelFileError {}

/** The metadata is malformed, or says something else than the graph. */
export class MetadataError extends ModelFileError {}

/** The ONNX model carries no lstm-deploy metadata. */
export class MissingMetadataError extends MetadataError {}

/** A text or token cannot be tagged by this model. */
export class InputError extends LstmDeployError {}

/** A word is not in the vocabulary of a model that has no unknown word. */
export class UnknownWordError extends InputError {}

/** A character is not among those of a model that has no unknown character. */
export class UnknownCharacterError extends InputError {}

/** Ids or lengths lie outside what the model was built for. */
export class IdRangeError extends LstmDeployError {}

/** The ONNX runtime does not open the file, or fails on a batch. */
export class RuntimeFailure extends LstmDeployError {}

// Written out, because bundlers shorten the names of classes.
for (const [name, kind] of Object.entries({
  LstmDeployError,
  ModelFileError,
  NotOnnxError,
  FormatVersionError,
  MetadataError,
  MissingMetadataError,
  InputError,
  UnknownWordError,
  UnknownCharacterError,
  IdRangeError,
  RuntimeFailure,
})) {
  Object.defineProperty(kind.prototype, "name", { value: name });
}

/**
 * A text without what would steer a terminal or cannot be seen: that is escaped as in JSON.
 *
 * @param {string} text
 * @returns {string}
 */
export function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) =>
    [...Array(char.length).keys()].map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );
}

/**
 * A value as it stands in a message: JSON, at most 60 characters, on one line.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function shown(value) {
  const text = typeof value === "bigint" || typeof value === "symbol" ? String(value) : JSON.stringify(value);
  return printable((text ?? String(value)).slice(0, 60));
}

/**
 * What went wrong underneath, on one line, at most 300 characters.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function reason(error) {
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.split(/\s+/).join(" ").trim().slice(0, 300));
}

/** Reads metadata blocks, a JSON object a line, and answers each with what the JavaScript client makes of it. */

import { createInterface } from "node:readline";

import { LstmDeployError } from "../../clients/javascript/src/errors.js";
import { readMetadata } from "../../clients/javascript/src/metadata.js";

const PRINTABLE = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/u;

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { properties, text, tokens } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(answer(new Map(properties), text, tokens))}\n`);
}

/**
 * @param {Map<string, string>} properties
 * @param {string} text to be cut
 * @param {string[]} tokens to be looked up
 */
function answer(properties, text, tokens) {
  try {
    const parts = readMetadata(properties);
    const { metadata, tokenizer } = parts;
    const { tags, words, column, precision, tokenizer: spec, inputs, outputs, decoder, golden, notes, runtimes } = metadata;
    return {
      values: { tags, words, column, precision, tokenizer: spec, inputs, outputs, decoder, golden, notes, runtimes },
      cuts: tokenizer.spans(text).map(({ token }) => token),
      ids: tokens.map((token) => looked(parts, token)),
    };
  } catch (error) {
    const ours = error instanceof LstmDeployError;
    return { refused: ours, name: error.name, message: error.message, printable: PRINTABLE.test(error.message) };
  }
}

/**
 * @param {import("../../clients/javascript/src/metadata.js").ModelParts} parts
 * @param {string} token
 */
function looked({ vocabulary, features, characters }, token) {
  try {
    return [vocabulary?.id(token) ?? null, features ? [...features.ids(token)] : null, characters ? [...characters.ids(token)] : null];
  } catch (error) {
    if (error instanceof LstmDeployError) return "refused";
    throw error;
  }
}

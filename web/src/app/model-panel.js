/** What the model file says of itself, for people. */

import { byId, element } from "./dom.js";
import { count, counted, percent, size } from "./numbers.js";

/**
 * @param {string} file
 * @param {number} bytes
 * @param {import("../client/index.js").ModelMetadata} metadata
 */
export function showFacts(file, bytes, metadata) {
  const rows = facts(file, bytes, metadata).filter(([, value]) => value);
  byId("model-facts").replaceChildren(
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/**
 * @param {string} file
 * @param {number} bytes
 * @param {import("../client/index.js").ModelMetadata} metadata
 * @returns {[string, string][]}
 */
export function facts(file, bytes, metadata) {
  const { training, inputs, card } = metadata;
  const kinds = new Set(inputs.map(({ kind }) => kind));
  const characters = inputs.find(({ kind }) => kind === "char_ids")?.characters;
  return [
    ["File", file],
    ["About", text(card.description)],
    ["Size", size(bytes)],
    ["Precision", metadata.precision],
    ["Graph form", `${metadata.graphForm}${kinds.has("state") ? ", streaming" : ""}`],
    ["Decoder", metadata.decoder.kind === "crf" ? "best path of a CRF" : "best tag of each word"],
    ["Tags", `${count(metadata.tags.length)}${metadata.column === "tag" ? "" : ` (${metadata.column.toUpperCase()})`}`],
    ["Words", metadata.words.length ? count(metadata.words.filter((word) => word !== null).length) : "none: reads characters"],
    ["Characters", characters ? count(characters.filter((one) => one !== null).length) : ""],
    ["Meant for", forOthers(metadata.runtimes)],
    ["Licence", text(card.licence) || text(training.licence) || "not stated"],
    ["Made of", madeOf(card.data)],
    ["Trained on", trainedOn(training.data)],
    ["Scores", scores(training.scores)],
    ["Notes", metadata.notes.join("; ")],
  ];
}

/** Provenance is for people, and nothing in it is checked: anything may stand there. @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : "");

/**
 * The runtimes that the file is for, where this one is not among them.
 *
 * @param {readonly string[]} runtimes
 */
function forOthers(runtimes) {
  return !runtimes.length || runtimes.includes("onnxruntime-web") ? "" : `${runtimes.join(", ")}; run the self-test`;
}

/** What the card owes to whom. @param {any} data */
function madeOf(data) {
  if (!Array.isArray(data)) return "";
  return data
    .map((/** @type {any} */ one) => {
      const parts = [one?.name, one?.licence, one?.attribution].map(text);
      return parts.filter(Boolean).join(", ");
    })
    .filter(Boolean)
    .join("; ");
}

/** @param {any} data */
function trainedOn(data) {
  if (!Array.isArray(data?.train)) return "";
  return data.train
    .map((/** @type {any} */ set) => {
      const tokens = Number.isFinite(set?.tokens) ? `, ${counted(set.tokens, "token")}` : "";
      return `${text(set?.name)}${tokens}`;
    })
    .join("; ");
}

/** @param {any} found */
function scores(found) {
  if (typeof found !== "object" || found === null) return "";
  return Object.entries(found)
    .flatMap(([split, values]) =>
      Object.entries(values ?? {})
        .filter(([name, value]) => name !== "score" && typeof value === "number")
        .map(([name, value]) => `${split}: ${name} ${percent(Number(value))}`),
    )
    .join("; ");
}

import assert from "node:assert/strict";
import { test } from "node:test";

import * as ort from "onnxruntime-node";

import {
  FORMAT_VERSION,
  FormatVersionError,
  MetadataError,
  MissingMetadataError,
  ModelFileError,
  NotOnnxError,
  readModel,
  StreamingTagger,
  Tagger,
} from "../src/index.js";
import { bare, bytesOf, MODELS, rewritten, stored } from "./support/models.js";

function refused(bytes, kind, message) {
  assert.throws(
    () => readModel(bytes),
    (error) => {
      assert.ok(error instanceof kind && error instanceof ModelFileError, `${error.stack}`);
      assert.equal(error.name, kind.name);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    },
  );
}

test("the metadata of every file, typed and frozen", () => {
  for (const name of Object.keys(MODELS)) {
    const metadata = readModel(bytesOf(name));
    assert.ok(metadata.formatVersion >= 1 && metadata.formatVersion <= FORMAT_VERSION);
    assert.ok(metadata.tags.length && metadata.golden.length);
    for (const [key, value] of Object.entries(metadata)) {
      assert.ok(typeof value !== "object" || Object.isFrozen(value), key);
    }
    assert.throws(() => metadata.inputs[0].axes.push("more"), TypeError);
    assert.deepEqual(metadata.words, stored(bytesOf(name), "words"));
  }
});

test("not an ONNX file", () => {
  refused(new Uint8Array(), NotOnnxError, /^the model file is empty; expected /);
  refused(
    new TextEncoder().encode("<!doctype html><html>not found</html>"),
    NotOnnxError,
    /^the model file is not an ONNX/,
  );
  refused(Uint8Array.of(8, 8), NotOnnxError, /it has no graph/);
  refused(Uint8Array.of(0x80), NotOnnxError, /a number is cut off/);
  refused(new Uint8Array(12).fill(0xff), NotOnnxError, /a number of more than 10 bytes/);
  assert.throws(() => readModel("model.onnx"), {
    name: "TypeError",
    message: /got string: "model.onnx"; read or fetch/,
  });
  assert.throws(() => readModel(undefined), TypeError);
});

test("cut off anywhere, it is refused", () => {
  const bytes = bytesOf("subword");
  for (let end = 1; end < bytes.length; end += 37) {
    assert.throws(() => readModel(bytes.subarray(0, end)), ModelFileError, `${end}`);
  }
});

test("any single byte changed gives metadata or an error of ours", () => {
  const bytes = bytesOf("tutorial");
  for (let at = 0; at < bytes.length; at += 3) {
    const spoilt = bytes.slice();
    spoilt[at] ^= 0xff;
    try {
      readModel(spoilt);
    } catch (error) {
      assert.ok(error instanceof ModelFileError, `byte ${at}: ${error.stack}`);
    }
  }
});

test("an ONNX file of somebody else", () => {
  refused(bare(bytesOf("subword")), MissingMetadataError, /without lstm-deploy metadata; make the file with/);
  assert.ok(new MissingMetadataError("") instanceof MetadataError);
});

test("versions", () => {
  const bytes = bytesOf("subword");
  refused(
    rewritten(bytes, { format_version: String(FORMAT_VERSION + 1) }),
    FormatVersionError,
    /^the model file is of format version 6, newer than 5, .*; install a newer lstm-deploy$/,
  );
  for (const version of ["0", "-1", "1.5", "three", "", " 3", "9999999999"]) {
    refused(
      rewritten(bytes, { format_version: version }),
      MetadataError,
      /format_version is ".*; expected a whole number/,
    );
  }
  const old = readModel(
    rewritten(bytes, {
      format_version: "1",
      graph_form: "sequence_lens",
      precision: undefined,
      rounding: undefined,
      decoder: undefined,
      notes: undefined,
      runtimes: undefined,
    }),
  );
  assert.equal(old.formatVersion, 1);
  assert.equal(old.precision, "fp32");
  assert.deepEqual([old.decoder, old.notes, old.rounding], [{ kind: "argmax" }, [], {}]);
  assert.ok(old.runtimes.includes("onnxruntime-web"));
  assert.ok(readModel(rewritten(bytes, { later: [1] })).tags.length);
});

test("a card is what the file has, or empty", () => {
  const bytes = bytesOf("subword");
  assert.deepEqual(readModel(bytes).card, {});
  assert.equal(readModel(rewritten(bytes, { card: { name: "pet", later: 1 } })).card.name, "pet");
  refused(rewritten(bytes, { card: [] }), MetadataError, /metadata lstm_deploy.card is .*; expected a JSON object/);
});

const INPUTS = stored(bytesOf("subword"), "inputs");
const CRF = stored(bytesOf("characters-crf"), "decoder");
const GOLDEN = stored(bytesOf("subword"), "golden");
const STATES = stored(bytesOf("streaming"), "inputs");
const replaced = (specs, kind, change) => specs.map((spec) => (spec.kind === kind ? { ...spec, ...change } : spec));
const BROKEN = [
  ["subword", { tags: undefined }, /metadata lstm_deploy.tags is missing; export the model again$/],
  ["subword", { tags: "[1" }, /tags is not JSON: /],
  ["subword", { tags: { a: 1 } }, /tags is \{"a":1\}; expected a JSON list/],
  ["subword", { tags: ["A", "A"] }, /tags is empty or holds a tag twice/],
  ["subword", { tags: [] }, /tags is empty/],
  ["subword", { tags: ["A", "\x1b[2J"] }, /tags holds "\\u001b\[2J"; expected at most 1024 printable characters/],
  ["subword", { tags: ["A", "a\u00a0b"] }, /expected at most 1024 printable characters/],
  ["subword", { tags: ["A", "\ud800"] }, /expected at most 1024 printable characters/],
  ["subword", { tags: ["A", "x".repeat(1025)] }, /expected at most 1024 printable characters/],
  ["subword", { tags: Array.from({ length: 65_537 }, (_, i) => `T${i}`) }, /holds 65537 tags; expected at most 65536/],
  ["subword", { tags: ["A", 1] }, /tags holds something other than a JSON string/],
  ["subword", { words: [1] }, /words holds something other than words and nulls/],
  ["subword", { words: ["a"] }, /inputs and words do not agree: rows is \d+, there are 1 words/],
  ["subword", { precision: "fp64" }, /precision is "fp64"; expected one of fp32, fp16, rows8, int8/],
  ["subword", { precision: "fp16" }, /says precision fp16, the graph is fp32/],
  ["subword", { precision: "int8", graph_form: "scan_int8" }, /says precision int8, the graph is fp32/],
  ["subword", { graph_form: "scan_int8" }, /graph_form is scan_int8; scan_int8 and precision int8 go together/],
  ["subword-int8", { precision: "fp32", graph_form: "gate" }, /says precision fp32, the graph is int8/],
  ["subword", { column: "lemma" }, /column is "lemma"; expected one of upos, xpos, tag/],
  ["subword", { tokenizer: { kind: "bytes" } }, /tokenizer is not usable: .*kind "bytes" is not known/],
  ["subword", { tokenizer: { kind: "words", keep: [1], suffixes: [], split: "" } }, /other than strings/],
  ["subword", { tokenizer: { kind: "words", suffixes: [], split: "" } }, /tokenizer is not usable: /],
  ["subword", { tokenizer: [] }, /tokenizer is \[\]; expected a JSON object/],
  ["subword", { inputs: [...INPUTS, { name: "x", kind: "x" }] }, /has an input of unknown kind "x"; known: word_ids, /],
  ["subword", { inputs: [...INPUTS, INPUTS[0]] }, /has two inputs of kind word_ids/],
  ["subword", { inputs: INPUTS.slice(1) }, /lacks the inputs word_ids/],
  ["subword", { inputs: INPUTS.filter(({ kind }) => kind !== "lengths") }, /lacks the inputs lengths/],
  ["characters", { inputs: stored(bytesOf("characters"), "inputs").slice(1) }, /lacks the inputs char_ids/],
  [
    "subword",
    { inputs: replaced(INPUTS, "word_ids", { unknown_id: 9999 }) },
    /unknown_id is 9999, outside the \d+ rows/,
  ],
  ["subword", { inputs: replaced(INPUTS, "word_ids", { padding_id: null }) }, /padding_id is null, outside/],
  ["subword", { inputs: replaced(INPUTS, "word_ids", { case: "upper" }) }, /case policy "upper" is not known/],
  [
    "subword",
    { inputs: replaced(INPUTS, "word_ids", { axes: ["sequence", "batch"] }) },
    /inputs says .* for word_ids; exp/,
  ],
  ["subword", { inputs: replaced(INPUTS, "word_ids", { dtype: "int64" }) }, /inputs says "int64" .*; expected "int32"/],
  ["subword", { inputs: replaced(INPUTS, "word_ids", { name: "lengths" }) }, /has two inputs of one name/],
  ["subword", { inputs: replaced(INPUTS, "subword_ids", { hash: "md5" }) }, /hash "md5" is not known/],
  [
    "subword",
    { inputs: replaced(INPUTS, "subword_ids", { templates: ["prefix9"] }) },
    /feature templates prefix9; known/,
  ],
  ["subword", { inputs: replaced(INPUTS, "subword_ids", { templates: [] }) }, /feature templates missing; known/],
  ["subword", { inputs: replaced(INPUTS, "subword_ids", { rows: 0 }) }, /no usable subword spec/],
  [
    "subword",
    { inputs: replaced(INPUTS, "subword_ids", { rows: 7 }) },
    /counts 7 rows for subword_ids, the graph's table/,
  ],
  ["subword", { outputs: [] }, /outputs has 0 outputs of kind tag_ids; expected 1/],
  ["subword", { decoder: { kind: "beam" } }, /decoder is not usable: kind "beam" is not known/],
  ["characters-crf", { decoder: { ...CRF, start: [0] } }, /decoder is not usable: start has 1 numbers/],
  ["characters-crf", { decoder: { ...CRF, start: CRF.start.map(() => 2e30) } }, /it holds 2e\+30; expected numbers of/],
  ["characters-crf", { decoder: { ...CRF, start: CRF.start.map(() => "0") } }, /something other than numbers/],
  ["characters-crf", { decoder: { kind: "argmax" } }, /outputs has 0 outputs of kind log_probs/],
  [
    "characters-crf",
    { decoder: { kind: "crf", transitions: [[0]], start: [0], end: [0] } },
    /it has 1 tags, the file \d/,
  ],
  [
    "subword",
    { golden: [{ ...GOLDEN[0], tags: [] }] },
    /golden is not usable: tokens, tag_ids, tags and scores differ/,
  ],
  [
    "subword",
    { golden: [{ ...GOLDEN[0], tag_ids: GOLDEN[0].tag_ids.map(() => 99) }] },
    /tag_ids are not those of the tags/,
  ],
  ["subword", { golden: [{}] }, /golden is not usable: tokens, inputs, tag_ids, tags or scores is missing/],
  ["subword", { golden: [{ ...GOLDEN[0], text: 1 }] }, /text is neither null nor a string/],
  ["streaming", { inputs: replaced(STATES, "state", { size: 0 }) }, /has no usable state: .* has the size 0/],
  ["streaming", { inputs: replaced(STATES, "state", { next: "same" }) }, /has no usable state: two have one name/],
  ["streaming", { inputs: replaced(STATES, "state", { initial: [1] }) }, /starts from something other than/],
  ["streaming", { decoder: { ...CRF } }, /chooses among paths through a whole sentence/],
];
for (const [name, changes, message] of BROKEN) {
  test(`${name} with other ${Object.keys(changes).join(", ")}: ${message.source}`, () => {
    refused(rewritten(bytesOf(name), changes), MetadataError, message);
  });
}

test("what the graph gives is not what the metadata says", async () => {
  const tags = [...stored(bytesOf("subword"), "tags"), "MORE"];
  const more = rewritten(bytesOf("subword"), { tags, golden: [] });
  await assert.rejects(Tagger.load(more, ort), {
    name: "MetadataError",
    message: /^the metadata says \d+ numbers on the tag/,
  });
  const outputs = replaced(stored(bytesOf("subword"), "outputs"), "log_probs", { name: "scores" });
  await assert.rejects(Tagger.load(rewritten(bytesOf("subword"), { outputs }), ort), {
    name: "MetadataError",
    message: /^the graph's outputs are tag_ids, log_probs; the metadata says tag_ids, scores; export/,
  });
  const inputs = replaced(STATES, "state", { size: 3, initial: null });
  await assert.rejects(Tagger.load(rewritten(bytesOf("streaming"), { inputs }), ort), {
    name: "MetadataError",
    message: /^the metadata says 3 numbers on the state axis/,
  });
});

test("a file for whole sentences does not stream", async () => {
  await assert.rejects(StreamingTagger.load(bytesOf("subword"), ort), {
    name: "ModelFileError",
    message: /^the model file is for whole sentences; expected a streaming one; load it with Tagger/,
  });
});

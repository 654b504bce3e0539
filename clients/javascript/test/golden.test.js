import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as ort from "onnxruntime-node";

import { Tagger } from "../src/index.js";
import { bytesOf, load, MODELS, rewritten, stored, TREEBANK_MODELS } from "./support/models.js";

for (const [name, path] of Object.entries({ ...MODELS, ...TREEBANK_MODELS })) {
  test(`${name} answers as PyTorch did`, async (t) => {
    const tagger = await Tagger.load(readFileSync(path), ort);
    t.after(() => tagger.release());
    const report = await tagger.selfTest();
    assert.deepEqual(report.failures, []);
    assert.equal(report.cases, tagger.metadata.golden.length);
    assert.ok(report.cases > 0 && report.tokens > 0);
    assert.ok(report.maxDifference < (tagger.metadata.precision === "int8" ? 0.15 : 1e-5), `${report.maxDifference}`);
  });
}

async function failures(name, spoil) {
  const bytes = bytesOf(name);
  const golden = stored(bytes, "golden");
  spoil(golden);
  const tagger = await Tagger.load(rewritten(bytes, { golden }), ort);
  const report = await tagger.selfTest();
  await tagger.release();
  return report.failures;
}

test("another score is found, alone and in a batch", async () => {
  for (const name of ["subword", "characters-crf"]) {
    const found = await failures(name, (golden) => (golden[0].scores[0] *= 1.01));
    assert.match(found[0], /^case 1 alone: a log-probability is -?\d/);
    assert.ok(found.some((line) => line.startsWith("case 1 in a batch: ")));
  }
});

test("another tag is found", async () => {
  for (const name of ["subword", "characters-crf"]) {
    const tags = stored(bytesOf(name), "tags");
    const found = await failures(name, ([{ tag_ids: ids, tags: names }]) => {
      ids[0] = (ids[0] + 1) % tags.length;
      names[0] = tags[ids[0]];
    });
    assert.match(found[0], /^case 1 alone: /);
  }
});

test("other ids and other tokens are found", async () => {
  const ids = await failures("subword", ([{ inputs }]) => inputs.subword_ids[0][0]++);
  assert.equal(ids.length, 1);
  assert.match(ids[0], /^case 1: subword_ids are \[\[\d.*; expected \[\[\d/);
  const missing = await failures("subword", ([{ inputs }]) => delete inputs.word_ids);
  assert.match(missing[0], /^case 1: word_ids are \[.*; expected missing$/);
  const cut = await failures("subword", (golden) => (golden.find(({ text }) => text).text += " more"));
  assert.match(cut[0], /^case \d: the tokenizer gives .*"more"\]; expected \[/);
});

test("a model without cases reports none", async (t) => {
  const tagger = await Tagger.load(rewritten(bytesOf("subword"), { golden: [] }), ort);
  t.after(() => tagger.release());
  assert.deepEqual(await tagger.selfTest(), { cases: 0, tokens: 0, maxDifference: 0, failures: [] });
  assert.ok((await load(t, "subword")).metadata.golden.length);
});

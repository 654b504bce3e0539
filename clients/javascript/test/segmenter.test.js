import assert from "node:assert/strict";
import { test } from "node:test";

import * as ort from "onnxruntime-node";

import { MetadataError, ModelFileError, Segmenter, Tagger } from "../src/index.js";
import { Tokenizer } from "../src/tokenizer.js";
import { bytesOf, rewritten } from "./support/models.js";
import { generator } from "./support/random.js";

async function open(context) {
  const segmenter = await Segmenter.load(bytesOf("segmenter"), ort);
  context.after(() => segmenter.release());
  return segmenter;
}

test("characters are code points and runs of white space", () => {
  const tokenizer = new Tokenizer({ kind: "characters", keep: [], suffixes: [], split: "" });
  const spans = tokenizer.spans(" a\t \r\n🙂\u00a0");
  assert.deepEqual(
    spans.map(({ token, start, end }) => [token, start, end]),
    [[" ", 0, 1], ["a", 1, 2], ["\n", 2, 6], ["🙂", 6, 8], [" ", 8, 9]],
  );
});

test("any text is held whole, in order, and no sentence goes across a blank line", async (context) => {
  const segmenter = await open(context);
  const random = generator(5);
  const odd = [..."aZ9.'! \n\t\r\u2028é東🙂\u0000\u00a0\u0085", "\ud800", "\n\n", "Ann went to Oslo. "];
  for (let i = 0; i < 300; i++) {
    const text = Array.from({ length: random.below(30) }, () => random.pick(odd)).join("");
    let at = 0;
    for (const { tokens, offsets } of await segmenter.segment(text)) {
      assert.ok(tokens.length);
      offsets.forEach(([start, end], word) => {
        assert.ok(start >= at && end > start);
        assert.match(text.slice(at, start), /^[\s\u0085]*$/);
        assert.equal(tokens[word], text.slice(start, end).replace(/[\s\u0085]+/g, " "));
        at = end;
      });
      assert.doesNotMatch(text.slice(offsets[0][0], at), /\n[^\S\n]*\n/);
    }
    assert.match(text.slice(at), /^[\s\u0085]*$/);
  }
});

test("paragraphs are cut each for itself, and texts without any are no sentences", async (context) => {
  const segmenter = await open(context);
  const parts = ["Ann went to Oslo. Mr. Lee didn't go!", "東京 Ann", "a ".repeat(900)];
  const alone = await Promise.all(parts.map((part) => segmenter.segment(part)));
  const together = await segmenter.segment(` \n${parts.join("\n \n")}\n`);
  assert.deepEqual(
    together.map(({ tokens }) => tokens),
    alone.flat().map(({ tokens }) => tokens),
  );
  assert.deepEqual(await segmenter.segment(" \n\n "), []);
  for (const none of [5, undefined, ["a"], { slice: () => "" }]) {
    await assert.rejects(segmenter.segment(none), { name: "TypeError", message: /^a text must be a string, got / });
  }
});

test("what tags words is no segmenter, and a file has to say one thing", async () => {
  await assert.rejects(Segmenter.load(bytesOf("subword"), ort), ModelFileError);
  const spoilt = rewritten(bytesOf("segmenter"), { column: "upos" });
  await assert.rejects(Tagger.load(spoilt, ort), MetadataError);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { IdRangeError } from "../src/index.js";
import { load } from "./support/models.js";

/** The model's inputs for two sentences, to be spoilt. */
async function prepared(t, name) {
  const tagger = await load(t, name);
  const [first, second] = tagger.metadata.golden.map(({ tokens }) => tokens).filter((tokens) => tokens.length > 1);
  return { session: tagger.session, inputs: tagger.encoder.encode([first, second.slice(0, 1)]) };
}

const SPOILS = [
  ["subword", "word_ids", -1, /^word_ids holds the id -1; the model has 0 to \d+; encode /],
  ["subword", "word_ids", 2 ** 30, /^word_ids holds the id 1073741824; the model has 0 to \d+; encode /],
  ["subword", "subword_ids", -5, /^subword_ids holds the id -5; /],
  ["subword", "lengths", -1, /^lengths holds -1; expected 0 to \d+, the sequence axis; count /],
  ["subword", "lengths", 1000, /^lengths holds 1000; expected 0 to \d+, the sequence axis; count /],
  ["characters", "char_ids", 9999, /^char_ids holds the id 9999; /],
  ["characters", "char_lengths", 9999, /^char_lengths holds 9999; expected 0 to \d+, the character axis; count /],
  ["characters", "char_lengths", -1, /^char_lengths holds -1; /],
];
for (const [name, kind, value, message] of SPOILS) {
  test(`${name}: ${kind} ${value} is refused before the runtime sees it`, async (t) => {
    const { session, inputs } = await prepared(t, name);
    await session.run(inputs);
    inputs[kind].data[0] = value;
    await assert.rejects(session.run(inputs), (error) => error instanceof IdRangeError && message.test(error.message));
  });
}

test("arrays that do not go together are refused", async (t) => {
  const { session, inputs } = await prepared(t, "subword");
  const { lengths, word_ids: words, subword_ids: features } = inputs;
  const [batch, sequence, width] = features.dims;
  const spoilt = [
    [
      { lengths: { data: new Int32Array(3), dims: [3] } },
      /^lengths has 3 ids, shape \[3\]; expected \[2\]: one length/,
    ],
    [{ subword_ids: { ...features, dims: [batch, sequence * width] } }, /^subword_ids has .*: pad all inputs alike$/],
    [{ subword_ids: { ...features, dims: [sequence, batch, width] } }, /^subword_ids has /],
    [{ word_ids: { ...words, data: words.data.subarray(1) } }, /^word_ids has \d+ ids, shape /],
    [
      { subword_ids: { data: words.data, dims: [batch, sequence, 1] } },
      /^subword_ids has 1 features a token; the model/,
    ],
    [{ lengths: undefined }, /^the inputs lack lengths; /],
    [{ lengths: { ...lengths, data: [...lengths.data] } }, /^the inputs lack lengths; /],
  ];
  for (const [change, message] of spoilt) {
    await assert.rejects(session.run({ ...inputs, ...change }), { name: "IdRangeError", message });
  }
});

test("no columns of characters are refused", async (t) => {
  const { session, inputs } = await prepared(t, "characters");
  inputs.char_ids = { data: new Int32Array(0), dims: [...inputs.char_ids.dims.slice(0, 2), 0] };
  await assert.rejects(session.run(inputs), { name: "IdRangeError", message: /^char_ids has no columns/ });
});

test("no rows or no columns give an empty answer, without the runtime", async (t) => {
  const { session } = await prepared(t, "subword");
  const width = session.parts.features.size;
  for (const [batch, sequence] of [
    [0, 0],
    [0, 5],
    [3, 0],
  ]) {
    const answer = await session.run({
      word_ids: { data: new Int32Array(0), dims: [batch, sequence] },
      subword_ids: { data: new Int32Array(0), dims: [batch, sequence, width] },
      lengths: { data: new Int32Array(batch), dims: [batch] },
    });
    assert.equal(answer.tagIds.length, 0);
    assert.equal(answer.scores.length, 0);
  }
});

test("padding is marked, and what stands there changes nothing", async (t) => {
  const { session, inputs } = await prepared(t, "subword");
  const { tagIds, sequence } = await session.run(inputs);
  const length = inputs.lengths.data[1];
  assert.ok(tagIds.subarray(sequence + length).every((id) => id === -1));
  inputs.word_ids.data.fill(1, sequence + length);
  assert.deepEqual((await session.run(inputs)).tagIds, tagIds);
});

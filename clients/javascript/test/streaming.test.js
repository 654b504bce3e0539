import assert from "node:assert/strict";
import { test } from "node:test";

import { load, loadStreaming } from "./support/models.js";
import { generator } from "./support/random.js";

const random = generator(11);
const words = ["the", "cat", "Ann", "went", "東京", "x1", "."];
const sentence = (length) => Array.from({ length }, () => random.pick(words));

test("however a sentence is cut, it is answered the same", async (t) => {
  const tagger = await loadStreaming(t);
  for (let round = 0; round < 30; round++) {
    const tokens = sentence(1 + random.below(30));
    const whole = await tagger.tag(tokens);
    const stream = tagger.stream();
    const [tags, scores] = [[], []];
    for (let at = 0; at < tokens.length;) {
      const size = random.below(6);
      const found = await stream.push(tokens.slice(at, at + size));
      assert.deepEqual(found.tokens, tokens.slice(at, at + size));
      tags.push(...found.tags);
      scores.push(...found.scores);
      at += size;
    }
    assert.deepEqual({ tokens, tags, scores }, whole);
  }
});

test("pushes are answered in the order made, awaited or not", async (t) => {
  const tagger = await loadStreaming(t);
  const tokens = sentence(12);
  const whole = await tagger.tag(tokens);
  const stream = tagger.stream();
  const found = await Promise.all(tokens.map((token) => stream.push([token])));
  assert.deepEqual(
    found.flatMap(({ scores }) => scores),
    whole.scores,
  );
});

test("a reset goes back to the start, and leaves pushes under way what they were", async (t) => {
  const tagger = await loadStreaming(t);
  const stream = tagger.stream();
  const tokens = sentence(8);
  const fresh = stream.state;
  const under = [stream.push(tokens.slice(0, 4)), stream.push(tokens.slice(4))];
  stream.reset();
  const again = stream.push(tokens);
  const whole = await tagger.tag(tokens);
  assert.deepEqual(await again, whole);
  assert.deepEqual(
    (await Promise.all(under)).flatMap(({ scores }) => scores),
    whole.scores,
  );
  assert.notDeepEqual(stream.state, fresh);
  stream.reset();
  assert.deepEqual(stream.state, fresh);
});

test("a state can be parked, copied and given to another stream", async (t) => {
  const tagger = await loadStreaming(t);
  const tokens = sentence(10);
  const expected = (await tagger.tag(tokens)).scores.slice(5);
  const stream = tagger.stream();
  await stream.push(tokens.slice(0, 5));
  const copy = stream.copy();
  const parked = JSON.parse(
    JSON.stringify(stream.state, (_, value) => (ArrayBuffer.isView(value) ? [...value] : value)),
  );
  for (const values of Object.values(stream.state)) values.fill(9); // a copy: changes nothing
  for (const one of [stream, copy, tagger.stream(parked)]) {
    assert.deepEqual((await one.push(tokens.slice(5))).scores, expected);
  }
});

test("a state of another model is refused", async (t) => {
  const tagger = await loadStreaming(t);
  const stream = tagger.stream();
  const state = stream.state;
  const [name] = Object.keys(state);
  for (const wrong of [{}, { ...state, [name]: new Float32Array(1) }, { ...state, more: new Float32Array(1) }, null]) {
    assert.throws(() => (stream.state = wrong), { name: "RangeError", message: /^a state of .*; expected .*gave$/ });
  }
  assert.throws(() => tagger.stream({}), RangeError);
});

test("a push that fails moves nothing", async (t) => {
  const tagger = await loadStreaming(t);
  const stream = tagger.stream();
  const tokens = sentence(6);
  const found = [
    stream.push(tokens.slice(0, 3)),
    assert.rejects(stream.push(["a", 3]), { name: "TypeError" }),
    stream.push(tokens.slice(3)),
  ];
  await assert.rejects(stream.push("the cat"), { name: "TypeError" });
  const [first, , last] = await Promise.all(found);
  assert.deepEqual([...first.scores, ...last.scores], (await tagger.tag(tokens)).scores);
});

test("nothing pushed, and chunks longer than a batch", async (t) => {
  const tagger = await loadStreaming(t, { batchTokens: 4 });
  const stream = tagger.stream();
  assert.deepEqual(await stream.push([]), { tokens: [], tags: [], scores: [] });
  const tokens = sentence(19);
  assert.deepEqual(await stream.push(tokens), await tagger.tag(tokens));
  assert.deepEqual((await tagger.stream().push(tokens, { scores: false })).scores, []);
});

test("a streaming file tags whole sentences too, also through Tagger", async (t) => {
  const [streaming, plain] = [await loadStreaming(t), await load(t, "streaming")];
  const given = Array.from({ length: 20 }, () => sentence(random.below(15)));
  const many = await streaming.tagBatch(given);
  assert.deepEqual(await plain.tagBatch(given), many);
  assert.deepEqual((await plain.tag(given[0])).tags, many[0].tags);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { Crf } from "../src/crf.js";
import { generator } from "./support/random.js";

const random = generator(5);
const numbers = (count, scale) => Array.from({ length: count }, () => Math.fround((random.next() - 0.5) * scale));

function* paths(length, tags) {
  for (let n = 0; n < tags ** length; n++) yield Array.from({ length }, (_, t) => Math.floor(n / tags ** t) % tags);
}

/** Marginals by adding up all paths. */
function byHand(crf, emissions, length) {
  const found = new Float64Array(length * crf.tags);
  const all = [...paths(length, crf.tags)].map((path) => ({ path, score: crf.pathScore(emissions, path) }));
  const top = Math.max(...all.map(({ score }) => score));
  const total = all.reduce((sum, { score }) => sum + Math.exp(score - top), 0);
  for (const { path, score } of all) {
    path.forEach((tag, t) => (found[t * crf.tags + tag] += Math.exp(score - top) / total));
  }
  return found;
}

function assertClose(found, expected) {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-12, `${value} for ${expected[i]}`));
}

for (const scale of [2, 50, 3000]) {
  test(`marginals are the shares of all paths, numbers up to ${scale}`, () => {
    for (const [length, tags] of [
      [1, 1],
      [1, 4],
      [2, 3],
      [5, 3],
      [6, 2],
    ]) {
      const transitions = Array.from({ length: tags }, () => numbers(tags, scale));
      const crf = new Crf({ transitions, start: numbers(tags, scale), end: numbers(tags, scale) });
      const emissions = Float32Array.from(numbers(length * tags, scale));
      assertClose(crf.marginals(emissions), byHand(crf, emissions, length));
    }
  });
}

test("forbidden moves have no share", () => {
  const no = -1e30;
  const crf = new Crf({
    transitions: [
      [0, no, 0],
      [no, 0, no],
      [0, 0, no],
    ],
    start: [0, no, 0],
    end: [no, 0, 0],
  });
  const emissions = Float32Array.from(numbers(12, 4));
  const found = crf.marginals(emissions);
  assertClose(found, byHand(crf, emissions, 4));
  assert.equal(found[1], 0);
});

test("long sentences lose nothing", () => {
  const crf = new Crf({
    transitions: [
      [1, -1],
      [-1, 1],
    ],
    start: [0, 0],
    end: [0, 0],
  });
  const found = crf.marginals(Float32Array.from({ length: 20000 }, (_, i) => (i % 2 ? 300 : -300)));
  assert.ok(found.every((value, i) => Math.abs(value - (i % 2)) < 1e-12));
});

test("scores and tolerances of a path", () => {
  const crf = new Crf({
    transitions: [
      [1, 2],
      [3, 4],
    ],
    start: [10, 20],
    end: [100, 200],
  });
  const emissions = Float32Array.of(0.5, -0.5, 1, -3);
  assert.equal(crf.pathScore(emissions, [1, 0]), 20 - 0.5 + 3 + 1 + 100);
  assert.equal(crf.pathTolerance(emissions, [1, 0], 0.1), 0.1 * (1.5 + 2));
  assert.equal(crf.pathScore(new Float32Array(), []), 0);
  assert.equal(crf.marginals(new Float32Array()).length, 0);
});

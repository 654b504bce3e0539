import assert from "node:assert/strict";
import { test } from "node:test";

import { entities, isIob2 } from "../src/index.js";

test("entities as conlleval reads them", () => {
  for (const [tags, expected] of [
    ["", ""],
    ["O O", ""],
    ["B-PER I-PER O B-LOC", "PER:0-2 LOC:3-4"],
    ["B-PER B-PER", "PER:0-1 PER:1-2"],
    ["I-PER I-PER", "PER:0-2"],
    ["B-PER I-LOC I-LOC", "PER:0-1 LOC:1-3"],
    ["O I-A-B", "A-B:1-2"],
  ]) {
    const found = entities(tags ? tags.split(" ") : []);
    assert.equal(found.map(({ type, start, end }) => `${type}:${start}-${end}`).join(" "), expected);
  }
});

test("which tag sets mark entities", () => {
  assert.ok(isIob2(["O", "B-PER", "I-PER"]));
  assert.ok(isIob2(new Set(["I-x", "O"])));
  for (const tags of [[], ["O"], ["B-PER"], ["O", "NOUN"], ["O", "B-"], ["O", "B-PER", "E-PER"]])
    assert.ok(!isIob2(tags));
});

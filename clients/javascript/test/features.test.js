import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";

import { shape, SubwordFeatures } from "../src/features.js";

test("the example of FORMAT.md", () => {
  assert.deepEqual(new SubwordFeatures(["prefix2"], 2 ** 32).ids("The"), [0x23093750]);
  assert.deepEqual(new SubwordFeatures(["prefix2"], 16384).ids("The"), [14160]);
});

test("shapes", () => {
  for (const [token, expected] of [
    ["Lstm-2024ab", "Xxxx-ddddxx"],
    ["internationalisation", "xxxx"],
    ["e\u0301", "xx"],
    ["ǅⅧ½", "Xdd"],
    ["\u{1f642}".repeat(6), "\u{1f642}".repeat(4)],
    ["\ud800", "\ud800"],
    ["", ""],
  ]) {
    assert.equal(shape(token), expected);
  }
});

test("the hash is zlib's", { skip: typeof crc32 === "function" ? false : "this Node's zlib has no crc32" }, () => {
  for (const token of ["", "fish", "東京", "\u{1f642}é"]) {
    assert.deepEqual(new SubwordFeatures(["lower"], 2 ** 32).ids(token), [crc32(`lower=${token}`)]);
  }
});

test("a lone surrogate is three bytes", () => {
  // zlib.crc32("lower=\ud800".encode("utf-8", "surrogatepass"))
  assert.deepEqual(new SubwordFeatures(["lower"], 2 ** 32).ids("\ud800"), [1203063724]);
});

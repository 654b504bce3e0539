import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { classes, lower } from "../src/unicode14.js";

/** UTF-8 in which a lone surrogate has the three bytes of its code point. */
function bytesOf(text) {
  return Buffer.concat(
    [...text].map((char) => {
      const point = char.codePointAt(0);
      if (point < 0xd800 || point > 0xdfff) return Buffer.from(char);
      return Buffer.from([0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f)]);
    }),
  );
}

/** Over all code points one by one: side by side, surrogates would pair. */
function digest(of) {
  const hash = createHash("sha256");
  for (let start = 0; start < 0x110000; start += 0x1000) {
    const part = Array.from({ length: 0x1000 }, (_, i) => bytesOf(of(String.fromCodePoint(start + i))));
    hash.update(Buffer.concat(part));
  }
  return hash.digest("hex");
}

// The digests of lstm_deploy.unicode14; tests/clients/test_javascript.py holds them against it.
test("the class of every code point is Python's", () => {
  assert.equal(digest(classes), "5087124ba8d1a1d6d056bc8c75d3a6c7ec71f034c4c6ca2e4de0fd149a1ae7ca");
});

test("the lower case of every code point is Python's", () => {
  assert.equal(digest(lower), "0b7ee85d925550d0a592bc89a1937d2a7a46a056610c45c7163d84a9f935491c");
});

test("lower case of each code point alone", () => {
  for (const [text, expected] of [
    ["THE Cat", "the cat"],
    ["ΟΔΟΣ", "οδοσ"],
    ["İ", "i\u0307"],
    ["ẞ", "ß"],
    ["\u{10400}", "\u{10428}"],
    ["ǅ", "ǆ"],
    ["Ⅷ", "ⅷ"],
    ["\u{10d50}", "\u{10d50}"],
    ["\ua7cb", "\ua7cb"],
    ["\ud800A", "\ud800a"],
    ["", ""],
  ]) {
    assert.equal(lower(text), expected);
  }
});

test("lower case is never shorter, and longer only for one letter", () => {
  for (let point = 0; point < 0x110000; point++) {
    const char = String.fromCodePoint(point);
    assert.equal(lower(char).length, char.length + (point === 0x130 ? 1 : 0));
  }
});

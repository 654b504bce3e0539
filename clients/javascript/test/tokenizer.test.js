import assert from "node:assert/strict";
import { test } from "node:test";

import { Tokenizer } from "../src/tokenizer.js";
import { classes } from "../src/unicode14.js";
import { generator } from "./support/random.js";

const ENGLISH = new Tokenizer({
  kind: "words",
  keep: ["Mr.", ":)", "o'clock"],
  suffixes: ["'s", "n't", "'ll"],
  split: "-",
});
const words = (tokenizer, text) => tokenizer.spans(text).map(({ token }) => token);

const CASES = [
  ["They ate the fish.", "They|ate|the|fish|."],
  ["  two\u00a0 spaces\t", "two|spaces"],
  ["I don't know", "I|do|n't|know"],
  ["I DON’T know", "I|DO|N’T|know"],
  ["Mr. Smith's", "Mr.|Smith|'s"],
  ["(Mr. Lee),", "(|Mr.|Lee|)|,"],
  ["he'll've", "he'll've"],
  ["5 o'clock!", "5|o'clock|!"],
  ["'s", "'s"],
  ["U.S. e.g. a.m.,", "U.S.|e.g.|a.m.|,"],
  ["see https://a.b/c?d=e-f. ok", "see|https://a.b/c?d=e-f|.|ok"],
  ["www.example.org/x!", "www.example.org/x|!"],
  ["<me.you+z@mail-x.com>", "<|me.you+z@mail-x.com|>"],
  ["3.14 1,000.5 10:30 9.", "3.14|1,000.5|10:30|9|."],
  ["$5 50% +1", "$|5|50|%|+|1"],
  ["well-known - x", "well|-|known|-|x"],
  ["wait... what?!", "wait|...|what|?|!"],
  ['"(hi)"', '"|(|hi|)|"'],
  ["AT&T a_b and/or", "AT&T|a_b|and/or"],
  ["so :) ok:)", "so|:)|ok|:|)"],
  ["👨\u200d👩\u200d👧!🙂🙂❤️", "👨\u200d👩\u200d👧|!|🙂🙂|❤️"],
  ["e\u0301te\u0301, naïve", "e\u0301te\u0301|,|naïve"],
  ["हिन्दी में।", "हिन्दी|में|।"],
  ["東京へ、行く。", "東京へ|、|行く|。"],
  ["لا، شكرا", "لا|،|شكرا"],
  ["¿Qué?", "¿|Qué|?"],
  ["", ""],
  [" \n ", ""],
];
for (const [text, tokens] of CASES) {
  test(`${JSON.stringify(text)} is cut as Python cuts it`, () => {
    assert.deepEqual(words(ENGLISH, text), tokens ? tokens.split("|") : []);
  });
}

test("hyphens stay inside words unless they are split", () => {
  const tokenizer = new Tokenizer({ kind: "words", keep: [], suffixes: [], split: "" });
  assert.deepEqual(words(tokenizer, "a well-known 15-year"), ["a", "well-known", "15-year"]);
});

test("a suffix is cut off only from something", () => {
  const tokenizer = new Tokenizer({ kind: "words", keep: [], suffixes: ["s", "es"], split: "" });
  assert.deepEqual(words(tokenizer, "cats boxes es ss"), ["cat", "s", "box", "es", "es", "s", "s"]);
});

test("white space kind cuts nothing else", () => {
  const tokenizer = new Tokenizer({ kind: "whitespace", keep: [], suffixes: [], split: "" });
  assert.deepEqual(words(tokenizer, "Don't,\u2003(stop)\u0085now\u200bhere"), ["Don't,", "(stop)", "now\u200bhere"]);
});

test("nothing but white space is left out of any text, and nothing is taken twice", () => {
  const odd = [..."aZß9.,'’-!@:/& \t\n()$🙂👩\u200d\u0301İ東\u200e\u00a0_·", "\ud800", "\udc00", "don't"];
  const random = generator(1);
  for (let i = 0; i < 3000; i++) {
    const text = Array.from({ length: random.below(30) }, () => random.pick(odd)).join("");
    let at = 0;
    for (const { token, start, end } of ENGLISH.spans(text)) {
      assert.equal(text.slice(start, end), token);
      assert.ok(start >= at && end > start);
      assert.match(classes(text.slice(at, start)), /^s*$/);
      assert.doesNotMatch(classes(token), /s/);
      at = end;
    }
    assert.match(classes(text.slice(at)), /^s*$/);
  }
});

test("a long text takes time in proportion", () => {
  const start = performance.now();
  for (const part of ["a ", "a-", "?!", "a.", "'s", "("]) assert.ok(ENGLISH.spans(part.repeat(20000)).length);
  assert.ok(performance.now() - start < 5000);
});

test("time grows with a text, not with its square", () => {
  const units = [".", "a.", "a-", "'s", "n't", "!?", "(.", "._", "._@", "a@a.", "://", "s", "(a", "!\u0301", "\u0301\u200d"];
  const tails = ["", ",;", "a,"];
  for (const unit of units) {
    for (const tail of tails) {
      const text = unit.repeat(200_000 / unit.length) + tail.repeat(50_000);
      const start = performance.now();
      const found = ENGLISH.spans(text);
      assert.equal(found.at(-1).end, text.length);
      assert.ok(performance.now() - start < 5_000, `${unit} ${tail}`); // minutes, if it grew with the square
    }
  }
});

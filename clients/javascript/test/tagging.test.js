import assert from "node:assert/strict";
import { test } from "node:test";

import * as ort from "onnxruntime-node";

import { RuntimeFailure, Tagger, UnknownCharacterError, UnknownWordError } from "../src/index.js";
import { bytesOf, load, MODELS, rewritten } from "./support/models.js";
import { generator } from "./support/random.js";

const ODD = ["the", "cat", "The", "东京", "naïve", "x1", "e\u0301", "\u{1f642}", "\ud800", "İİ", "n't", "", " "];

/** Sentences of 0 to 40 tokens that the model has ids for: words of its own, and where it may, odd ones. */
function sentences(tagger, count, seed) {
  const random = generator(seed);
  const { inputs, golden, words } = tagger.metadata;
  const closed = inputs.some(({ kind, unknown_id: unknown }) => /^(word|char)_ids$/.test(kind) && unknown === null);
  const known = closed ? golden.flatMap(({ tokens }) => tokens) : [...words.filter((word) => word !== null), ...ODD];
  return Array.from({ length: count }, () => Array.from({ length: random.below(41) }, () => random.pick(known)));
}

for (const name of Object.keys(MODELS)) {
  test(`${name}: ragged batches are the same as one by one, in the order given`, async (t) => {
    const tagger = await load(t, name, { batchTokens: 100 });
    const given = sentences(tagger, 60, 7);
    const many = await tagger.tagBatch(given);
    assert.deepEqual(
      many.map(({ tokens }) => tokens),
      given,
    );
    let bytes = 0;
    for (const [i, tokens] of given.entries()) {
      const alone = await tagger.tag(tokens);
      assert.equal(alone.tags.length, tokens.length);
      alone.scores.forEach((score, j) => {
        const tolerance = tagger.metadata.precision === "int8" ? 0.15 : 1e-5;
        assert.ok(Math.abs(Math.log(score) - Math.log(many[i].scores[j])) <= tolerance * (1 - Math.log(score)));
      });
      if (tagger.metadata.precision === "int8") bytes += alone.tags.filter((tag, j) => tag !== many[i].tags[j]).length;
      else assert.deepEqual(alone.tags, many[i].tags);
    }
    assert.ok(bytes <= 12, `${bytes} tags differ`);
    const bare = await tagger.tagBatch(given, { scores: false });
    assert.deepEqual(
      bare.map(({ tags, scores }) => [tags, scores]),
      many.map(({ tags }) => [tags, []]),
    );
  });

  test(`${name}: distributions sum to one and agree with the tags`, async (t) => {
    const tagger = await load(t, name);
    for (const { tokens } of tagger.metadata.golden) {
      const [{ tags, scores }, spread] = [await tagger.tag(tokens), await tagger.distribution(tokens)];
      assert.equal(spread.length, tokens.length);
      for (const [i, row] of spread.entries()) {
        assert.deepEqual(row.map(({ tag }) => tag).sort(), [...tagger.metadata.tags].sort());
        assert.ok(Math.abs(row.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-5);
        assert.ok(row.every(({ probability }, j) => !j || probability <= row[j - 1].probability));
        assert.ok(Math.abs(row.find(({ tag }) => tag === tags[i]).probability - scores[i]) < 1e-12);
        if (tagger.metadata.decoder.kind === "argmax") assert.equal(row[0].tag, tags[i]);
      }
    }
  });
}

test("nothing to tag", async (t) => {
  const tagger = await load(t, "subword");
  assert.deepEqual(await tagger.tag([]), { tokens: [], tags: [], scores: [] });
  assert.deepEqual(await tagger.tagText(" \n"), { text: " \n", tokens: [], tags: [], scores: [], offsets: [] });
  assert.deepEqual(await tagger.tagBatch([]), []);
  assert.deepEqual(await tagger.tagBatch([[], []]), Array(2).fill({ tokens: [], tags: [], scores: [] }));
  assert.deepEqual(await tagger.distribution([]), []);
});

test("text, with offsets in code units", async (t) => {
  const tagger = await load(t, "subword");
  const text = "The \u{1f642}\u{1f642} cat, \ud800\u{10400}x!";
  const found = await tagger.tagText(text);
  assert.deepEqual(
    found.offsets.map(([start, end]) => text.slice(start, end)),
    found.tokens,
  );
  assert.deepEqual(
    tagger.tokenize(text).map(({ token }) => token),
    found.tokens,
  );
  assert.deepEqual(found.tags, (await tagger.tag(found.tokens)).tags);
  assert.equal(found.text, text);
});

test("what is no array of strings is refused", async (t) => {
  const tagger = await load(t, "subword");
  const wrong = {
    name: "TypeError",
    message: 'expected an array of tokens, got string: "a cat"; use tagText for text',
  };
  await assert.rejects(tagger.tag("a cat"), wrong);
  await assert.rejects(tagger.tagBatch(["a cat"]), wrong);
  await assert.rejects(tagger.distribution("a cat"), wrong);
  await assert.rejects(tagger.tagBatch("a cat"), { name: "TypeError", message: /^expected an array of sentences/ });
  await assert.rejects(tagger.tag(["a", 3]), { name: "TypeError", message: "a token must be a string, got number: 3" });
  await assert.rejects(tagger.tag([null]), { name: "TypeError", message: "a token must be a string, got null: null" });
  await assert.rejects(tagger.tagBatch([["a"], [undefined]]), { name: "TypeError" });
  await assert.rejects(tagger.tagText(["a"]), { name: "TypeError", message: /^a text must be a string/ });
  await assert.rejects(tagger.tag(), { name: "TypeError", message: /^expected an array of tokens, got undefined/ });
  assert.equal((await tagger.tag(["a"])).tags.length, 1);
});

test("words and characters that a closed model does not have are named", async (t) => {
  const words = await load(t, "characters-crf");
  await assert.rejects(words.tag(["zzz"]), (error) => {
    assert.ok(error instanceof UnknownWordError);
    return /^the model has no word "zzz" .*; expected one of its \d+ words; export again /.test(error.message);
  });
  const characters = await load(t, "characters");
  await assert.rejects(characters.tag(["a\u{1f642}b"]), (error) => {
    assert.ok(error instanceof UnknownCharacterError);
    return /^the model has no character "\u{1f642}" \(U\+1F642, in "a\u{1f642}b"\)/u.test(error.message);
  });
});

test("what a caller changes while it waits changes nothing", async (t) => {
  const tagger = await load(t, "subword");
  const tokens = ["the", "cat"];
  const expected = await tagger.tag(tokens);
  const [one, many] = [tagger.tag(tokens), tagger.tagBatch([tokens])];
  tokens.push("sat");
  assert.deepEqual(await one, expected);
  assert.deepEqual(await many, [expected]);
});

test("calls may overlap, and the runtime sees one run at a time", async (t) => {
  let running = 0;
  const counting = {
    Tensor: ort.Tensor,
    InferenceSession: {
      create: async (...args) => {
        const session = await ort.InferenceSession.create(...args);
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          release: () => session.release(),
          run: async (...feeds) => {
            assert.equal(++running, 1);
            await new Promise((resolve) => setTimeout(resolve, 1));
            running--;
            return session.run(...feeds);
          },
        };
      },
    },
  };
  const taggers = [await Tagger.load(bytesOf("subword"), counting), await Tagger.load(bytesOf("tutorial"), counting)];
  t.after(() => Promise.all(taggers.map((tagger) => tagger.release())));
  const given = sentences(taggers[0], 30, 3);
  const all = await Promise.all(
    taggers.flatMap((tagger) => [tagger.tagBatch(given), ...given.map((s) => tagger.tag(s))]),
  );
  assert.equal(all.length, 62);
  assert.deepEqual(
    all.slice(1, 31).map(({ tags }) => tags),
    all[0].map(({ tags }) => tags),
  );
});

test("a failure of the runtime is one line with its cause, and the next run goes on", async (t) => {
  let failing = true;
  const runtime = {
    Tensor: ort.Tensor,
    InferenceSession: {
      create: async (...args) => {
        const session = await ort.InferenceSession.create(...args);
        const run = session.run.bind(session);
        session.run = async (...feeds) => {
          if (failing) throw new Error("out of\nmemory");
          return run(...feeds);
        };
        return session;
      },
    },
  };
  const tagger = await Tagger.load(bytesOf("subword"), runtime);
  t.after(() => tagger.release());
  await assert.rejects(tagger.tag(["a", "b"]), (error) => {
    assert.ok(error instanceof RuntimeFailure && error.cause instanceof Error);
    assert.equal(error.name, "RuntimeFailure");
    return error.message.startsWith("the ONNX runtime cannot run the model on a batch of 1 x 2 (out of memory); if ");
  });
  await assert.rejects(tagger.tagBatch([["a"], ["a", "b"]]), RuntimeFailure);
  failing = false;
  assert.equal((await tagger.tag(["a"])).tags.length, 1);
});

test("a released tagger finishes what it was asked for, then refuses", async () => {
  const tagger = await Tagger.load(bytesOf("subword"), ort);
  const [before, released] = [tagger.tag(["a"]), tagger.release()];
  assert.equal((await before).tags.length, 1);
  await released;
  await tagger.release();
  await assert.rejects(tagger.tag(["a"]), { name: "RuntimeFailure", message: /^the tagger was released; / });
});

test("what cannot be loaded", async () => {
  const bytes = bytesOf("subword");
  await assert.rejects(Tagger.load("model.onnx", ort), {
    name: "TypeError",
    message: /^expected the model file's bytes/,
  });
  await assert.rejects(Tagger.load(bytes, {}), { name: "TypeError", message: /^expected an ONNX runtime/ });
  await assert.rejects(Tagger.load(bytes), { name: "TypeError", message: /^expected an ONNX runtime/ });
  for (const batchTokens of [0, -1, 1.5, "9"]) {
    await assert.rejects(Tagger.load(bytes, ort, { batchTokens }), { name: "RangeError", message: /from 1$/ });
  }
  await assert.rejects(Tagger.load(bytes, ort, { sessionOptions: { executionProviders: ["none"] } }), RuntimeFailure);
});

test("an ArrayBuffer, and part of a larger one", async (t) => {
  const bytes = bytesOf("tutorial");
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 9);
  for (const given of [bytes.slice().buffer, larger.subarray(9, 9 + bytes.length)]) {
    const tagger = await Tagger.load(given, ort);
    t.after(() => tagger.release());
    assert.deepEqual((await tagger.selfTest()).failures, []);
  }
});

test("an endless stream of new words takes bounded memory", async (t) => {
  const tagger = await load(t, "subword");
  const expected = tagger.encoder.encode([["the", "w70000"]]);
  for (let start = 0; start < 140000; start += 1000) {
    tagger.encoder.encode([Array.from({ length: 1000 }, (_, i) => `w${start + i}`)]);
  }
  assert.deepEqual(tagger.encoder.encode([["the", "w70000"]]), expected);
});

test("sentences longer than a batch run alone", async (t) => {
  const tagger = await load(t, "subword", { batchTokens: 3 });
  const long = Array.from({ length: 50 }, (_, i) => `w${i}`);
  const [one, , two] = await tagger.tagBatch([long, ["a"], long]);
  assert.deepEqual(one, two);
  assert.deepEqual(one.tags, (await tagger.tag(long)).tags);
});

test("files of unknown graph forms are run as any other", async (t) => {
  const bytes = rewritten(bytesOf("subword"), { format_version: "4", graph_form: "yet_another", runtimes: ["tract"] });
  const tagger = await Tagger.load(bytes, ort);
  t.after(() => tagger.release());
  assert.deepEqual(tagger.metadata.runtimes, ["tract"]);
  assert.deepEqual((await tagger.selfTest()).failures, []);
});

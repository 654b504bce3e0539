/** A long text -> the sentences to tag, piece by piece, so that the page can do something else in between. */

/** Characters of a piece: enough sentences to fill the tagger's batches, few enough not to keep typing waiting. */
const PIECE = 16_000;

/** @typedef {"lines" | "running"} Cut each line is a sentence, or sentences are found in each line */

/** Whether this browser finds sentences. */
export const FINDS_SENTENCES = typeof Intl.Segmenter === "function";

/**
 * @param {string} text
 * @param {Cut} cut
 * @returns {Generator<{ sentences: string[], done: number }>} `done`: characters of the text up to here
 */
export function* pieces(text, cut) {
  /** @type {string[]} */
  let sentences = [];
  let gathered = 0;
  for (const { sentence, end } of cut === "running" ? running(text) : lines(text)) {
    if (sentence.trim()) {
      sentences.push(sentence);
      gathered += sentence.length;
    }
    if (gathered >= PIECE) {
      yield { sentences, done: end };
      sentences = [];
      gathered = 0;
    }
  }
  if (sentences.length) yield { sentences, done: text.length };
}

/** @param {string} text */
function* lines(text) {
  for (let start = 0; start < text.length; ) {
    const feed = text.indexOf("\n", start);
    const end = feed < 0 ? text.length : feed;
    yield { sentence: text.slice(start, end), end };
    start = end + 1;
  }
}

/** @param {string} text */
function* running(text) {
  const segmenter = new Intl.Segmenter(undefined, { granularity: "sentence" });
  for (const { sentence: line, end } of lines(text)) {
    for (const { segment, index } of segmenter.segment(line)) {
      yield { sentence: segment, end: end - line.length + index + segment.length };
    }
  }
}

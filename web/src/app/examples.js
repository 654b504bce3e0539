/** Sentences to click on, fit for the model. */

/** For English parts of speech: words that are several things at once, names, clitics, the language of the web. */
const ENGLISH = [
  "They refuse to permit us to obtain the refuse permit.",
  "She will record a new record in the old record store.",
  "I can't wait to present the present I bought!",
  "Dr. Ada Lovelace wrote the first program, didn't she?",
  "The bandage was wound around the wound.",
  "omg this café is sooo good 😍 10/10 would go again!!",
];
const MOST = 6;
const LONGEST = 160;

/**
 * @param {import("../client/index.js").ModelMetadata} metadata
 * @param {readonly string[]} [chosen] what the builder of the page was given for its model
 * @returns {string[]}
 */
export function examplesFor(metadata, chosen = []) {
  if (chosen.length) return [...chosen];
  if (metadata.column === "upos" && ["the", "of", "and"].every((word) => metadata.words.includes(word))) return ENGLISH;
  return goldenTexts(metadata);
}

/**
 * What the file itself has: its golden cases, where they are a text or the tokenizer makes them of one.
 *
 * @param {import("../client/index.js").ModelMetadata} metadata
 * @returns {string[]}
 */
function goldenTexts({ golden, tokenizer }) {
  const texts = golden
    .filter(({ text, tokens }) => tokens.length > 1 && (text !== null || tokenizer.kind === "whitespace"))
    .map(({ text, tokens }) => text ?? tokens.join(" "))
    .filter((text) => text.length <= LONGEST);
  return [...new Set(texts)].slice(0, MOST);
}

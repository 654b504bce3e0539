/** Tagged sentences as files: the forms that `lstm-deploy run --format` writes. */

/** @typedef {{ text: string, tokens: string[], tags: string[], scores: number[] }} Sentence */

const SCORE_DIGITS = 6;
const MISC = 9;
/** Column of the tags -> cell of CoNLL-U, where there is one. @type {Record<string, number>} */
const CONLLU_FIELD = { upos: 3, xpos: 4 };

/**
 * `token<TAB>tag`, an empty line after each sentence.
 *
 * @param {Sentence} sentence
 */
export function tsv({ tokens, tags }) {
  return `${tokens.map((token, i) => `${token}\t${tags[i]}\n`).join("")}\n`;
}

/** @param {Sentence} sentence */
export function jsonLine({ tokens, tags, scores }) {
  const rounded = scores.map((score) => Number(score.toFixed(SCORE_DIGITS)));
  return `${JSON.stringify({ tokens, tags, scores: rounded })}\n`;
}

/**
 * @param {Sentence} sentence
 * @param {string} column what the tags are
 */
export function conllu({ text, tokens, tags }, column) {
  if (!tokens.length) return "";
  const rows = tokens.map((token, i) => {
    const cells = [String(i + 1), token, ..."________"];
    if (column in CONLLU_FIELD) cells[CONLLU_FIELD[column]] = tags[i];
    else cells[MISC] = `Tag=${tags[i]}`;
    return `${cells.join("\t")}\n`;
  });
  return `# text = ${text.trim().split(/\s+/).join(" ")}\n${rows.join("")}\n`;
}

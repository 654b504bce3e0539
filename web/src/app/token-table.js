/** A table of any number of tokens, of which only the rows in sight are on the page. */

import { element } from "./dom.js";
import { count, percent } from "./numbers.js";
import { paint } from "./palette.js";
import { UNCERTAIN } from "./tag-set.js";

/** Pixels; the style sheet has the same. */
const ROW_HEIGHT = 32;
/** Rows beyond those in sight, so that scrolling shows no gaps. */
const SPARE = 12;
/** Browsers lay out elements up to some 17 million pixels high. */
export const MOST_ROWS = 500_000;

const COLUMNS = ["Sentence", "Token", "Tag", "Probability"];

export class TokenTable {
  /** @type {import("./formats.js").Sentence[]} */
  #sentences = [];
  /** Tokens before each sentence, and of all. @type {number[]} */
  #starts = [0];
  /** @type {import("./tag-set.js").TagSet} */
  #tagSet;
  #scroller;
  #body;
  #table;
  #drawn = false;

  /**
   * @param {HTMLElement} root
   * @param {import("./tag-set.js").TagSet} tagSet
   */
  constructor(root, tagSet) {
    this.#tagSet = tagSet;
    this.#body = element("div", { role: "rowgroup", class: "rows" });
    const heads = COLUMNS.map((name) => element("span", { role: "columnheader" }, name));
    this.#table = element(
      "div",
      { role: "table", "aria-label": "Tagged tokens", "aria-colcount": COLUMNS.length },
      element("div", { role: "rowgroup", class: "head" }, element("div", { role: "row", "aria-rowindex": 1 }, ...heads)),
      this.#body,
    );
    // A region that scrolls has to take the focus, or the keyboard could not scroll it.
    this.#scroller = element(
      "div",
      { class: "token-table", role: "region", tabindex: 0, "aria-label": "Results, scrolls" },
      this.#table,
    );
    this.#scroller.addEventListener("scroll", () => this.#drawSoon(), { passive: true });
    new ResizeObserver(() => this.#drawSoon()).observe(this.#scroller);
    root.replaceChildren(this.#scroller);
  }

  /** Tokens in the table. */
  get tokens() {
    return this.#starts[this.#starts.length - 1];
  }

  /** @param {import("./formats.js").Sentence[]} sentences */
  add(sentences) {
    for (const sentence of sentences) {
      this.#sentences.push(sentence);
      this.#starts.push(this.tokens + sentence.tokens.length);
    }
    this.#body.style.height = `${Math.min(this.tokens, MOST_ROWS) * ROW_HEIGHT}px`;
    this.#table.setAttribute("aria-rowcount", String(this.tokens + 1));
    this.#drawSoon();
  }

  #drawSoon() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.#scroller.scrollTop / ROW_HEIGHT) - SPARE);
    const shown = Math.ceil(this.#scroller.clientHeight / ROW_HEIGHT) + 2 * SPARE;
    const last = Math.min(first + shown, this.tokens, MOST_ROWS);
    const rows = [];
    let sentence = this.#sentenceOf(first);
    for (let row = first; row < last; row++) {
      while (row >= this.#starts[sentence + 1]) sentence++;
      rows.push(this.#row(row, sentence, row - this.#starts[sentence]));
    }
    this.#body.replaceChildren(...rows);
  }

  /**
   * @param {number} row
   * @param {number} at
   * @param {number} token
   */
  #row(row, at, token) {
    const { tokens, tags, scores } = this.#sentences[at];
    const uncertain = scores[token] < UNCERTAIN;
    const made = element(
      "div",
      { role: "row", "aria-rowindex": row + 2, class: token === 0 ? "first" : undefined },
      element("span", { role: "cell", class: token === 0 ? "" : "repeated" }, count(at + 1)),
      element("span", { role: "cell", class: "word" }, element("bdi", {}, tokens[token])),
      element("span", { role: "cell" }, element("span", { class: "tag" }, tags[token])),
      element("span", { role: "cell", class: uncertain ? "unsure" : "" }, percent(scores[token]) + (uncertain ? " ?" : "")),
    );
    made.style.transform = `translateY(${row * ROW_HEIGHT}px)`;
    paint(made, this.#tagSet.colours.get(this.#tagSet.labelOf(tags[token])));
    return made;
  }

  /** The sentence that a row is of. @param {number} row */
  #sentenceOf(row) {
    let low = 0;
    let high = this.#sentences.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

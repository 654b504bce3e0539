/**
 * The text to tag many lines of, and what a sentence is in it.
 *
 * A text field takes seconds and minutes for tens of thousands of lines (Chromium's time grows with their square), so
 * that a longer text is held beside the field, which shows how it begins.
 */

import { byId } from "./dom.js";
import { count } from "./numbers.js";
import { onLongPaste } from "./paste.js";
import { FINDS_SENTENCES } from "./sentences.js";

const MOST_LINES = 5000;
const MOST_CHARACTERS = 1_000_000;
/** What the field shows of a text that it cannot hold. */
const SHOWN_CHARACTERS = 5000;
/** Characters; no sentence is as long. */
const LONG_LINE = 2000;

export class BatchText {
  #field = byId("batch-text");
  /** @type {string | null} */
  #held = null;
  /** The user said what a sentence is. */
  #cutChosen = false;

  constructor() {
    byId("cut-running").disabled = !FINDS_SENTENCES;
    for (const radio of cutRadios()) radio.addEventListener("change", () => (this.#cutChosen = true));
    this.#field.addEventListener("input", () => this.#suggestCut());
    onLongPaste(this.#field, (text) => this.fill(text));
    byId("batch-clear").addEventListener("click", () => {
      this.fill("");
      this.#field.focus();
    });
  }

  get text() {
    return this.#held ?? this.#field.value;
  }

  /** @returns {import("./sentences.js").Cut} */
  get cut() {
    return cutRadios().find((radio) => radio.checked)?.value === "running" ? "running" : "lines";
  }

  /** @param {string} text */
  fill(text) {
    const lines = countLines(text);
    const long = lines > MOST_LINES || text.length > MOST_CHARACTERS;
    this.#held = long ? text : null;
    this.#field.readOnly = long;
    this.#field.value = long ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
    byId("batch-held").hidden = !long;
    byId("batch-held").textContent = long
      ? `The field shows how the text begins; all ${count(text.length)} characters in ${count(lines)} lines are tagged.`
      : "";
    this.#suggestCut();
  }

  /** A line that no sentence is as long as makes it running text, until the user says otherwise. */
  #suggestCut() {
    if (this.#cutChosen || !FINDS_SENTENCES) return;
    const long = hasLongLine(this.text);
    for (const radio of cutRadios()) radio.checked = (radio.value === "running") === long;
  }
}

/** @returns {HTMLInputElement[]} */
function cutRadios() {
  return /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('input[name="cut"]')]);
}

/** @param {string} text */
function countLines(text) {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

/** @param {string} text */
function hasLongLine(text) {
  for (let start = 0; start + LONG_LINE < text.length; ) {
    const end = text.indexOf("\n", start);
    if (end < 0 || end - start > LONG_LINE) return true;
    start = end + 1;
  }
  return false;
}

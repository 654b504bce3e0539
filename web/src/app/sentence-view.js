/** The tagged text: an ordered list for each line, a button for each token, which the arrow keys move between. */

import { element } from "./dom.js";
import { percent } from "./numbers.js";
import { paint } from "./palette.js";
import { UNCERTAIN } from "./tag-set.js";

/** Tokens that are shown; beyond that the page would be slow, and nobody reads it word by word. */
export const MOST_TOKENS = 1500;

/** Where a token stands. @typedef {{ line: number, index: number, button: HTMLButtonElement }} Place */

export class SentenceView {
  #root;
  #card;
  /** @type {Place[]} */
  #places = [];
  #current = 0;

  /**
   * @param {HTMLElement} root
   * @param {import("./card.js").Card} card shows what is known of a token
   */
  constructor(root, card) {
    this.#root = root;
    this.#card = card;
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("focusin", ({ target }) => {
      const at = this.#indexOf(target);
      if (at < 0) return;
      this.#stopAt(at);
      this.#card.show(this.#places[at]);
    });
    root.addEventListener("focusout", () => this.#card.leave());
    root.addEventListener("pointerover", ({ target }) => {
      const at = this.#indexOf(target);
      if (at >= 0) this.#card.show(this.#places[at]);
    });
    root.addEventListener("pointerout", () => this.#card.leave());
  }

  /**
   * @param {import("./engine.js").Tagged[]} lines
   * @param {import("./tag-set.js").TagSet} tagSet
   * @returns {number} tokens that there was no room for
   */
  show(lines, tagSet) {
    this.#card.hide();
    this.#places = [];
    let room = MOST_TOKENS;
    const lists = lines.map((sentence, line) => {
      const pieces = tagSet.pieces(sentence.tags).slice(0, room);
      room -= pieces.length;
      // The first strong letter of the line says where it runs; tags do not count, they have a direction of their own.
      const list = element("ol", { class: tagSet.entities ? "tokens entities" : "tokens", dir: "auto" });
      pieces.forEach((piece, i) => list.append(this.#token(sentence, line, i, piece, tagSet)));
      return list;
    });
    this.#root.replaceChildren(...lists.filter((list) => list.childElementCount));
    this.#stopAt(0);
    return lines.reduce((sum, { tokens }) => sum + tokens.length, 0) - this.#places.length;
  }

  /** @param {string | null} label whose tokens stand out; null for none */
  highlight(label) {
    this.#root.classList.toggle("picking", label !== null);
    for (const { button } of this.#places) {
      const item = /** @type {HTMLElement} */ (button.parentElement);
      item.classList.toggle("picked", item.dataset.label === label);
    }
  }

  /**
   * @param {import("./engine.js").Tagged} sentence
   * @param {number} line
   * @param {number} i
   * @param {import("./tag-set.js").Piece} piece
   * @param {import("./tag-set.js").TagSet} tagSet
   */
  #token({ tokens, tags, scores, offsets }, line, i, piece, tagSet) {
    const uncertain = scores[i] < UNCERTAIN;
    const label = piece.begins && piece.label !== (tagSet.entities ? "O" : null) ? piece.label : "";
    const said = `${tokens[i]}, ${tags[i]}, ${percent(scores[i])}${uncertain ? ", uncertain" : ""}`;
    const button = element(
      "button",
      { type: "button", tabindex: -1, "aria-label": said },
      element("span", { class: "word" }, tokens[i]),
      element("span", { class: "tag", dir: "ltr" }, label + (uncertain ? "?" : "")),
    );
    const item = element("li", { class: "token", "data-label": piece.label }, button);
    item.classList.toggle("uncertain", uncertain);
    item.classList.toggle("glued", offsets[i + 1]?.[0] === offsets[i][1]);
    if (tagSet.entities) {
      item.classList.add(piece.label === "O" ? "outside" : "entity");
      item.classList.toggle("begins", piece.begins);
      item.classList.toggle("ends", piece.ends);
    }
    paint(item, tagSet.colours.get(piece.label));
    this.#places.push({ line, index: i, button });
    return item;
  }

  /** @param {EventTarget | null} target */
  #indexOf(target) {
    const button = target instanceof Element ? target.closest("button") : null;
    return button ? this.#places.findIndex((place) => place.button === button) : -1;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const next = this.#target(event.key);
    if (next === null) return;
    event.preventDefault();
    this.#places[next]?.button.focus();
  }

  /**
   * @param {string} key
   * @returns {number | null} the token that the key leads to; null for other keys
   */
  #target(key) {
    const last = this.#places.length - 1;
    const place = this.#places[this.#current];
    if (!place) return null;
    const rtl = getComputedStyle(place.button).direction === "rtl";
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key === (rtl ? "ArrowLeft" : "ArrowRight")) return Math.min(this.#current + 1, last);
    if (key === (rtl ? "ArrowRight" : "ArrowLeft")) return Math.max(this.#current - 1, 0);
    if (key === "ArrowDown") return this.#beyond(1);
    if (key === "ArrowUp") return this.#beyond(-1);
    return null;
  }

  /**
   * The token that stands nearest in the row above (-1) or below (1), as the eye sees it.
   *
   * @param {1 | -1} step
   */
  #beyond(step) {
    const from = this.#places[this.#current].button.getBoundingClientRect();
    const middle = from.left + from.width / 2;
    let best = this.#current;
    let nearest = Infinity;
    let row = null;
    for (let i = this.#current + step; i >= 0 && i < this.#places.length; i += step) {
      const box = this.#places[i].button.getBoundingClientRect();
      const beyond = step > 0 ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1;
      if (!beyond) continue;
      row ??= box.top;
      if (Math.abs(box.top - row) > box.height / 2) break;
      const distance = Math.abs(box.left + box.width / 2 - middle);
      if (distance < nearest) [best, nearest] = [i, distance];
    }
    return best;
  }

  /** One token at a time is a stop of the Tab key. @param {number} at */
  #stopAt(at) {
    this.#places[this.#current]?.button.setAttribute("tabindex", "-1");
    this.#current = at;
    this.#places[at]?.button.setAttribute("tabindex", "0");
  }
}

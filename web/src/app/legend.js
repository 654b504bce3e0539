/** The tags of the text with their counts; each is a switch that makes its tokens stand out. */

import { byId, element } from "./dom.js";
import { count } from "./numbers.js";
import { paint } from "./palette.js";
import { UNCERTAIN } from "./tag-set.js";

export class Legend {
  /** @type {string | null} */
  #picked = null;
  #onPick;

  /** @param {(label: string | null) => void} onPick */
  constructor(onPick) {
    this.#onPick = onPick;
  }

  /**
   * @param {import("./engine.js").Tagged[]} lines
   * @param {import("./tag-set.js").TagSet} tagSet
   */
  show(lines, tagSet) {
    const counts = countLabels(lines, tagSet);
    const times = (/** @type {string} */ label) => counts.get(label) ?? 0;
    const present = tagSet.labels.filter(times).sort((a, b) => times(b) - times(a));
    const absent = tagSet.labels.filter((label) => !times(label));
    byId("legend-block").hidden = !present.length;
    byId("legend").replaceChildren(...present.map((label) => this.#entry(label, times(label), tagSet)));
    byId("legend-absent").textContent = absent.length ? `Not in this text: ${absent.join(", ")}` : "";
    const uncertain = lines.some(({ scores }) => scores.some((score) => score < UNCERTAIN));
    byId("legend-note").textContent = uncertain ? `A dashed frame and “?”: the tag has less than ${100 * UNCERTAIN} %.` : "";
    if (!present.includes(this.#picked ?? "")) this.#picked = null;
    this.#onPick(this.#picked);
  }

  /**
   * @param {string} label
   * @param {number} times
   * @param {import("./tag-set.js").TagSet} tagSet
   */
  #entry(label, times, tagSet) {
    const words = tagSet.gloss(label);
    const button = element(
      "button",
      { type: "button", "aria-pressed": String(label === this.#picked) },
      element("span", { class: "legend-tag" }, label),
      ...(words ? [element("span", { class: "legend-gloss" }, words)] : []),
      element("span", { class: "legend-count" }, count(times)),
    );
    paint(button, tagSet.colours.get(label));
    button.addEventListener("click", () => {
      this.#picked = this.#picked === label ? null : label;
      for (const other of byId("legend").querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button && this.#picked !== null));
      }
      this.#onPick(this.#picked);
    });
    return element("li", {}, button);
  }
}

/**
 * Tokens of each tag; entities of each type, and tokens in none.
 *
 * @param {import("./engine.js").Tagged[]} lines
 * @param {import("./tag-set.js").TagSet} tagSet
 */
function countLabels(lines, tagSet) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { tags } of lines) {
    for (const { label, begins } of tagSet.pieces(tags)) {
      if (begins) counts.set(label, (counts.get(label) ?? 0) + 1);
    }
  }
  return counts;
}

/** The card beside a token: its most probable tags, as bars and in numbers. By pointer, and by the keyboard's focus. */

import { element } from "./dom.js";
import { percent } from "./numbers.js";
import { paint } from "./palette.js";

/** Milliseconds in which the pointer can cross over into the card. */
const GRACE = 150;
const MARGIN = 8;

/** @typedef {{ token: string, tags: { tag: string, probability: number }[] }} Known */

export class Card {
  #root;
  #know;
  /** @type {HTMLElement | null} */
  #anchor = null;
  #leaving = 0;

  /**
   * @param {HTMLElement} root
   * @param {(place: import("./sentence-view.js").Place) => Promise<Known | null>} know what is known of a token; null
   *     where it is on the page no more
   * @param {() => import("./tag-set.js").TagSet | null} tagSet
   */
  constructor(root, know, tagSet) {
    this.#root = root;
    this.#know = know;
    this.tagSet = tagSet;
    root.addEventListener("pointerenter", () => clearTimeout(this.#leaving));
    root.addEventListener("pointerleave", () => this.leave());
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.hide());
    addEventListener("scroll", () => this.#follow(), { passive: true });
    addEventListener("resize", () => this.#follow());
  }

  /** @param {import("./sentence-view.js").Place} place */
  async show(place) {
    clearTimeout(this.#leaving);
    if (this.#anchor === place.button && !this.#root.hidden) return;
    this.#anchor?.removeAttribute("aria-describedby");
    this.#anchor = place.button;
    const known = await this.#know(place);
    if (this.#anchor !== place.button) return;
    if (!known) return this.hide();
    this.#root.replaceChildren(...this.#content(known));
    this.#root.hidden = false;
    place.button.setAttribute("aria-describedby", this.#root.id);
    this.#stand(place.button.getBoundingClientRect());
  }

  /** The pointer or the focus went elsewhere. */
  leave() {
    clearTimeout(this.#leaving);
    this.#leaving = setTimeout(() => {
      if (this.#anchor && this.#anchor === document.activeElement) return;
      this.hide();
    }, GRACE);
  }

  hide() {
    clearTimeout(this.#leaving);
    this.#anchor?.removeAttribute("aria-describedby");
    this.#anchor = null;
    this.#root.hidden = true;
  }

  /** @param {Known} known */
  #content({ token, tags }) {
    const tagSet = this.tagSet();
    const rows = tags.map(({ tag, probability }) => {
      const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
      bar.firstChild.style.width = `${100 * probability}%`;
      const row = element(
        "li",
        {},
        element("span", { class: "bar-tag" }, tag),
        bar,
        element("span", { class: "bar-value" }, percent(probability)),
      );
      if (tagSet) paint(row, tagSet.colours.get(tagSet.labelOf(tag)));
      return row;
    });
    const words = tagSet?.gloss(tagSet.labelOf(tags[0]?.tag ?? ""));
    return [
      element("p", { class: "card-word" }, element("bdi", {}, token)),
      ...(words ? [element("p", { class: "card-gloss" }, words)] : []),
      element("ol", { class: "bars" }, ...rows),
    ];
  }

  #follow() {
    if (this.#anchor && !this.#root.hidden) this.#stand(this.#anchor.getBoundingClientRect());
  }

  /** Below the token, or above it where there is no room. @param {DOMRect} token */
  #stand(token) {
    const { width, height } = this.#root.getBoundingClientRect();
    const room = document.documentElement.clientWidth - width - MARGIN;
    const left = Math.max(MARGIN, Math.min(token.left + token.width / 2 - width / 2, room));
    const below = token.bottom + MARGIN;
    const top = below + height > innerHeight && token.top > height + MARGIN ? token.top - height - MARGIN : below;
    this.#root.style.left = `${Math.round(left)}px`;
    this.#root.style.top = `${Math.round(top)}px`;
  }
}

/** What went wrong (an alert) and what the page did of its own accord (a notice), each until it is dismissed. */

import { byId, element } from "./dom.js";

/** @param {string} text */
export function showError(text) {
  show(byId("alerts"), "error", text);
}

export function clearErrors() {
  byId("alerts").replaceChildren();
}

/**
 * @param {string} text
 * @param {{ label: string, act: () => void }} [action]
 */
export function showNotice(text, action) {
  show(byId("notices"), "notice", text, action);
}

/**
 * @param {HTMLElement} region
 * @param {string} kind
 * @param {string} text
 * @param {{ label: string, act: () => void }} [action]
 */
function show(region, kind, text, action) {
  const message = element("div", { class: `message ${kind}` }, element("p", {}, text));
  if (action) {
    const button = element("button", { type: "button" }, action.label);
    button.addEventListener("click", action.act);
    message.append(button);
  }
  const close = element("button", { type: "button", class: "quiet", "aria-label": "Dismiss this message" }, "✕");
  close.addEventListener("click", () => message.remove());
  message.append(close);
  // One at a time: what is said last is what holds.
  region.replaceChildren(message);
}

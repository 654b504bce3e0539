/** A sentence in the address: `#text=…`, and nothing else. */

/** What a link may hold; beyond that, some programs cut it off. */
const MAX_LENGTH = 4000;

/** @returns {string | null} the text that the address asks for */
export function linkedText() {
  return location.hash.startsWith("#text=") ? new URLSearchParams(location.hash.slice(1)).get("text") : null;
}

/**
 * @param {string} text
 * @returns {string}
 * @throws {RangeError} it is too long for a link
 */
export function linkTo(text) {
  const hash = `text=${encodeURIComponent(text.toWellFormed?.() ?? text)}`;
  if (hash.length > MAX_LENGTH) throw new RangeError("This text is too long for a link.");
  const url = new URL(location.href);
  url.hash = hash;
  url.search = "";
  return url.href;
}

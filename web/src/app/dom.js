/** Makes elements. Whatever comes from files and users goes in as text, never as markup. */

/**
 * @param {string} id
 * @returns {any} the element of the page with this id
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {string} name
 * @param {Record<string, string | boolean | number | undefined>} [attributes] `class` and the like; true is an empty
 *     value, false and undefined none
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/**
 * The addresses that may run as workers: two, both of this folder. The page's policy (Trusted Types) has the browser
 * refuse all others, and with them any markup made of data.
 */

const ALLOWED = new Map(
  ["../sw.js", "./tagger.worker.js"].map((path) => [path, new URL(path, import.meta.url).href]),
);

const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("lstm-deploy", {
  createScriptURL(/** @type {string} */ url) {
    if ([...ALLOWED.values()].includes(url)) return url;
    throw new TypeError(`${url} is no script of this page`);
  },
});

/**
 * @param {"../sw.js" | "./tagger.worker.js"} path
 * @returns {any}
 */
export function scriptUrl(path) {
  const url = String(ALLOWED.get(path));
  return policy ? policy.createScriptURL(url) : url;
}

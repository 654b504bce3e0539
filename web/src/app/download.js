/** A file of this folder, with word of how far it is. */

/** Milliseconds between two reports. */
const REPORT_EVERY = 100;

/**
 * @param {{ url: string, bytes: number }} file `bytes`: its size, which `Content-Length` does not tell where the
 *     server compresses
 * @param {string} part what it is, for the reports
 * @param {(progress: import("./engine.js").Progress) => void} report
 * @returns {Promise<Uint8Array>}
 */
export async function download({ url, bytes }, part, report) {
  const response = await fetch(url).catch((error) => {
    throw new Error(`the ${part} cannot be loaded (${error.message}); check the connection and reload the page`);
  });
  if (!response.ok || !response.body) {
    throw new Error(`the ${part} cannot be loaded (status ${response.status}); was the folder copied whole?`);
  }
  const content = new Uint8Array(bytes);
  let loaded = 0;
  let reported = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > bytes) throw new Error(changed(part, bytes));
    content.set(value, loaded);
    loaded += value.length;
    if (performance.now() - reported > REPORT_EVERY) {
      reported = performance.now();
      report({ part, loaded, total: bytes });
    }
  }
  if (loaded !== bytes) throw new Error(changed(part, bytes));
  report({ part, loaded, total: bytes });
  return content;
}

/**
 * @param {string} part
 * @param {number} bytes
 */
const changed = (part, bytes) =>
  `the ${part} is not of the ${bytes} bytes it should have; the page was changed or the download cut off: reload it`;

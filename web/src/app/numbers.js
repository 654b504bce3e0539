/** Numbers as people read them. */

const whole = new Intl.NumberFormat("en");

/** @param {number} value */
export const count = (value) => whole.format(value);

/**
 * @param {number} value
 * @param {string} one what is counted, in the singular
 * @param {string} [many] in the plural
 */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** @param {number} probability */
export const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e3) return counted(bytes, "byte");
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} ms */
export const duration = (ms) => (ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`);

/**
 * Three digits are all that a time measured once is worth.
 *
 * @param {number} tokens
 * @param {number} ms
 */
export function rate(tokens, ms) {
  const perSecond = tokens / (Math.max(ms, 0.01) / 1000);
  return `${count(Number(perSecond.toPrecision(perSecond < 1000 ? 2 : 3)))} tokens/s`;
}

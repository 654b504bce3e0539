/** Text as it is typed -> tagged lines: after a moment's rest, one run at a time, the latest text wins. */

/** Milliseconds from a change to the run; changes meanwhile are part of it. */
const REST = 40;

/** @typedef {{ lines: import("./engine.js").Tagged[], ms: number }} LiveResult */

export class Live {
  #tag;
  #onResult;
  #onError;
  /** @type {string | null} what waits to be tagged */
  #wanted = null;
  #running = false;

  /**
   * @param {(lines: string[]) => Promise<{ sentences: import("./engine.js").Tagged[], ms: number }>} tag
   * @param {(result: LiveResult) => void} onResult
   * @param {(error: Error) => void} onError
   */
  constructor(tag, onResult, onError) {
    this.#tag = tag;
    this.#onResult = onResult;
    this.#onError = onError;
  }

  /** @param {string} text */
  async update(text) {
    this.#wanted = text;
    if (this.#running) return;
    this.#running = true;
    await new Promise((resolve) => setTimeout(resolve, REST));
    while (this.#wanted !== null) {
      const lines = this.#wanted.split("\n").filter((line) => line.trim());
      this.#wanted = null;
      try {
        const { sentences, ms } = await this.#tag(lines);
        this.#onResult({ lines: sentences, ms });
      } catch (error) {
        // What the next text gives counts, not what became of this one.
        if (this.#wanted === null) this.#onError(/** @type {Error} */ (error));
      }
    }
    this.#running = false;
  }
}

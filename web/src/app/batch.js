/** Many lines: tagged piece by piece, shown as they come, taken along as a file. */

import { BatchText } from "./batch-text.js";
import { byId, element } from "./dom.js";
import { conllu, jsonLine, tsv } from "./formats.js";
import { showError } from "./messages.js";
import { count, counted, duration, rate } from "./numbers.js";
import { pieces } from "./sentences.js";
import { MOST_ROWS, TokenTable } from "./token-table.js";

/** What tags. @typedef {{ engine: import("./engine.js").Engine, tagSet: import("./tag-set.js").TagSet }} InUse */

export class Batch {
  #inUse;
  #text = new BatchText();
  /** @type {import("./formats.js").Sentence[]} */
  #sentences = [];
  #column = "tag";
  /** Counts runs; one that is no longer the latest ends. */
  #run = 0;

  /** @param {() => InUse | null} inUse what tags at the moment */
  constructor(inUse) {
    this.#inUse = inUse;
    byId("batch-run").addEventListener("click", () => this.#start());
    byId("batch-stop").addEventListener("click", () => this.stop());
    const file = byId("batch-file");
    byId("batch-open").addEventListener("click", () => file.click());
    file.addEventListener("change", async () => {
      if (!file.files.length) return;
      try {
        this.fill(await file.files[0].text());
      } catch (error) {
        showError(`${file.files[0].name} cannot be read (${error.message}).`);
      }
      file.value = "";
    });
    byId("batch-copy").addEventListener("click", () => this.#copy());
    byId("batch-tsv").addEventListener("click", () => this.#save(tsv, "tagged.tsv", "text/tab-separated-values"));
    byId("batch-jsonl").addEventListener("click", () => this.#save(jsonLine, "tagged.jsonl", "application/jsonl"));
    byId("batch-conllu").addEventListener("click", () => {
      this.#save((sentence) => conllu(sentence, this.#column), "tagged.conllu", "text/plain");
    });
  }

  /** @param {string} text to tag */
  fill(text) {
    this.#text.fill(text);
  }

  /** Ends the run under way, if there is one; what it found so far stays. */
  stop() {
    this.#run++;
  }

  async #start() {
    const inUse = this.#inUse();
    if (!inUse) return;
    const { text, cut } = this.#text;
    const run = ++this.#run;
    const isLatest = () => run === this.#run;
    this.#sentences = [];
    this.#column = inUse.tagSet.column;
    const table = new TokenTable(byId("batch-table"), inUse.tagSet);
    byId("batch-results").hidden = true;
    this.#showRunning(true);
    const started = performance.now();
    let outcome = "Done";
    try {
      for await (const { found, done } of tagged(inUse.engine, pieces(text, cut), isLatest)) {
        this.#sentences.push(...found.sentences);
        table.add(found.sentences);
        byId("batch-results").hidden = false;
        byId("batch-progress").value = done / text.length;
        byId("batch-status").textContent = summary(this.#sentences, table.tokens, performance.now() - started);
        if (found.refused) {
          showError(`Stopped at sentence ${count(this.#sentences.length + 1)}: ${found.refused.message}`);
          outcome = "Stopped";
          break;
        }
      }
      if (!isLatest()) outcome = "Stopped";
    } catch (error) {
      outcome = "Stopped";
      if (error.name !== "Stopped") showError(error.message);
    }
    const line = `${outcome}: ${summary(this.#sentences, table.tokens, performance.now() - started)}`;
    byId("batch-status").textContent = line;
    byId("batch-announcement").textContent = line;
    byId("batch-more").hidden = table.tokens <= MOST_ROWS;
    byId("batch-more").textContent = `The table ends after ${count(MOST_ROWS)} tokens; the files have all.`;
    if (isLatest() || outcome === "Stopped") this.#showRunning(false);
  }

  /** @param {boolean} running */
  #showRunning(running) {
    byId("batch-progress").hidden = !running;
    byId("batch-progress").value = 0;
    byId("batch-stop").disabled = !running;
    byId("batch-run").disabled = running;
    for (const id of ["batch-copy", "batch-tsv", "batch-jsonl", "batch-conllu"]) byId(id).disabled = running;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#sentences.map(tsv).join(""));
      byId("batch-announcement").textContent = "Copied.";
      confirmOn(byId("batch-copy"), "Copied");
    } catch (error) {
      showError(`The browser does not let the page copy (${error.message}); use “Save TSV”.`);
    }
  }

  /**
   * @param {(sentence: import("./formats.js").Sentence) => string} write
   * @param {string} name
   * @param {string} type
   */
  #save(write, name, type) {
    const url = URL.createObjectURL(new Blob(this.#sentences.map(write), { type: `${type};charset=utf-8` }));
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

/**
 * The pieces as tagged, in order. The next one is with the worker while one is shown.
 *
 * @param {import("./engine.js").Engine} engine
 * @param {ReturnType<typeof pieces>} source
 * @param {() => boolean} goOn
 */
async function* tagged(engine, source, goOn) {
  const start = () => {
    const { value } = source.next();
    if (!value) return null;
    const answer = engine.tagMany(value.sentences);
    // Whoever awaits it gets the error; meanwhile it may fail unwatched.
    answer.catch(() => undefined);
    return { answer, done: value.done };
  };
  for (let running = start(); running; ) {
    const next = start();
    const found = await running.answer;
    if (!goOn()) return;
    yield { found, done: running.done };
    running = next;
  }
}

/**
 * @param {import("./formats.js").Sentence[]} sentences
 * @param {number} tokens
 * @param {number} ms
 */
function summary(sentences, tokens, ms) {
  if (!tokens) return "nothing to tag";
  return `${counted(sentences.length, "sentence")}, ${counted(tokens, "token")} in ${duration(ms)}, ${rate(tokens, ms)}`;
}

/**
 * @param {HTMLElement} button
 * @param {string} text
 */
export function confirmOn(button, text) {
  const before = (button.dataset.name ??= button.textContent ?? "");
  button.textContent = text;
  setTimeout(() => (button.textContent = before), 1500);
}

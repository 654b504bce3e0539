/** The page: puts the parts together, and holds what is in use (engine, model, runtime). */

import { Batch, confirmOn } from "./batch.js";
import { Card } from "./card.js";
import { byId, element } from "./dom.js";
import { Engine } from "./engine.js";
import { examplesFor } from "./examples.js";
import { Legend } from "./legend.js";
import { linkedText, linkTo } from "./link.js";
import { Live } from "./live.js";
import { clearErrors, showError, showNotice } from "./messages.js";
import { acceptModels } from "./model-files.js";
import { showFacts } from "./model-panel.js";
import { count, counted, duration, rate, size } from "./numbers.js";
import { keepAll, startOffline, watchUpdates } from "./offline.js";
import { onLongPaste } from "./paste.js";
import { choices, markChosen, showChoices } from "./providers.js";
import { SentenceView } from "./sentence-view.js";
import { startTabs } from "./tabs.js";
import { TagSet, UNCERTAIN } from "./tag-set.js";
import { startTheme } from "./theme.js";

/** Milliseconds of rest after which a screen reader is told of the result: not at every key. */
const ANNOUNCE_AFTER = 1000;
/** Errors that are the runtime's, not the text's. */
const BROKEN = new Set(["RuntimeFailure", "WorkerFailure"]);
/** Longer texts are for the other tab. */
const MOST_CHARACTERS = 20_000;

/**
 * @typedef {object} Site what the builder wrote of this folder
 * @property {{ file: string, url: string, bytes: number, examples: string[] }} model
 * @property {Record<"wasm" | "webgpu", Record<string, { url: string, bytes: number }>>} runtimes
 */

/** @type {Site} */
let site;
/** @type {Engine | null} */
let engine = null;
/** Where the model can run; the first one is what others fall back to. @type {import("./providers.js").Choice[]} */
let offered = [];
/** @type {import("./providers.js").Choice} */
let choice;
/** @type {{ file: string, source: import("./engine.js").ModelSource, tagSet: TagSet } | null} */
let model = null;
let switching = Promise.resolve();
/** What the page shows. @type {import("./engine.js").Tagged[]} */
let shown = [];
/** Line of what is shown -> its distributions, once asked for. @type {Map<number, Promise<any>>} */
let distributions = new Map();
let announcing = 0;

const text = byId("text");
const card = new Card(byId("card"), known, () => model?.tagSet ?? null);
const view = new SentenceView(byId("tagged"), card);
const legend = new Legend((label) => view.highlight(label));
const batch = new Batch(() => (engine && model ? { engine, tagSet: model.tagSet } : null));
const live = new Live((lines) => using().tag(lines), showTagged, onTagError);

start().catch((error) => {
  byId("loading").hidden = true;
  showError(`The tagger could not start: ${error.message}`);
});

async function start() {
  startTheme(byId("theme"));
  startTabs(/** @type {HTMLElement} */ (document.querySelector('[role="tablist"]')));
  acceptModels(openFile);
  startText();
  byId("selftest").addEventListener("click", selfTest);
  const isolation = await startOffline(() => text.value === (linkedText() ?? ""));
  site = await readSite();
  offered = await choices(isolation, site.runtimes.webgpu);
  showChoices(offered, (next) => switchTo(next, `Now on ${next.name}.`));
  choice = offered[0];
  markChosen(choice);
  engine = await startEngine(choice);
  await useModel(site.model.file, { url: site.model.url, bytes: site.model.bytes }, site.model.examples);
  if (isolation.registration) {
    watchUpdates(isolation.registration, (activate) => {
      showNotice("A newer version of this page is ready.", { label: "Use it", act: activate });
    });
  }
  await showOffline(isolation);
}

/** @returns {Promise<Site>} with addresses in full, as the worker has another base */
async function readSite() {
  const response = await fetch("site.json");
  if (!response.ok) throw new Error(`site.json cannot be loaded (status ${response.status})`);
  const read = await response.json();
  for (const file of [read.model, ...Object.values(read.runtimes).flatMap((files) => Object.values(files))]) {
    file.url = new URL(file.url, document.baseURI).href;
  }
  return read;
}

/** @param {import("./offline.js").Isolation} isolation */
async function showOffline({ reason, registration }) {
  const chip = byId("offline");
  const kept = registration !== null && (await keepAll());
  chip.textContent = kept ? "Works offline" : "Online only";
  if (!kept) chip.title = `Not kept for offline use: ${registration ? "the files could not be stored" : reason}.`;
  chip.hidden = false;
}

function startText() {
  text.value = linkedText() ?? "";
  onLongPaste(text, (long) => {
    takeToBatch(long);
    showNotice("A text this long is for “Many lines”: here it is.");
  });
  const update = () => {
    clearTimeout(announcing);
    tagText();
  };
  text.addEventListener("input", update);
  addEventListener("hashchange", () => {
    const linked = linkedText();
    if (linked === null) return;
    text.value = linked;
    update();
  });
  byId("clear").addEventListener("click", () => {
    text.value = "";
    text.focus();
    update();
  });
  byId("copy-link").addEventListener("click", async () => {
    try {
      const link = linkTo(text.value);
      history.replaceState(null, "", link);
      await navigator.clipboard.writeText(link);
      confirmOn(byId("copy-link"), "Link copied");
    } catch (error) {
      if (error instanceof RangeError) showError(error.message);
      else showNotice("The browser does not let the page copy; the link stands in the address bar.");
    }
  });
}

/** Tags what stands in the text field, if it is short enough to be read word by word. */
async function tagText() {
  if (!model) return;
  if (text.value.length <= MOST_CHARACTERS) return live.update(text.value);
  const button = element("button", { type: "button" }, "Take it to “Many lines”");
  button.addEventListener("click", () => takeToBatch(text.value));
  await live.update("");
  showInstead(`${count(text.value.length)} characters are too long to be shown word by word.`, button);
}

/** @param {string} long */
function takeToBatch(long) {
  batch.fill(long);
  byId("tab-batch").click();
  byId("batch-run").focus();
}

/**
 * What stands in the place of tagged words, for once.
 *
 * @param {string} message
 * @param {...HTMLElement} actions
 */
function showInstead(message, ...actions) {
  shown = [];
  if (model) {
    view.show([], model.tagSet);
    legend.show([], model.tagSet);
  }
  byId("tagged").append(element("div", { class: "instead" }, element("p", {}, message), ...actions));
  byId("speed").textContent = "";
  announce(message);
}

/** Tells a screen reader, once typing has rested. @param {string} message */
function announce(message) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (byId("announcement").textContent = message), ANNOUNCE_AFTER);
}

/** @param {import("./providers.js").Choice} choice */
async function startEngine({ provider, threads }) {
  const fresh = new Engine(showProgress);
  try {
    await fresh.start({ provider, threads, files: site.runtimes[provider] });
    return fresh;
  } catch (error) {
    fresh.stop();
    throw error;
  }
}

/** @param {import("./engine.js").Progress} progress */
function showProgress({ part, loaded, total }) {
  byId("loading-text").textContent = `Loading the ${part}: ${size(loaded)} of ${size(total)}`;
  byId("loading-bar").value = loaded / total;
}

/**
 * @param {string} file
 * @param {import("./engine.js").ModelSource} source
 * @param {string[]} [chosenExamples]
 */
async function useModel(file, source, chosenExamples) {
  const { metadata, bytes } = await using().open(source);
  batch.stop();
  model = { file, source, tagSet: new TagSet(metadata) };
  byId("loading").hidden = true;
  showFacts(file, bytes, metadata);
  byId("selftest").disabled = false;
  byId("selftest-result").replaceChildren();
  byId("batch-run").disabled = false;
  const examples = examplesFor(metadata, chosenExamples);
  showExamples(examples);
  if (!text.value && linkedText() === null) text.value = examples[0] ?? "";
  await tagText();
}

/** @param {File} file */
async function openFile(file) {
  if (!engine) return;
  clearErrors();
  try {
    // Read now: the file may be gone by the time another runtime asks for the model again.
    const blob = new Blob([await file.arrayBuffer()]);
    await useModel(file.name, { blob });
  } catch (error) {
    const still = model ? ` Still using ${model.file}.` : "";
    showError(`${file.name}: ${error.message}.${still}`);
  }
}

/** @param {string[]} examples */
function showExamples(examples) {
  byId("examples-block").hidden = !examples.length;
  byId("examples").replaceChildren(
    ...examples.map((example) => {
      const button = element("button", { type: "button", dir: "auto" }, example);
      button.addEventListener("click", () => {
        text.value = example;
        tagText();
      });
      return element("li", {}, button);
    }),
  );
}

/**
 * Another runtime, after the changes asked for before.
 *
 * @param {import("./providers.js").Choice} next
 * @param {string} news what to say if it works
 */
function switchTo(next, news) {
  switching = switching.then(() => switchNow(next, news)).catch((error) => showError(error.message));
  return switching;
}

/**
 * The runtime in use stays in use until the other one has the model open, and if it fails, for good.
 *
 * @param {import("./providers.js").Choice} next
 * @param {string} news
 */
async function switchNow(next, news) {
  const before = engine;
  if (!model || next === choice) return;
  byId("providers").setAttribute("aria-busy", "true");
  let fresh = null;
  try {
    fresh = await startEngine(next);
    for (let opened = null; opened !== model; ) {
      opened = model;
      await fresh.open(opened.source);
    }
  } catch (error) {
    fresh?.stop();
    markChosen(choice);
    showNotice(`${next.name} does not work here (${error.message}). Still on ${choice.name}.`);
    return;
  } finally {
    byId("providers").removeAttribute("aria-busy");
  }
  engine = fresh;
  choice = next;
  batch.stop();
  before?.stop();
  markChosen(next);
  showNotice(news);
  await tagText();
}

/** @returns {Engine} */
function using() {
  if (!engine) throw new Error("the tagger has not started");
  return engine;
}

/** @param {import("./live.js").LiveResult} result */
function showTagged({ lines, ms }) {
  if (!model) return;
  shown = lines;
  distributions = new Map();
  const more = view.show(lines, model.tagSet);
  legend.show(lines, model.tagSet);
  const tokens = lines.reduce((sum, sentence) => sum + sentence.tokens.length, 0);
  const uncertain = lines.reduce((sum, { scores }) => sum + scores.filter((score) => score < UNCERTAIN).length, 0);
  byId("speed").textContent = tokens
    ? `${counted(tokens, "token")} in ${duration(ms)}, ${rate(tokens, ms)} · ${choice.name}` +
      (more ? ` · ${count(more)} more are not shown: use “Many lines”` : "")
    : "Nothing to tag yet.";
  announce(`${counted(tokens, "token")} tagged, ${uncertain} uncertain.`);
}

/** @param {Error} error */
function onTagError(error) {
  // An engine that was replaced: the new one is asked already.
  if (error.name === "Stopped") return;
  const fallback = offered[0];
  if (BROKEN.has(error.name) && choice !== fallback) {
    switchTo(fallback, `${choice.name} failed (${error.message}). Now on ${fallback.name}.`);
  } else {
    // About the text, so it stands in the text's place, and is not shouted at each key.
    showInstead(error.message);
  }
}

/** @param {import("./sentence-view.js").Place} place */
async function known({ line, index }) {
  const sentence = shown[line];
  if (!distributions.has(line)) distributions.set(line, using().distribution(sentence.tokens));
  try {
    const all = await distributions.get(line);
    return sentence === shown[line] ? { token: sentence.tokens[index], tags: all[index] } : null;
  } catch {
    // The model was changed meanwhile; its tags are on their way.
    return null;
  }
}

async function selfTest() {
  const button = byId("selftest");
  const result = byId("selftest-result");
  button.disabled = true;
  result.textContent = "Running…";
  try {
    const { cases, tokens, maxDifference, failures } = await using().selfTest();
    const what = `${counted(cases, "case")}, ${counted(tokens, "token")}`;
    const largest = `largest difference of a log-probability ${maxDifference.toPrecision(2)}`;
    if (!cases) result.textContent = "The file carries no cases.";
    else if (!failures.length) result.replaceChildren(element("p", { class: "good" }, `✓ Agrees: ${what}; ${largest}.`));
    else {
      result.replaceChildren(
        element("p", { class: "bad" }, `✗ Differs ${counted(failures.length, "time")}: ${what}; ${largest}.`),
        element("ul", {}, ...failures.slice(0, 5).map((failure) => element("li", {}, failure))),
      );
    }
  } catch (error) {
    result.replaceChildren(element("p", { class: "bad" }, `✗ ${error.message}`));
  }
  button.disabled = false;
}

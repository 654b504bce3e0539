/** Where the model can run here, and why not elsewhere. */

import { byId, element } from "./dom.js";
import { size } from "./numbers.js";

/**
 * @typedef {object} Choice
 * @property {"wasm" | "threads" | "webgpu"} id
 * @property {string} name
 * @property {"wasm" | "webgpu"} provider
 * @property {number} threads
 * @property {string} hint
 * @property {string} reason why it cannot be chosen; empty if it can
 */

const MOST_THREADS = 4;

/**
 * @param {import("./offline.js").Isolation} isolation
 * @param {Record<string, { bytes: number }>} gpuFiles
 * @returns {Promise<Choice[]>} the default one first
 */
export async function choices({ isolated, reason }, gpuFiles) {
  const cores = navigator.hardwareConcurrency || 1;
  const threads = Math.max(2, Math.min(cores, MOST_THREADS));
  return [
    { id: "wasm", name: "WebAssembly, 1 thread", provider: "wasm", threads: 1, hint: "Best for short texts", reason: "" },
    {
      id: "threads",
      name: `WebAssembly, ${threads} threads`,
      provider: "wasm",
      threads,
      hint: "For many lines and larger models: try which is faster",
      reason: !isolated ? `Not available: ${reason}.` : cores < 2 ? "Not available: there is one processor core." : "",
    },
    {
      id: "webgpu",
      name: "WebGPU",
      provider: "webgpu",
      threads: 1,
      hint: `Loads another ${size(Object.values(gpuFiles).reduce((sum, { bytes }) => sum + bytes, 0))}; an LSTM goes step by step there`,
      reason: await noGpu(),
    },
  ];
}

async function noGpu() {
  if (!navigator.gpu) return "Not available: this browser has no WebGPU.";
  try {
    return (await navigator.gpu.requestAdapter()) ? "" : "Not available: WebGPU finds no graphics adapter.";
  } catch (error) {
    return `Not available: ${error.message}.`;
  }
}

/**
 * @param {Choice[]} all
 * @param {(choice: Choice) => void} onChoose
 */
export function showChoices(all, onChoose) {
  byId("providers").replaceChildren(
    ...all.map((choice) => {
      const id = `provider-${choice.id}`;
      const input = element("input", {
        type: "radio",
        name: "provider",
        id,
        value: choice.id,
        disabled: Boolean(choice.reason),
        "aria-describedby": `${id}-note`,
      });
      input.addEventListener("change", () => onChoose(choice));
      return element(
        "div",
        { class: "choice" },
        input,
        element("label", { for: id }, choice.name),
        element("p", { id: `${id}-note` }, choice.reason || choice.hint),
      );
    }),
  );
}

/** @param {Choice} choice */
export function markChosen(choice) {
  byId(`provider-${choice.id}`).checked = true;
}

/** Model files that the user hands over: picked with the button, or dropped anywhere on the page. */

import { byId } from "./dom.js";

/** @param {(file: File) => void} onFile */
export function acceptModels(onFile) {
  const input = byId("model-file");
  byId("model-open").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) onFile(input.files[0]);
    // So that the same file can be picked again after it was changed.
    input.value = "";
  });

  const veil = byId("drop-veil");
  /** @param {DragEvent} event */
  const bringsFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));
  addEventListener("dragover", (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!bringsFiles(event)) return;
    // Else the browser would leave the page for the file.
    event.preventDefault();
    veil.hidden = true;
    const [file] = event.dataTransfer?.files ?? [];
    if (file) onFile(file);
  });
}

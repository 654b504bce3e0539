/** Long texts that are pasted into a text field. */

/** Characters from which a browser's own way to paste, which keeps what it takes to undo it, can be slow. */
const LONG = 20_000;

/**
 * @param {HTMLTextAreaElement} field
 * @param {(text: string) => void} take gets what the field would hold after a long paste, in its stead
 */
export function onLongPaste(field, take) {
  field.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length < LONG || field.readOnly) return;
    event.preventDefault();
    const { value, selectionStart, selectionEnd } = field;
    take(value.slice(0, selectionStart) + text.replace(/\r\n?/g, "\n") + value.slice(selectionEnd));
  });
}

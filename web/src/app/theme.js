/** The theme button: system, light, dark. `first.js` applies the stored choice before the first paint. */

const STORED = "lstm-deploy-theme";
const THEMES = ["system", "light", "dark"];

/** @param {HTMLButtonElement} button */
export function startTheme(button) {
  let theme = document.documentElement.dataset.theme ?? "system";
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    show();
    try {
      if (theme === "system") localStorage.removeItem(STORED);
      else localStorage.setItem(STORED, theme);
    } catch {
      // No storage: the choice lasts as long as the page.
    }
  });
  show();
}

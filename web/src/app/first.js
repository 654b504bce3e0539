/* Runs before the first paint: the chosen theme, and what to say where modules cannot load. A classic script for that. */

(() => {
  try {
    const theme = localStorage.getItem("lstm-deploy-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // No storage: the system's theme it is.
  }
  addEventListener("DOMContentLoaded", () => {
    if (location.protocol !== "file:") return;
    const loading = document.querySelector("#loading");
    if (!loading) return;
    loading.textContent =
      "Browsers do not run this page from a file. Serve the folder, for example with “python3 -m http.server”, and open it from there.";
  });
})();

/** A small web server on localhost for tests and measurements: the client's sources, onnxruntime-web, some files. */

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const FOLDERS = {
  "/client/": join(PACKAGE, "src"),
  "/ort/": dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/wasm"))),
};
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};
const HEADERS = {
  // With these two a page is isolated, and WebAssembly may have threads.
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cache-Control": "public, max-age=31536000, immutable",
};

/**
 * Serves until closed.
 *
 * @param {Record<string, string>} files path on the site -> path of a file
 * @param {Record<string, string>} [pages] path on the site -> HTML
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function serve(files, pages = {}) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    if (path in pages) {
      response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[".html"] }).end(pages[path]);
      return;
    }
    const file = files[path] ?? fileIn(path);
    const size = file ? statSync(file, { throwIfNoEntry: false })?.size : undefined;
    if (!file || size === undefined) {
      response.writeHead(404).end();
      return;
    }
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...HEADERS, "Content-Type": type, "Content-Length": size });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve(undefined));
        server.closeAllConnections();
      }),
  };
}

function fileIn(path) {
  for (const [prefix, folder] of Object.entries(FOLDERS)) {
    if (path.startsWith(prefix)) return join(folder, normalize(`/${path.slice(prefix.length)}`));
  }
  return undefined;
}

/**
 * Builds the page: one folder of static files, for any web server.
 *
 *     node web/build.mjs --model exported/tutorial.onnx --output site
 *
 * Copies the page, the JavaScript client, ONNX Runtime Web and the model; writes what is made of them: `site.json` for
 * the page and `files.js` for the service worker. Needs `npm ci` in clients/javascript, and no network.
 */

import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(HERE);
const CLIENT = join(ROOT, "clients", "javascript");
const RUNTIME = join(CLIENT, "node_modules", "onnxruntime-web");
/**
 * Files of the runtime, by what the page calls them. They get the ending .js, which all servers know.
 *
 * @type {Record<string, Record<string, [string, string]>>}
 */
const RUNTIMES = {
  wasm: {
    script: ["ort.wasm.min.mjs", "ort.wasm.js"],
    loader: ["ort-wasm-simd-threaded.mjs", "ort-wasm.js"],
    wasm: ["ort-wasm-simd-threaded.wasm", "ort-wasm.wasm"],
  },
  webgpu: {
    script: ["ort.webgpu.min.mjs", "ort.webgpu.js"],
    loader: ["ort-wasm-simd-threaded.asyncify.mjs", "ort-webgpu.js"],
    wasm: ["ort-wasm-simd-threaded.asyncify.wasm", "ort-webgpu.wasm"],
  },
};
/** @type {Record<string, string>} */
const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
  wasm: "application/wasm",
  onnx: "application/octet-stream",
};
const MANIFEST = "files.js";

class BuildError extends Error {}

/** @returns {Promise<void>} */
async function build() {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: join(ROOT, "exported", "tutorial.onnx") },
      output: { type: "string", default: join(ROOT, "site") },
      examples: { type: "string" },
    },
  });
  if (!existsSync(RUNTIME)) throw new BuildError("onnxruntime-web is not installed; run `npm ci` in clients/javascript");
  const output = resolve(values.output);
  const model = resolve(values.model);
  const examples = values.examples ? readFileSync(values.examples, "utf8").split("\n").filter((line) => line.trim()) : [];
  await checkModel(model);
  clear(output);
  copyAll(output, model);
  writeFileSync(join(output, "site.json"), `${JSON.stringify(describe(output, model, examples), null, 1)}\n`);
  const files = list(output);
  writeFileSync(join(output, MANIFEST), manifest(output, files));
  report(output, [...files, MANIFEST]);
}

/** The file is one that the page can open. @param {string} path */
async function checkModel(path) {
  if (!existsSync(path)) throw new BuildError(`${path}: no such file; make one with \`lstm-deploy export\``);
  const { readModel } = await import("../clients/javascript/src/index.js");
  try {
    readModel(readFileSync(path));
  } catch (error) {
    throw new BuildError(`${path}: ${error.message}`);
  }
}

/** Empties the folder, if it is one that was made here. @param {string} output */
function clear(output) {
  if (existsSync(output) && readdirSync(output).length && !existsSync(join(output, MANIFEST))) {
    throw new BuildError(`${output} holds other things than a page built before; pass another --output`);
  }
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
}

/**
 * @param {string} output
 * @param {string} model
 */
function copyAll(output, model) {
  cpSync(join(HERE, "src"), output, { recursive: true });
  cpSync(join(CLIENT, "src"), join(output, "client"), { recursive: true });
  for (const files of Object.values(RUNTIMES)) {
    for (const [from, to] of Object.values(files)) cpSync(join(RUNTIME, "dist", from), join(output, "ort", to));
  }
  cpSync(model, join(output, "model", basename(model)));
  // GitHub Pages would run the folder through its site generator.
  writeFileSync(join(output, ".nojekyll"), "");
}

/**
 * What the page reads at its start.
 *
 * @param {string} output
 * @param {string} model
 * @param {string[]} examples
 */
function describe(output, model, examples) {
  const bytes = (/** @type {string} */ path) => readFileSync(join(output, path)).length;
  const file = basename(model);
  const path = `model/${file}`;
  const runtimes = Object.fromEntries(
    Object.entries(RUNTIMES).map(([name, files]) => [
      name,
      Object.fromEntries(
        Object.entries(files).map(([part, [, to]]) => [part, { url: `ort/${to}`, bytes: bytes(`ort/${to}`) }]),
      ),
    ]),
  );
  return { model: { file, url: encodeURI(path), bytes: bytes(path), examples }, runtimes };
}

/** All files of the folder that are served, sorted. @param {string} output */
function list(output) {
  return readdirSync(output, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => relative(output, join(entry.parentPath, entry.name)).split(sep).join(posix.sep))
    .sort();
}

/**
 * @param {string} output
 * @param {string[]} paths
 */
function manifest(output, paths) {
  const files = Object.fromEntries(
    paths.map((path) => {
      const content = readFileSync(join(output, path));
      const type = TYPES[path.split(".").at(-1) ?? ""] ?? "application/octet-stream";
      return [path, { bytes: content.length, sha256: sha256(content), type, start: partOf(path).start }];
    }),
  );
  const version = sha256(JSON.stringify(files)).slice(0, 16);
  // Browsers look for a new service worker by this file's content; the worker itself is among what is hashed.
  delete files["sw.js"];
  return `self.SITE = ${JSON.stringify({ version, files }, null, 1)};\n`;
}

/** @param {string | Buffer} content */
function sha256(content) {
  return createHash("sha256").update(content).digest("hex");
}

/**
 * Which part of the page's weight a file is, and whether the first visit loads it.
 *
 * @param {string} path
 * @returns {{ part: string, start: boolean }}
 */
function partOf(path) {
  if (path.startsWith("client/")) return { part: "the JavaScript client", start: true };
  if (path.startsWith("model/")) return { part: "the model", start: true };
  if (path.startsWith("ort/") && path.includes("webgpu")) return { part: "WebGPU runtime, if chosen", start: false };
  if (path.startsWith("ort/")) return { part: "ONNX Runtime Web", start: true };
  return { part: "the page", start: true };
}

/**
 * @param {string} output
 * @param {string[]} paths
 */
function report(output, paths) {
  /** @type {Map<string, { files: number, raw: number, gzip: number }>} */
  const parts = new Map();
  for (const path of paths) {
    const content = readFileSync(join(output, path));
    const gzip = Math.min(gzipSync(content).length, content.length);
    const start = partOf(path).start;
    const sums = [partOf(path).part];
    if (start) sums.push("first load, in all");
    if (start && !path.startsWith("model/")) sums.push("first load, without the model");
    if (start && !path.startsWith("model/") && !path.startsWith("ort/")) sums.push("of that, ours");
    for (const sum of sums) {
      const { files, raw, gzip: sent } = parts.get(sum) ?? { files: 0, raw: 0, gzip: 0 };
      parts.set(sum, { files: files + 1, raw: raw + content.length, gzip: sent + gzip });
    }
  }
  const order = [
    "the page",
    "the JavaScript client",
    "ONNX Runtime Web",
    "the model",
    "first load, in all",
    "first load, without the model",
    "of that, ours",
    "WebGPU runtime, if chosen",
  ];
  const kb = (/** @type {number} */ bytes) => `${(bytes / 1000).toFixed(1)} kB`.padStart(12);
  console.log(`${"".padEnd(32)}${"files".padStart(5)}${"raw".padStart(12)}${"gzip".padStart(12)}`);
  for (const name of order) {
    const sums = parts.get(name);
    if (sums) console.log(name.padEnd(32) + String(sums.files).padStart(5) + kb(sums.raw) + kb(sums.gzip));
  }
  console.log(`\n${relative(process.cwd(), output) || output} is ready: serve it with any web server.`);
}

try {
  await build();
} catch (error) {
  if (!(error instanceof BuildError) && error.code !== "ERR_PARSE_ARGS_UNKNOWN_OPTION") throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}

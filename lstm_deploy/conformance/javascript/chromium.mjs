// onnxruntime-web in a headless Chromium: chromium.mjs NPM PACKAGE FOLDER START BROWSER PLACE
// The page fetches model and batches from a server of this process, isolated as wasm threads need it, and posts answers.

import { createReadStream, existsSync, mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { AnswerWriter, load, readBatches, said } from "./exchange.mjs";

const [npm, name, folder, start, browser, place] = process.argv.slice(2);
const writer = new AnswerWriter(folder);
const { model, outputs, batches } = readBatches(folder);
const here = fileURLToPath(new URL(".", import.meta.url));
const TYPES = { ".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--no-first-run", "--disable-quic",
  ...(place === "webgpu" ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
    : ["--disable-gpu"]),
];

function fileFor(path) {
  const [, root, ...rest] = path.split("/");
  const roots = { ort: join(npm, name, "dist"), exchange: folder, page: here };
  if (path === "/model") return model;
  return roots[root] && join(roots[root], normalize("/" + rest.join("/")));
}

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  const file = fileFor(decodeURIComponent(path));
  if (!file || !existsSync(file)) return response.writeHead(404, HEADERS).end();
  response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});

async function main() {
  const { chromium } = await load(npm, "playwright-core").then((m) => m.default ?? m);
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const profile = mkdtempSync(join(folder, "profile-")); // goes with the folder, however this ends
  const context = await chromium.launchPersistentContext(profile, { executablePath: browser, args: FLAGS });
  try {
    const page = await context.newPage();
    page.on("crash", () => { console.error("the page crashed"); process.exit(1); });
    await page.exposeFunction("answered", (number, found) => writer.add(number, Object.fromEntries(
      Object.entries(found).map(([key, { type, dims, base64 }]) => [key, { type, dims, bytes: Buffer.from(base64, "base64") }]),
    )));
    await page.exposeFunction("failed", (error, number) => writer.fail(error, number ?? undefined));
    await page.goto(`http://127.0.0.1:${server.address().port}/page/page.html`);
    await page.evaluate(([settings]) => window.tryAll(settings), [
      { place, outputs, start: Number(start), count: batches.length },
    ]);
  } finally {
    await context.close();
  }
}

try {
  await main();
} catch (error) {
  writer.fail(said(error));
}
process.exit(0);

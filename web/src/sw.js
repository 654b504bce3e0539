/**
 * The service worker: the page's files from a cache of their own version, each with the headers that isolate the page.
 *
 * `files.js`, written by the builder, says what there is: `SITE.version`, a hash of all contents, and for each path its
 * size, SHA-256, type and whether the page needs it at its start. A change of any file changes `files.js`, which makes
 * browsers install this worker anew, beside the old one, until the page lets it take over.
 */

/* global SITE */
importScripts("files.js");

const PREFIX = `lstm-deploy ${self.registration.scope} `;
const CACHE = PREFIX + SITE.version;
/** Files up to this size are stored before the worker starts; the page asks for the rest when it runs. */
const SMALL = 400_000;
/** Isolation, and for workers what the page's own meta element says for the page. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "worker-src 'self'; base-uri 'none'; form-action 'none'",
  "X-Content-Type-Options": "nosniff",
};
const DIGEST = "X-Content-SHA256";

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(self.registration.scope)) {
    event.respondWith(answer(event, request));
  }
});
self.addEventListener("message", (event) => {
  if (event.data.kind === "take-over") self.skipWaiting();
  if (event.data.kind === "keep-all") {
    event.waitUntil(keepAll().then((kept) => event.ports[0].postMessage({ kept })));
  }
});

async function install() {
  const updating = (await ownCaches()).length > 0;
  const first = needed().filter(([, file]) => updating || file.bytes <= SMALL);
  await Promise.all(first.map(([path]) => keep(path)));
}

async function activate() {
  await Promise.all((await ownCaches()).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** Caches of other versions of this page; other pages of the same host have their own. */
async function ownCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
}

/** @returns {[string, { bytes: number, sha256: string, type: string, start: boolean }][]} */
function needed() {
  return Object.entries(SITE.files).filter(([, file]) => file.start);
}

/** @returns {Promise<boolean>} all that the page needs is stored */
async function keepAll() {
  const done = await Promise.allSettled(needed().map(([path]) => keep(path)));
  return done.every(({ status }) => status === "fulfilled");
}

/** Path -> its storing under way, so that nothing is fetched twice. */
const underWay = new Map();

/**
 * Stores a file, unless it is stored already.
 *
 * @param {string} path
 * @param {Response} [response] of the network, if there is one
 */
function keep(path, response) {
  if (!underWay.has(path)) underWay.set(path, store(path, response).finally(() => underWay.delete(path)));
  return underWay.get(path);
}

async function store(path, response) {
  const cache = await caches.open(CACHE);
  const url = urlOf(path);
  if (!response && (await cache.match(url))) return;
  const file = SITE.files[path];
  // An update takes over what did not change.
  const before = response ? undefined : await caches.match(url);
  const unchanged = before?.headers.get(DIGEST) === file.sha256;
  const source = unchanged ? before : (response ?? (await fetch(url, { cache: "no-cache" })));
  const body = await source.arrayBuffer();
  const digest = [...new Uint8Array(await crypto.subtle.digest("SHA-256", body))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  if (digest !== file.sha256) throw new Error(`${path} is not of version ${SITE.version}`);
  await cache.put(url, new Response(body, { headers: { ...HEADERS, "Content-Type": file.type, [DIGEST]: digest } }));
}

/** @param {string} path */
function urlOf(path) {
  return new URL(path, self.registration.scope).href;
}

async function answer(event, request) {
  const url = new URL(request.url);
  const path = decodeURI(url.href.slice(self.registration.scope.length).replace(/[?#].*$/s, "")) || "index.html";
  const listed = Object.hasOwn(SITE.files, path);
  if (listed) {
    const stored = await (await caches.open(CACHE)).match(urlOf(path));
    if (stored) return stored;
  }
  const response = await fetch(request);
  // A redirect is for the browser to follow; it has no headers to add to.
  if (!response.status) return response;
  if (listed && response.status === 200) event.waitUntil(keep(path, response.clone()).catch(() => undefined));
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  if (listed) headers.set("Content-Type", SITE.files[path].type);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

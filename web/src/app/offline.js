/**
 * The service worker: keeps the page's files for offline use, and answers with the headers that isolate the page, which
 * threads need. Where there is none, the page works all the same, on one thread and online.
 */

import { scriptUrl } from "./script-urls.js";

const RELOADED = "lstm-deploy-reloaded";
/** How long the first visit waits for the service worker before it goes on without. */
const PATIENCE = 4000;

/**
 * @typedef {object} Isolation
 * @property {boolean} isolated threads can be used
 * @property {string} reason why not; empty if they can
 * @property {ServiceWorkerRegistration | null} registration
 */

/**
 * Registers the service worker; at the first visit reloads the page once, so that its headers take effect.
 *
 * @param {() => boolean} mayReload whether nothing would be lost
 * @returns {Promise<Isolation>} never resolves if the page reloads
 */
export async function startOffline(mayReload) {
  const container = navigator.serviceWorker;
  if (!container) {
    const reason = globalThis.isSecureContext
      ? "this browser, or its private window, has no service workers"
      : "the page did not come over HTTPS";
    return without(reason, null);
  }
  let registration;
  try {
    registration = await container.register(scriptUrl("../sw.js"), { updateViaCache: "none" });
  } catch (error) {
    return without(`the service worker could not start (${error.message})`, null);
  }
  if (crossOriginIsolated) {
    forget();
    return { isolated: true, reason: "", registration };
  }
  if (!(await ready(registration))) return without("the service worker takes its time; reload to try again", registration);
  if (!mayReload()) return without("reload the page to switch them on", registration);
  if (!remember()) return without("the browser does not isolate this page", registration);
  location.reload();
  return new Promise(() => {});
}

/**
 * Has the service worker keep all that the page needs.
 *
 * @returns {Promise<boolean>} whether the page works offline from now on
 */
export async function keepAll() {
  const { controller } = navigator.serviceWorker ?? {};
  if (!controller) return false;
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data.kept);
    controller.postMessage({ kind: "keep-all" }, [port2]);
  });
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {(activate: () => void) => void} onUpdate called when a newer version of the page is ready
 */
export function watchUpdates(registration, onUpdate) {
  /** @param {ServiceWorker | null} worker */
  const offer = (worker) => {
    if (!worker || !navigator.serviceWorker.controller) return;
    onUpdate(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      worker.postMessage({ kind: "take-over" });
    });
  };
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => worker.state === "installed" && offer(registration.waiting));
  });
}

/**
 * @param {string} reason
 * @param {ServiceWorkerRegistration | null} registration
 * @returns {Isolation}
 */
const without = (reason, registration) =>
  crossOriginIsolated ? { isolated: true, reason: "", registration } : { isolated: false, reason, registration };

/** @param {ServiceWorkerRegistration} registration */
async function ready(registration) {
  if (registration.active?.state === "activated") return true;
  return Promise.race([
    navigator.serviceWorker.ready.then(() => true),
    new Promise((resolve) => setTimeout(resolve, PATIENCE, false)),
  ]);
}

/** @returns {boolean} false where the page was reloaded before, or that cannot be known: then never again */
function remember() {
  try {
    if (sessionStorage.getItem(RELOADED)) return false;
    sessionStorage.setItem(RELOADED, "yes");
    return true;
  } catch {
    return false;
  }
}

function forget() {
  try {
    sessionStorage.removeItem(RELOADED);
  } catch {
    // Nothing was remembered.
  }
}

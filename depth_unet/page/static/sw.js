// Keeps the site's files for visits without a network, and adds the headers that a host of plain files may not set.
"use strict";
const VERSION = "$version"; // of all files together
const FIRST = $first; // kept at once; the model and the runtime when they are loaded
const PREFIX = `depth_unet $${registration.scope} `; // other pages of this host have caches, too
const HEADERS = {
  "Content-Security-Policy": "$policy", // of workers, which do not inherit it from the page
  "Cross-Origin-Opener-Policy": "same-origin", // these two allow threads
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const opened = () => caches.open(PREFIX + VERSION);

// A new version replaces the old one at once: open pages have loaded all that they need, except a model not yet chosen.
addEventListener("install", event => event.waitUntil(opened()
  .then(cache => cache.addAll(FIRST.map(file => new Request(file, {cache: "reload"})))).then(() => skipWaiting())));

addEventListener("activate", event => event.waitUntil(caches.keys().then(names => Promise.all(
  names.filter(name => name.startsWith(PREFIX) && name !== PREFIX + VERSION).map(name => caches.delete(name))))));

// A page that starts asks which version it will get files of. It may have been loaded without this worker so far.
addEventListener("message", event => event.waitUntil(clients.claim().then(() => event.ports[0].postMessage(VERSION))));

addEventListener("fetch", event => {
  if (event.request.method === "GET" && event.request.url.startsWith(registration.scope)) event.respondWith(answer(event));
});

async function answer(event) {
  const cache = await opened(), found = await cache.match(event.request, {ignoreSearch: true}), response = found ?? await fetch(event.request, {cache: "no-cache"});
  if (response.status !== 200) return response;
  if (!found) event.waitUntil(cache.put(event.request, response.clone()));
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, {headers});
}

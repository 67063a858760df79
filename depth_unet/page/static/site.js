// The page around the viewer: takes a photo in, has the worker compute, shows the depth. No photo leaves this device.
"use strict";
const site = JSON.parse(document.getElementById("site").textContent);
const parts = Object.fromEntries([...document.querySelectorAll("[id]")].map(part => [part.id, part]));
const viewer = new DepthViewer(parts.viewer, {kinds: ["glb", "ply"], download: (kind, state) => ask("surface", {kind, state})});
const LARGEST_KEPT = 3e6; // bytes; a larger photo is kept for a reload of the tab as a picture of 1280 pixels
const NEWER = "reloaded for a newer version"; // in the tab's history

const later = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const happens = (target, event) => new Promise(resolve => target.addEventListener(event, resolve, {once: true}));

let worker = null; // computes
let photo = null; // what is shown: {photo, name}
let latest = 0; // the number of the newest question; older answers are no longer wanted

// ---- the worker ----
// Post a question with a port of its own for the answer.
function portOf(target, question) {
  const {port1, port2} = new MessageChannel();
  target.postMessage(question, [port2]);
  port1.start();
  return port1;
}

function ask(task, given) {
  const port = portOf(worker, {task, given});
  return new Promise((resolve, reject) => (port.onmessage = ({data: {result, error, progress}}) => {
    if (progress !== undefined) return (parts.progress.value = progress);
    error === undefined ? resolve(result) : reject(Error(error));
    port.close();
  }));
}

// Run one action at a time, with its name and progress, and its error in one sentence; the picture stays visible.
async function busy(text, action) {
  const number = ++latest;
  parts.error.textContent = "";
  parts.status.textContent = text;
  parts.progress.removeAttribute("value");
  parts.progress.hidden = false;
  const wanted = () => number === latest;
  const done = await action(wanted).catch(error => void (wanted() && (parts.error.textContent = error.message)));
  if (!wanted()) return;
  parts.status.textContent = done ?? "";
  parts.progress.hidden = true;
}

// The service worker keeps the files for visits without a network, and adds the headers that forbid other hosts and
// allow threads. Where there is none, as without HTTPS, the page works without both.
async function register() {
  const {serviceWorker} = navigator, again = history.state === NEWER;
  history.replaceState(null, "");
  try {
    const registration = await serviceWorker.register("sw.js");
    if (registration.active && !again) await update(registration);
    const {active} = await serviceWorker.ready, controlled = happens(serviceWorker, "controllerchange");
    const answer = await Promise.race([happens(portOf(active, "claim"), "message"), later(3000)]);
    // A page must not mix its own files with those of another version. Once, so that no host makes it reload for ever.
    if (answer && answer.data !== site.version && !again) {
      history.replaceState(NEWER, "");
      await new Promise(() => location.reload());
    }
    if (!serviceWorker.controller) await Promise.race([controlled, later(3000)]);
  } catch (error) {
    console.info(`No visits without a network: ${error.message}`);
  }
}

// Ask the host for a newer version before anything is loaded, and let it take over. Without a network there is none.
async function update(registration) {
  await Promise.race([registration.update().catch(() => null), later(5000)]);
  const newer = registration.installing ?? registration.waiting;
  while (newer && !["activated", "redundant"].includes(newer.state)) await happens(newer, "statechange");
}

async function start() {
  await register();
  worker = new Worker("worker.js");
  worker.onerror = () => busy("", () => Promise.reject(Error("This browser cannot run the model. Try a newer one.")));
  const threads = await ask("start", site);
  await ask("load", Number(parts.model.value));
  return threads > 1 ? `Ready, with ${threads} threads. Choose a photo.` : "Ready. Choose a photo.";
}

// ---- the photo ----
function take(file) {
  if (!file) return;
  return busy(`Predicting the depth of ${file.name} …`, async wanted => {
    await ready;
    const {name, focal35mm} = file, made = await ask("predict", {photo: file, name, focal35mm, model: Number(parts.model.value)});
    if (!wanted()) return made.photo.close();
    photo = file;
    viewer.show(made);
    keep(file, made);
    parts.remove.hidden = false;
    return `Predicted in ${made.seconds.toFixed(1)} s on this device.`;
  });
}

// The tab's own photo survives a reload of the tab, not its end.
async function keep(file, {photo: shown, focal35mm}) {
  const kept = file.size > LARGEST_KEPT ? await jpegOf(shown, shown) : file;
  const reader = new FileReader();
  reader.readAsDataURL(kept);
  await happens(reader, "load");
  if (photo !== file) return; // it was removed or replaced meanwhile
  try {
    sessionStorage.setItem("photo", JSON.stringify({name: file.name, focal35mm, content: reader.result}));
  } catch {
    sessionStorage.removeItem("photo"); // no room: the tab starts without a photo after a reload
  }
}

function kept() {
  const {name, focal35mm, content} = JSON.parse(sessionStorage.getItem("photo") ?? "{}");
  if (!name) return null;
  const bytes = Uint8Array.from(atob(content.split(",")[1]), letter => letter.charCodeAt(0));
  return Object.assign(new File([bytes], name), {focal35mm});
}

// A phone's own camera takes the photo, with its lens in the file; elsewhere a dialog shows the webcam.
async function openCamera() {
  if (matchMedia("(pointer: coarse)").matches) return parts.capture.click();
  parts.error.textContent = "";
  try {
    parts.video.srcObject = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment", width: {ideal: 1920}}});
    parts.camera.showModal();
  } catch {
    parts.error.textContent = "No camera can be used: allow it for this page, or choose a photo.";
  }
}

async function takePicture() {
  const {videoWidth: width, videoHeight: height} = parts.video, blob = await jpegOf(parts.video, {width, height});
  parts.camera.close();
  take(new File([blob], "camera.jpg", {type: blob.type}));
}

function jpegOf(picture, {width, height}) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas.convertToBlob({type: "image/jpeg", quality: 0.95});
}

for (const input of [parts.file, parts.capture])
  input.addEventListener("change", () => (take(input.files[0]), (input.value = "")));
parts.webcam.addEventListener("click", openCamera);
parts.shutter.addEventListener("click", takePicture);
parts.camera.addEventListener("close", () => {
  parts.video.srcObject?.getTracks().forEach(track => track.stop());
  parts.video.srcObject = null;
});
parts.remove.addEventListener("click", () => {
  latest++;
  [photo, parts.remove.hidden, parts.progress.hidden] = [null, true, true];
  parts.status.textContent = parts.error.textContent = "";
  sessionStorage.removeItem("photo");
  viewer.clear();
});
parts.model.addEventListener("change", () => photo ? take(photo) : busy("Loading the model …", () => ask("load", Number(parts.model.value))));
addEventListener("paste", ({clipboardData}) => take(clipboardData.files[0]));
addEventListener("dragover", event => event.preventDefault());
addEventListener("drop", event => (event.preventDefault(), take(event.dataTransfer.files[0])));

for (const [index, {title}] of site.models.entries()) parts.model.add(new Option(title, index));
parts.model.closest("label").hidden = site.models.length < 2;
let ready = null;
busy("Loading the model …", () => (ready = start())).then(() => take(kept()));

// The page around the viewer: takes a photo in, has the worker compute, shows the depth. No photo leaves this device.
"use strict";

const site = JSON.parse(document.getElementById("site").textContent);
const parts = Object.fromEntries([...document.querySelectorAll("[id]")].map(part => [part.id, part]));
const viewer = new DepthViewer(parts.viewer, {kinds: ["glb", "ply"], download: (kind, state) => ask("surface", {kind, state})});
const LARGEST_KEPT = 3e6; // bytes; a larger photo is kept for a reload of the tab as a picture of 1280 pixels

let photo = null; // what is shown: {photo, name}
let latest = 0; // the number of the newest question; older answers are no longer wanted

// ---- the worker ----
const waiting = new Map();
let worker = null;

function ask(task, given) {
  return new Promise((resolve, reject) => {
    const id = waiting.size ? Math.max(...waiting.keys()) + 1 : 1;
    waiting.set(id, {resolve, reject});
    worker.postMessage({id, task, given});
  });
}

function answered({data: {id, result, error, progress}}) {
  if (progress !== undefined) return (parts.progress.value = progress);
  const {resolve, reject} = waiting.get(id);
  waiting.delete(id);
  error === undefined ? resolve(result) : reject(Error(error));
}

// Run one action at a time, with its name and progress, and its error in one sentence; the picture stays visible.
async function busy(text, action) {
  const number = ++latest;
  parts.error.textContent = "";
  parts.status.textContent = text;
  parts.progress.removeAttribute("value");
  parts.progress.hidden = false;
  let done = "";
  try {
    done = await action(() => number === latest) ?? "";
  } catch (error) {
    if (number === latest) parts.error.textContent = error.message;
  }
  if (number !== latest) return;
  parts.status.textContent = done;
  parts.progress.hidden = true;
}

// The service worker keeps the files for visits without a network, and adds the headers that forbid other hosts and
// allow threads. Where there is none, as without HTTPS, the page works without both.
async function register() {
  const {serviceWorker} = navigator;
  if (!serviceWorker) return;
  try {
    await serviceWorker.register("sw.js");
    const {active} = await serviceWorker.ready;
    if (serviceWorker.controller) return;
    const controlled = new Promise(resolve => serviceWorker.addEventListener("controllerchange", resolve, {once: true}));
    active.postMessage("claim");
    await Promise.race([controlled, new Promise(resolve => setTimeout(resolve, 3000))]);
  } catch (error) {
    console.info(`No visits without a network: ${error.message}`);
  }
}

async function start() {
  await register();
  worker = new Worker("worker.js");
  worker.onmessage = answered;
  worker.onerror = () => (parts.error.textContent = "This browser cannot run the model. Try a newer one.");
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
  let kept = file;
  if (file.size > LARGEST_KEPT) {
    const canvas = Object.assign(document.createElement("canvas"), {width: shown.width, height: shown.height});
    canvas.getContext("2d").drawImage(shown, 0, 0);
    kept = await new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", 0.95));
  }
  const reader = new FileReader();
  reader.onload = () => {
    try {
      sessionStorage.setItem("photo", JSON.stringify({name: file.name, focal35mm, content: reader.result}));
    } catch {
      sessionStorage.removeItem("photo"); // no room: the tab starts without a photo after a reload
    }
  };
  reader.readAsDataURL(kept);
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
  const {video} = parts, canvas = Object.assign(document.createElement("canvas"), {width: video.videoWidth, height: video.videoHeight});
  canvas.getContext("2d").drawImage(video, 0, 0);
  parts.camera.close();
  canvas.toBlob(blob => take(new File([blob], "camera.jpg", {type: blob.type})), "image/jpeg", 0.95);
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

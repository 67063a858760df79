// Photos on their way to the server: pasted, dropped or chosen, made smaller, and kept in this tab until it is closed.
{
  const PICTURE = /\.(jpe?g|jpe|jfif|mpo|png|webp|avif|tiff?|bmp|gif|hei[cf]|hif)$/i;
  const CLIP = /^video\//, KEPT = "photo", QUALITY = 0.92;
  const ORIENTATION = 0x112, EXIF = 0x8769, WIDTH_RESOLUTION = 0xa20e; // tags
  const SIZES = {1: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}; // bytes of TIFF's types
  const SHORT = 3, LONG = 4, RATIONAL = 5;

  // The segments of a JPEG before its pixels: [marker, first byte, byte after the last], with their marker.
  function* segments(bytes) {
    for (let at = 2; bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
      const end = at + 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
      if (end > bytes.length) return;
      yield [bytes[at + 1], at, end];
      at = end;
    }
  }

  const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

  // Where the entries of an EXIF directory lie in a view of TIFF data: tag -> {type, count, at: offset of the value}.
  function directory(view, little, start) {
    const entries = {};
    if (start + 2 > view.byteLength) return entries;
    for (let n = 0, count = view.getUint16(start, little); n < count; n++) {
      const at = start + 2 + 12 * n;
      if (at + 12 > view.byteLength) break;
      const [type, number] = [view.getUint16(at + 2, little), view.getUint32(at + 4, little)];
      const inside = (SIZES[type] ?? 1) * number <= 4;
      entries[view.getUint16(at, little)] = {type, count: number, at: inside ? at + 8 : view.getUint32(at + 8, little)};
    }
    return entries;
  }

  // Make EXIF data those of the upright picture: the orientation becomes 1, and the sensor's width its height.
  // Returns the orientation until now, 1 to 8, or null where these data are too odd for this.
  function setUpright(segment, aspect) {
    const view = new DataView(segment.buffer, segment.byteOffset + 10, segment.length - 10);
    const little = view.getUint16(0) === 0x4949;
    const main = directory(view, little, view.getUint32(4, little));
    const entry = main[ORIENTATION];
    if (!entry) return 1;
    if (entry.type !== SHORT || entry.count !== 1) return null;
    const orientation = view.getUint16(entry.at, little);
    if (orientation < 2 || orientation > 8) return orientation === 1 ? 1 : null;
    view.setUint16(entry.at, 1, little);
    const more = main[EXIF]?.type === LONG ? directory(view, little, view.getUint32(main[EXIF].at, little)) : {};
    const resolution = more[WIDTH_RESOLUTION];
    if (orientation > 4 && resolution) {
      if (resolution.type !== RATIONAL || resolution.count !== 1 || resolution.at + 8 > view.byteLength) return null;
      const [above, below] = [0, 4].map(part => view.getUint32(resolution.at + part, little));
      const scaled = (above / below) * aspect, unit = Math.floor(2 ** 31 / scaled);
      if (!(unit >= 1 && unit < 2 ** 32)) return null;
      view.setUint32(resolution.at, Math.round(scaled * unit), little);
      view.setUint32(resolution.at + 4, unit, little);
    }
    return orientation;
  }

  // A JPEG with at most so many pixels along its longer side and the same camera; or null, where the file is no such
  // JPEG, is small enough, or is too odd to be changed without changing what the server makes of it.
  async function shrunk(file, longest) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
    const all = [...segments(bytes)];
    const frame = all.find(([marker]) => marker >= 0xc0 && marker <= 0xc3), end = all.at(-1)?.[2];
    if (!frame || bytes[end] !== 0xff || bytes[end + 1] !== 0xda) return null; // damaged
    if (![1, 3].includes(bytes[frame[1] + 9])) return null; // four colours: for printers
    const [height, width] = [5, 7].map(place => (bytes[frame[1] + place] << 8) | bytes[frame[1] + place + 1]);
    const scale = longest / Math.max(width, height);
    if (!(scale < 1)) return null;

    const metadata = all.filter(([marker]) => marker === 0xe1).map(([, at, end]) => bytes.slice(at, end));
    const exif = metadata.filter(segment => text(segment, 4, 6) === "Exif\0\0");
    if (exif.length > 1) return null;
    const orientation = exif.length ? setUpright(exif[0], width / height) : 1;
    if (orientation === null) return null;

    // Without its metadata, so that the browser turns nothing: it is turned here, as the server would.
    const others = all.filter(([marker]) => marker !== 0xe1).map(([, at, end]) => bytes.subarray(at, end));
    const bare = [bytes.subarray(0, 2), ...others, bytes.subarray(end)];
    const [across, down] = [width, height].map(side => Math.max(1, Math.round(side * scale)));
    const options = {resizeWidth: across, resizeHeight: down, resizeQuality: "high"};
    const image = await createImageBitmap(new Blob(bare, {type: "image/jpeg"}), options);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = orientation > 4 ? [down, across] : [across, down];
    const [w, h] = [across, down];
    const turns = {2: [-1, 0, 0, 1, w, 0], 3: [-1, 0, 0, -1, w, h], 4: [1, 0, 0, -1, 0, h], 5: [0, 1, 1, 0, 0, 0],
      6: [0, 1, -1, 0, h, 0], 7: [0, -1, -1, 0, h, w], 8: [0, -1, 1, 0, 0, w]};
    const context = canvas.getContext("2d");
    context.setTransform(...(turns[orientation] ?? [1, 0, 0, 1, 0, 0]));
    context.drawImage(image, 0, 0, across, down);
    image.close();
    const written = await new Promise(done => canvas.toBlob(done, "image/jpeg", QUALITY));
    return written && new File([written.slice(0, 2), ...metadata, written.slice(2)], file.name, {type: "image/jpeg"});
  }

  // As the file travels. Browsers that do not know a picture's type would not let gradio send it.
  async function prepared(file) {
    const whole = document.querySelector("#full-size input")?.checked;
    const smaller = whole ? null : await shrunk(file, depthPage.sentLongest).catch(() => null);
    const known = file.type || !PICTURE.test(file.name);
    return smaller ?? (known ? file : new File([file], file.name, {type: "image/" + file.name.split(".").pop().toLowerCase()}));
  }

  const inputOf = place => document.querySelector(`#${place} input[type=file]`);
  let passing = false;

  // Hand files to gradio as if they had been chosen there.
  function hand(input, files) {
    const transfer = new DataTransfer();
    files.forEach(file => transfer.items.add(file));
    input.files = transfer.files;
    passing = true;
    input.dispatchEvent(new Event("change", {bubbles: true}));
    passing = false;
  }

  // Take what was pasted or dropped anywhere: one photo, several, or a clip, each in its tab.
  async function take(files) {
    const several = files.length > 1 || document.querySelector("#photos")?.offsetParent;
    const place = files.some(file => CLIP.test(file.type)) ? "clip" : several ? "photos" : "photo";
    if (!document.querySelector("#" + place)?.offsetParent) document.querySelector(`#${place}-tab-button`)?.click();
    for (let waited = 0; !inputOf(place) && waited < 50; waited++) await new Promise(done => setTimeout(done, 100));
    const input = inputOf(place);
    if (input) hand(input, place === "photo" ? [await prepared(files[0])] : files);
  }

  const NO_CAMERA = {
    NotAllowedError: "The camera is not allowed on this page: allow it in the browser, or choose a photo.",
    NotFoundError: "This device has no camera: connect one, or choose a photo.",
  };

  // A photo from a camera, or null. The camera is on as long as its dialog is open.
  async function fromCamera() {
    const dialog = document.body.appendChild(document.createElement("dialog")), video = document.createElement("video");
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 2560}, facingMode: "environment"}});
      Object.assign(video, {srcObject: stream, muted: true, playsInline: true});
      await video.play();
      Object.assign(dialog, {className: "camera", ariaLabel: "Camera"});
      dialog.innerHTML = `<form method="dialog"><button value="take">Take photo</button><button value="">Cancel</button></form>`;
      dialog.prepend(video);
      dialog.showModal();
      await new Promise(done => dialog.addEventListener("close", done));
      if (dialog.returnValue !== "take") return null;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d").drawImage(video, 0, 0);
      const content = await new Promise(done => canvas.toBlob(done, "image/jpeg", QUALITY));
      return new File([content], "camera.jpg", {type: "image/jpeg"});
    } finally {
      stream?.getTracks().forEach(track => track.stop());
      dialog.remove();
    }
  }

  const on = (name, listener) => document.addEventListener(name, listener, true);
  on("change", async event => {
    const input = event.target;
    if (passing || input !== inputOf("photo") || !input.files.length) return;
    event.stopImmediatePropagation();
    hand(input, [await prepared(input.files[0])]);
  });
  // File dialogs hide what browsers do not count as pictures.
  on("click", event => event.target.matches?.("#photo input[type=file]") && (event.target.accept = "image/*,.heic,.heif,.hif"));
  on("paste", event => {
    const files = [...event.clipboardData.files];
    if (files.length) event.preventDefault(), take(files);
  });
  const carriesFiles = event => event.dataTransfer?.types.includes("Files");
  on("dragover", event => carriesFiles(event) && event.preventDefault());
  on("drop", event => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    take([...event.dataTransfer.files]);
  });

  Object.assign((window.depthPage ??= {}), {
    // Note which photo this tab shows: {url, orig_name} of an upload, or null.
    keep(file) {
      if (!file?.url) return sessionStorage.removeItem(KEPT);
      sessionStorage.setItem(KEPT, JSON.stringify({url: file.url, name: file.orig_name, until: Date.now() + 1000 * depthPage.keptSeconds}));
    },

    // Take a photo with a camera; what the line beside the button then says, as HTML.
    async camera() {
      try {
        const photo = await fromCamera();
        if (photo) hand(inputOf("photo"), [await prepared(photo)]);
        return "";
      } catch ({name}) {
        const sentence = navigator.mediaDevices ? NO_CAMERA[name] ?? "The camera cannot be used: another program may have it."
          : "Browsers offer the camera on pages with HTTPS only: choose a photo.";
        return `<p class="note" role="alert">${sentence}</p>`;
      }
    },

    // After a reload: the photo that this tab showed, as long as the server has it.
    async restore() {
      const {url, name, until} = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
      if (!(until > Date.now())) return depthPage.keep(null);
      const answer = await fetch(url);
      if (!answer.ok) return depthPage.keep(null);
      const file = new File([await answer.blob()], name, {type: answer.headers.get("content-type")});
      for (let waited = 0; !inputOf("photo") && waited < 50; waited++) await new Promise(done => setTimeout(done, 100));
      hand(inputOf("photo"), [file]);
    },

    // Bring a result into view, also while it grows.
    show(selector) {
      const place = document.querySelector(selector);
      const grows = new ResizeObserver(() => place.scrollIntoView({block: "nearest"}));
      if (place) grows.observe(place);
      setTimeout(() => grows.disconnect(), 2000);
    },
  });
}

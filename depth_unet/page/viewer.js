// The viewer of one depth map: the picture answers under the pointer, and nothing here asks a server. Needs scene.js.
//
//   const viewer = new DepthViewer(element, {onChange, download, kinds});
//   await viewer.show({photo, width, height, depth, uncertainty, camera, cameraFrom, name, ...});
//
// `download(kind, state)` makes the files of `kinds` elsewhere: a promise of {name, url} or {name, blob}. Without it the
// menu has what the browser writes itself. `onChange(state)` follows every change that a person makes.
"use strict";

window.DepthViewer = (() => {
  const {Scene, Space, written, clamp, add, dot, shaded, png16, npy, stl, zip} = window.DepthScene;

  // Every twentieth colour, from near to far, of the maps of depth_unet.colorize; in between they are interpolated.
  const COLOUR_MAPS = {
    viridis: "4401544713654824754634804144873b528b355f8d2f6c8e2a788e25848e21918c1e9c8922a8842fb47c44bf705ec9627ad1519bd93cbddf26dfe318fde725",
    magma: "00000406051a140e362512553b0f7051127c641a807822818c2981a1307eb73779ca3e72de4968ed5a5ff7705cfc8961fe9f6dfeb77efecf92fde7a9fcfdbf",
    inferno: "00000407051b160b392b0b57420a6857106e6a176e7f1e6c932667a82e5fbc3754cc4248dd513aea632af37819f98e09fca50afbbe23f6d746f1ef75fcffa4",
    plasma: "0d08872a059341049d5601a46a00a87e03a88f0da4a11b9bb12a90bf3984cc4778d6556de16462ea7457f2844bf89540fca636feba2cfcce25f7e425f0f921",
    cividis: "00224e002b62083370243c6e35456c434e6c4f576c5b606e6669707272747d7c78888578948e77a19975aea371bcae6cc8b866d6c35de5cf52f3db42fee838",
    turbo: "30123b3d358b4559cb477bf23e9bfe28bceb19d5cd20eaac46f88479fe59a4fc3cc3f134e1dd37f6c33afea431fb7e21f05b12dd3d08c32503a112017a0403",
    Spectral: "9e0142b81e48d43d4fe45549f46d43f98e52fdad60fdc776fee08bfff0a6ffffbef3faace6f598c8e99eaadca486cfa566c2a54ba4b13387bc496aaf5e4fa2",
    gray: "0000000c0c0c1919192626263333334040404c4c4c5959596666667373738080808c8c8c999999a6a6a6b3b3b3c0c0c0ccccccd9d9d9e6e6e6f3f3f3ffffff",
  };
  const NO_DEPTH = [96, 96, 96];
  const KNOWN_OBJECTS = {"A4 sheet, long side": 0.297, "Bank card, long side": 0.0856, "Door, height": 2};
  const PLAUSIBLE = [0.2, 5]; // factors of a calibration that need no question
  const SOURCES = {exif: "from the photo's EXIF data", model: "estimated by the model", given: "typed", assumed: "assumed"};
  const TOOLS = {
    line: {title: "Line", count: 2, hint: "Click two points: the straight line between them."},
    point: {title: "Point", count: 1, hint: "Click a point: its distance from the camera."},
    height: {title: "Height", count: 2, hint: "Click the floor, then a point above it."},
    area: {title: "Area", count: 4, hint: "Click the four corners of a flat rectangle, going round."},
  };
  // Name of the field: its label, first value, least and most; empty near and far are automatic.
  const PRINT = {
    size_mm: ["Longer side, mm", 100, 10, 1000],
    relief_mm: ["Height, mm", 20, 0.1, 500],
    base_mm: ["Base, mm", 2, 0.1, 100],
    frame_mm: ["Frame, mm", 0, 0, 100],
    near: ["Near cut, m", "", 0, 10000],
    far: ["Far cut, m", "", 0, 10000],
    smoothing_mm: ["Smoothing, mm", 0.5, 0, 10],
  };
  const FILES = {
    picture: ["Picture", "As seen here, with marks and scale (PNG)"],
    csv: ["Measurements", "Names and lengths as a table (CSV)"],
    png: ["Depth, 16 bit", "Millimetres as grey values (PNG)"],
    npy: ["Depth, metres", "32-bit numbers for NumPy (NPY)"],
    glb: ["Surface", "For 3-D viewers and games (GLB)"],
    ply: ["Points", "Coloured point cloud (PLY)"],
    stl: ["Relief", "For 3-D printers (STL)"],
    "3mf": ["Relief", "For 3-D printers, with units (3MF)"],
    zip: ["Everything", "All of these files (ZIP)"],
  };
  const INK = "#ffffff", HALO = "#0f172a", ACCENT = "#facc15";

  const rgb = hex => [0, 2, 4].map(place => parseInt(hex.slice(place, place + 2), 16));

  // The colour of a map at `part` of its length, 0 to 1.
  function colour(cmap, part) {
    const stops = COLOUR_MAPS[cmap], place = clamp(part, 0, 1) * (stops.length / 6 - 1), first = Math.floor(place);
    const [one, other] = [first, Math.min(first + 1, stops.length / 6 - 1)].map(stop => rgb(stops.substr(6 * stop, 6)));
    return one.map((value, axis) => Math.round(value + (place - first) * (other[axis] - value)));
  }

  const ramp = cmap => `linear-gradient(to right, ${COLOUR_MAPS[cmap].match(/.{6}/g).map(stop => "#" + stop).join(", ")})`;

  // ---- the viewer ----
  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  const TABS = {look: "Colours", measure: "Measure", space: "3-D", print: "Print", save: "Save"};
  let viewers = 0;

  const template = id => `
    <p class="dv-warning" data-part="warning" role="note" hidden></p>
    <div class="dv-columns">
      <div class="dv-stage">
        <div class="dv-frame" data-part="frame" tabindex="0" role="application" aria-label="The photo with its depth"
          aria-describedby="${id}-keys">
          <canvas data-part="photo"></canvas><canvas data-part="depth"></canvas><canvas data-part="marks"></canvas>
        </div>
        <canvas class="dv-other" data-part="space" tabindex="0" role="application" hidden
          aria-label="The photo in 3-D; arrow keys turn it, plus and minus change the distance, Home turns it back"></canvas>
        <canvas class="dv-other" data-part="relief" role="img" aria-label="The relief as it will be printed" hidden></canvas>
        <p class="dv-hidden" id="${id}-keys">Arrow keys move a cross, with Shift faster; Enter sets a point; Escape removes it.</p>
        <div class="dv-legend" data-part="legend"><span data-part="near"></span><span class="dv-ramp" data-part="ramp"></span><span data-part="far"></span></div>
        <label class="dv-blend" data-part="blending"><span>Photo</span><input type="range" data-part="blend" min="0" max="1" step="0.01"
          aria-label="From photo to depth"><span>Depth</span></label>
        <p class="dv-readout" data-part="readout"><strong data-part="distance"></strong> <span data-part="where"></span></p>
        <p class="dv-hidden" data-part="status" role="status"></p>
      </div>
      <div class="dv-panel">
        <div class="dv-tabs" role="tablist" aria-label="What to do">${Object.entries(TABS).map(([tab, title]) =>
          `<button type="button" role="tab" id="${id}-${tab}" aria-controls="${id}-of-${tab}" data-tab="${tab}">${title}</button>`).join("")}
        </div>
        <div role="tabpanel" data-panel="look">
          <div class="dv-swatches" role="radiogroup" aria-label="Colours">${Object.keys(COLOUR_MAPS).map(cmap =>
            `<label title="${cmap}"><input type="radio" name="${id}-cmap" value="${cmap}" aria-label="${cmap}">
            <span></span></label>`).join("")}
          </div>
          <h3>Distances <button type="button" class="dv-link" data-do="auto">Automatic</button></h3>
          <div class="dv-histogram"><canvas data-part="histogram" width="600" height="160" role="img"
            aria-label="How many pixels lie at which distance"></canvas>
            <input type="range" data-part="nearest" min="0" max="1000" aria-label="Near: the distance of the first colour">
            <input type="range" data-part="farthest" min="0" max="1000" aria-label="Far: the distance of the last colour"></div>
          <p class="dv-note" data-part="span"></p>
        </div>
        <div role="tabpanel" data-panel="measure">
          <div class="dv-choice" role="radiogroup" aria-label="What to measure">${Object.entries(TOOLS).map(([tool, {title}]) =>
            `<label><input type="radio" name="${id}-tool" value="${tool}"><span>${title}</span></label>`).join("")}
          </div>
          <p class="dv-note" data-part="hint"></p>
          <ul class="dv-list" data-part="list" aria-label="Measurements"></ul>
          <figure data-part="profile" hidden><canvas data-part="curve" width="600" height="150" role="img"></canvas>
            <figcaption>Depth along the line</figcaption></figure>
          <form data-part="calibrate" hidden>
            <h3>Is its true length known?</h3>
            <div class="dv-row"><label class="dv-grow">True length, m<input data-part="truth" inputmode="decimal" autocomplete="off"></label>
              <label class="dv-grow">or an object<select data-part="object"><option value="">choose</option>${Object.entries(KNOWN_OBJECTS).map(
                ([name, metres]) => `<option value="${metres}">${name}, ${metres} m</option>`).join("")}</select></label>
              <button class="dv-button">Calibrate</button></div>
          </form>
          <p class="dv-error" data-part="calibration-error" role="alert" hidden></p>
          <p class="dv-row" data-part="question" role="alert" hidden><span class="dv-grow"></span>
            <button type="button" class="dv-button" data-do="sure">Rescale</button><button type="button" data-do="unsure">Keep</button></p>
          <p class="dv-row" data-part="calibrated" hidden><span class="dv-grow"></span><button type="button" data-do="undo">Undo</button></p>
        </div>
        <div role="tabpanel" data-panel="space">
          <div class="dv-choice" role="radiogroup" aria-label="Shape">
            <label><input type="radio" name="${id}-shape" value="surface" checked><span>Surface</span></label>
            <label><input type="radio" name="${id}-shape" value="points"><span>Points</span></label></div>
          <label class="dv-check"><input type="checkbox" data-part="edges" checked> Remove edges</label>
          <p class="dv-note">Drag to turn, scroll or pinch to come closer.</p>
          <button type="button" data-do="front">Turn back</button>
          <p class="dv-error" data-part="space-error" role="alert" hidden></p>
        </div>
        <div role="tabpanel" data-panel="print">
          <div class="dv-fields">${Object.entries(PRINT).map(([name, [label, value, least, most]]) =>
            `<label>${label}<input type="number" data-print="${name}" value="${value}" min="${least}" max="${most}" step="any"></label>`).join("")}
            <label class="dv-check"><input type="checkbox" data-print="invert"> Invert: far is high</label></div>
          <p class="dv-error" data-part="print-error" role="alert" hidden></p>
          <p class="dv-note" data-part="size"></p>
          <div class="dv-row" data-part="printers"></div>
        </div>
        <div role="tabpanel" data-panel="save"><div class="dv-files" data-part="files"></div></div>
        <p class="dv-note" data-part="progress" role="status"></p>
        <details class="dv-lens"><summary data-part="lens"></summary>
          <div class="dv-row"><label class="dv-grow">Field of view, degrees<input data-part="fov" inputmode="decimal" autocomplete="off"></label>
            <button type="button" data-do="lens">Change</button><button type="button" data-do="first">Reset</button></div>
          <p class="dv-error" data-part="lens-error" role="alert" hidden></p></details>
        <p class="dv-about" data-part="about"></p>
      </div>
    </div>`;

  class DepthViewer {
    #scene = null;
    #look = {cmap: "viridis", near: null, far: null, blend: 0.5};
    #tool = "line";
    #tab = "look";
    #cross = null; // the pixel that is read
    #pointing = false;
    #pending = []; // points of the measurement that is being made
    #measurements = [];
    #chosen = null;
    #pointers = new Map();
    #dragged = null;
    #clicked = null; // the last click, so that a double click is one
    #waiting = new Set(); // what the next frame draws
    #space = null;

    constructor(element, {onChange = () => {}, download = null, kinds = null} = {}) {
      this.element = element;
      this.onChange = onChange;
      this.download = download;
      this.kinds = kinds ?? (download ? ["png", "npy", "glb", "ply", "stl", "3mf"] : []);
      element.classList.add("depth-viewer");
      element.hidden = true;
      element.innerHTML = template(this.id = `depth-viewer-${++viewers}`);
      this.parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map(part => [part.dataset.part, part]));
      // On the processor: it is written, not drawn.
      this.colours = this.parts.depth.getContext("2d", {willReadFrequently: true});
      for (const [name, panel] of this.#panels()) {
        panel.id = `${this.id}-of-${name}`;
        panel.setAttribute("aria-labelledby", `${this.id}-${name}`);
      }
      for (const input of this.#radios("cmap")) input.nextElementSibling.style.background = ramp(input.value);
      this.#listen();
      this.#fillMenu();
      this.#open("look");
    }

    // A PNG of the server: red and green are steps of depth, blue is the uncertainty, `least * ratio ** (blue - 1)`.
    static async decode(url, step, least = 0, ratio = 1) {
      const answer = await fetch(url);
      if (!answer.ok) throw Error("The photo is no longer on the server: please choose it again.");
      const options = {colorSpaceConversion: "none", premultiplyAlpha: "none"};
      const image = await createImageBitmap(await answer.blob(), options), {width, height} = image;
      const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
      context.drawImage(image, 0, 0);
      const {data} = context.getImageData(0, 0, width, height), depth = new Float32Array(width * height);
      const uncertainty = least ? new Float32Array(width * height) : null;
      for (let place = 0; place < depth.length; place++) {
        depth[place] = (256 * data[4 * place] + data[4 * place + 1]) * step;
        if (uncertainty) uncertainty[place] = least * ratio ** (data[4 * place + 2] - 1);
      }
      return {depth, uncertainty, width, height};
    }

    async show(given) {
      const photo = typeof given.photo === "string" ? await loaded(given.photo) : given.photo, {parts} = this;
      const scene = this.#scene = new Scene(given);
      [this.#measurements, this.#pending, this.#chosen, this.#pointing] = [[], [], null, false];
      this.#cross = [scene.width >> 1, scene.height >> 1];
      this.#look = {...this.#look, near: null, far: null, ...given.look};
      for (const canvas of [parts.photo, parts.depth]) [canvas.width, canvas.height] = [scene.width, scene.height];
      parts.photo.getContext("2d").drawImage(photo, 0, 0, scene.width, scene.height);
      this.image = new ImageData(scene.width, scene.height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.element.style.setProperty("--dv-ratio", scene.width / scene.height);
      parts.warning.textContent = given.note ?? "";
      parts.warning.hidden = !given.note;
      const about = [given.caption ?? given.name, given.model && `model ${given.model}`, given.revision && `revision ${given.revision}`,
        given.licence && `licence of its weights: ${given.licence}`];
      parts.about.textContent = about.filter(Boolean).join(", ");
      this.element.hidden = false;
      this.#space?.reset();
      this.#open(this.#tab);
      this.#update();
    }

    clear() {
      this.#scene = null;
      this.element.hidden = true;
    }

    // What a file needs to look like the screen, and what was measured, in pixels of the depth map.
    state() {
      const scene = this.#scene;
      if (!scene) return null;
      const {near, far} = this.#range();
      return {
        ...this.#look, near, far, automatic: this.#look.near === null && this.#look.far === null,
        calibration: scene.calibration, scale: scene.scale, fov: scene.fov, camera: {...scene.camera}, cameraFrom: scene.cameraFrom,
        edges: this.parts.edges.checked, print: this.#printed() ?? {},
        measurements: this.#measurements.map(({name, kind, points}) => ({name, kind, points, ...scene.measured(kind, points)})),
      };
    }

    // ---- drawing ----
    #range() {
      const near = this.#look.near ?? this.#scene.quantile(0.02);
      return {near, far: Math.max(this.#look.far ?? this.#scene.quantile(0.98), near + 0.01)};
    }

    // Draw in the next frame, once, however often it was asked for.
    #draw(...what) {
      if (!this.#waiting.size) requestAnimationFrame(() => {
        const wanted = [...this.#waiting];
        this.#waiting.clear();
        if (this.#scene) for (const name of wanted) this[name]();
      });
      what.forEach(name => this.#waiting.add(name));
    }

    // After a change of metres, colours or camera.
    #update() {
      this.#draw("recolour", "drawLook", "drawMarks", "drawList", "drawLens", "drawOther", "tell");
    }

    tell() {
      this.onChange(this.state());
    }

    recolour() {
      const {steps, step, scale, highest} = this.#scene;
      const {near, far} = this.#range();
      const shown = this.pixels, table = new Uint32Array(highest + 1);
      const packed = ([red, green, blue]) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
      const colours = Uint32Array.from({length: 240}, (_, place) => packed(colour(this.#look.cmap, place / 239)));
      const start = -near / (far - near) * 240, slope = step * scale / (far - near) * 240;
      for (let place = 1; place <= highest; place++) table[place] = colours[Math.min(Math.max(start + place * slope, 0), 239) | 0];
      table[0] = packed(NO_DEPTH);
      for (let place = 0; place < steps.length; place++) shown[place] = table[steps[place]];
      this.colours.putImageData(this.image, 0, 0);
    }

    drawLook() {
      const {parts} = this, scene = this.#scene, {cmap, blend} = this.#look, {near, far} = this.#range();
      parts.depth.style.opacity = parts.blend.value = blend;
      parts.ramp.style.background = ramp(cmap);
      [parts.near.textContent, parts.far.textContent] = [written(near), written(far)];
      parts.span.textContent = `Colours from ${written(near)} to ${written(far)}.`;
      for (const input of this.#radios("cmap")) input.checked = input.value === cmap;
      const [low, high] = this.limits = [scene.quantile(0.001) * 0.9, scene.quantile(0.999) * 1.05];
      for (const [part, metres] of [["nearest", near], ["farthest", far]]) {
        parts[part].value = 1000 * (metres - low) / (high - low);
        parts[part].setAttribute("aria-valuetext", written(metres));
      }
      const {width, height} = parts.histogram, context = parts.histogram.getContext("2d"), bars = new Float32Array(100);
      scene.counts.forEach((count, step) => {
        const bar = Math.floor(100 * (step * scene.step * scene.scale - low) / (high - low));
        if (step && bar >= 0 && bar < 100) bars[bar] += count;
      });
      const most = Math.max(...bars);
      context.clearRect(0, 0, width, height);
      bars.forEach((count, bar) => {
        const metres = low + (bar + 0.5) / 100 * (high - low);
        context.fillStyle = `rgb(${colour(cmap, (metres - near) / (far - near))})`;
        context.globalAlpha = metres < near || metres > far ? 0.35 : 1;
        context.fillRect(bar * width / 100, height * (1 - count / most), width / 100 - 1, height);
      });
    }

    // The picture as it is shown, at the size of the depth map.
    #seen() {
      const canvas = make("canvas", {width: this.#scene.width, height: this.#scene.height});
      const context = canvas.getContext("2d");
      context.drawImage(this.parts.photo, 0, 0);
      context.globalAlpha = this.#look.blend;
      context.drawImage(this.parts.depth, 0, 0);
      return canvas;
    }

    drawMarks() {
      const {marks, frame, distance, where} = this.parts, sharp = window.devicePixelRatio || 1, scene = this.#scene;
      const [width, height] = [frame.clientWidth, frame.clientHeight];
      [marks.width, marks.height] = [width * sharp, height * sharp];
      const context = marks.getContext("2d");
      context.scale(sharp, sharp);
      const {value, doubt} = scene.measured("point", [this.#cross]);
      distance.textContent = Number.isFinite(value) ? written(value, doubt) : "No depth here";
      where.textContent = Number.isFinite(value) ? "from the camera" : "";
      this.#paint(context, width, height, true);
    }

    // Marks and labels in a picture of any size; live ones follow the pointer.
    #paint(context, width, height, live) {
      const scene = this.#scene, unit = live ? 1 : Math.max(width, height) / 800, pointed = this.#cross;
      const at = ([x, y]) => [(x + 0.5) * width / scene.width, (y + 0.5) * height / scene.height];
      const stroke = (path, thickness) => {
        for (const [style, more] of [[HALO, 2.5], [INK, 0]]) {
          Object.assign(context, {strokeStyle: style, lineWidth: (thickness + more) * unit, lineCap: "round", lineJoin: "round"});
          context.stroke(path);
        }
      };
      const line = (points, closed) => {
        const path = new Path2D();
        points.map(at).forEach(place => path.lineTo(...place));
        if (closed) path.closePath();
        stroke(path, 2);
      };
      const ring = (place, chosen) => {
        const [x, y] = at(place), circle = radius => {
          context.beginPath();
          context.arc(x, y, radius * unit, 0, 7);
          context.fill();
        };
        for (const [style, radius] of [[HALO, 7], [chosen ? ACCENT : INK, 5.5], [HALO, 2]]) context.fillStyle = style, circle(radius);
      };
      const label = (text, [x, y], size) => {
        context.font = `600 ${size * unit}px system-ui, sans-serif`;
        const [wide, high] = [context.measureText(text).width + size * unit, 1.7 * size * unit];
        const left = clamp(x - wide / 2, 2, Math.max(2, width - wide - 2)), top = clamp(y - high, 2, height - high - 2);
        context.fillStyle = "rgba(15, 23, 42, 0.88)";
        context.beginPath();
        context.roundRect(left, top, wide, high, high / 2);
        context.fill();
        Object.assign(context, {fillStyle: INK, textBaseline: "middle"});
        context.fillText(text, left + size * unit / 2, top + high / 2);
      };
      const drawn = ({kind, points}, text, chosen) => {
        if (kind === "height" && points.length === 2) {
          const normal = scene.floor(points[0]), point = scene.point(points[1]), {fx, fy, cx, cy} = scene.camera;
          const foot = add(point, normal, (1 - dot(normal, point)) / dot(normal, normal));
          line([points[1], [fx * foot[0] / foot[2] + cx - 0.5, fy * foot[1] / foot[2] + cy - 0.5]]);
        } else if (points.length > 1) line(points, kind === "area" && points.length === 4);
        points.forEach(place => ring(place, chosen));
        const middle = [0, 1].map(axis => points.map(at).reduce((sum, place) => sum + place[axis], 0) / points.length);
        if (text) label(text, add(middle, [0, -12 * unit]), 13);
      };
      for (const made of this.#measurements) drawn(made, `${made.name}  ${this.#text(made)}`, live && made.id === this.#chosen);
      if (!live) return;
      const making = {kind: this.#tool, points: [...this.#pending, pointed]}, [x, y] = at(pointed);
      const whole = this.#pending.length && making.points.length === TOOLS[this.#tool].count;
      if (this.#pending.length) drawn(making, "", true);
      stroke(new Path2D(`M${x - 11},${y}h7M${x + 4},${y}h7M${x},${y - 11}v7M${x},${y + 4}v7`), 2);
      const magnified = this.#pointers.size && (this.#dragged || this.#pointers.values().next().value.touch);
      if (magnified) {
        const [radius, zoom] = [62, 4];
        const middle = [clamp(x, radius, width - radius), y > 2.4 * radius ? y - 1.5 * radius : y + 1.5 * radius];
        const reach = [radius / zoom * scene.width / width, radius / zoom * scene.height / height];
        context.save();
        context.beginPath();
        context.arc(...middle, radius, 0, 7);
        context.lineWidth = 4, context.strokeStyle = INK, context.fillStyle = HALO;
        context.fill(), context.stroke(), context.clip();
        for (const [canvas, alpha] of [[this.parts.photo, 1], [this.parts.depth, this.#look.blend]]) {
          context.globalAlpha = alpha;
          const box = [pointed[0] + 0.5 - reach[0], pointed[1] + 0.5 - reach[1], 2 * reach[0], 2 * reach[1]];
          context.drawImage(canvas, ...box, middle[0] - radius, middle[1] - radius, 2 * radius, 2 * radius);
        }
        context.restore();
        stroke(new Path2D(`M${middle[0] - 9},${middle[1]}h18M${middle[0]},${middle[1] - 9}v18`), 1.5);
      }
      if (this.#measurements.some(({points}) => points.includes(pointed))) return; // just made: its own label stays readable
      const {value, doubt} = scene.measured(...whole ? [making.kind, making.points] : ["point", [pointed]]);
      const below = y > 60 && !magnified ? [0, -16] : [0, 46];
      const inWhat = whole && making.kind === "area" ? "m²" : "m";
      label(Number.isFinite(value) ? written(value, doubt, inWhat) : "no depth", add([x, y], below), 17);
    }

    #text({kind, points}) {
      const {value, doubt} = this.#scene.measured(kind, points);
      return written(value, doubt, kind === "area" ? "m²" : "m");
    }

    drawList() {
      const {list, hint} = this.parts;
      const chosen = this.#measurements.find(({id}) => id === this.#chosen);
      hint.textContent = TOOLS[this.#tool].hint;
      for (const input of this.#radios("tool")) input.checked = input.value === this.#tool;
      list.replaceChildren(...this.#measurements.map(made => {
        const name = make("input", {value: made.name, maxLength: 40, ariaLabel: `Name of ${made.name}`});
        const remove = make("button", {type: "button", ariaLabel: `Remove ${made.name}`}, "×");
        const item = make("li", {}, name, make("output", {}, this.#text(made)), remove);
        name.addEventListener("input", () => (made.name = name.value, this.#draw("drawMarks", "tell")));
        item.classList.toggle("dv-chosen", made === chosen);
        item.addEventListener("focusin", () => {
          if (this.#chosen === made.id) return;
          this.#chosen = made.id;
          [...list.children].forEach(other => other.classList.toggle("dv-chosen", other === item));
          this.#draw("drawMarks", "drawCalibration");
        });
        remove.addEventListener("click", () => this.#change(this.#measurements.filter(other => other !== made)));
        return item;
      }));
      this.drawCalibration();
    }

    drawCalibration() {
      const {profile, curve, calibrate, calibrated} = this.parts, scene = this.#scene;
      const chosen = this.#measurements.find(({id}) => id === this.#chosen);
      calibrate.hidden = !chosen || chosen.kind === "area";
      calibrated.hidden = scene.calibration === 1;
      calibrated.firstElementChild.textContent = `Calibrated × ${scene.calibration.toFixed(3)}`;
      profile.hidden = chosen?.kind !== "line";
      if (profile.hidden) return;
      const [[x1, y1], [x2, y2]] = chosen.points, {width, height} = curve, context = curve.getContext("2d");
      const depths = Array.from({length: 200}, (_, place) =>
        scene.metres(Math.round(x1 + (x2 - x1) * place / 199), Math.round(y1 + (y2 - y1) * place / 199)));
      const known = depths.filter(metres => metres > 0), [low, high] = [Math.min(...known), Math.max(...known)];
      Object.assign(context, {font: "22px system-ui, sans-serif", lineWidth: 4});
      context.clearRect(0, 0, width, height);
      context.strokeStyle = context.fillStyle = getComputedStyle(curve).color;
      context.beginPath();
      const rise = metres => (height - 40) * (metres - low) / Math.max(high - low, 1e-6);
      depths.forEach((metres, place) => metres > 0 && context.lineTo(90 + (width - 100) * place / 199, height - 20 - rise(metres)));
      context.stroke();
      context.fillText(written(high), 0, 26);
      context.fillText(written(low), 0, height - 14);
      curve.setAttribute("aria-label", `Depth along ${chosen.name}, from ${written(low)} to ${written(high)}`);
    }

    drawLens() {
      const scene = this.#scene, degrees = scene.fovDeg.toFixed(scene.fovDeg < 10 ? 1 : 0);
      this.parts.lens.textContent = `Lens: ${degrees}° wide, ${SOURCES[scene.cameraFrom] ?? "of unknown origin"}`;
      this.parts.fov.value = degrees;
    }

    // The view in 3-D and the relief, where one of them is open.
    drawOther() {
      const {edges, relief, size} = this.parts, scene = this.#scene;
      if (this.#tab === "space") this.#refuse("space", () => {
        this.#space ??= new Space(this.parts.space);
        this.#space.build(scene, this.#seen(), edges.checked);
        this.drawSpace();
      });
      const options = this.#tab === "print" && this.#printed();
      if (!options) return;
      const made = scene.relief(options), {width, height, pitch} = made;
      [relief.width, relief.height] = [width, height];
      relief.getContext("2d").putImageData(shaded(made), 0, 0);
      const faces = 2 * (width - 1) * (height - 1) + 6 * (width + height) - 12;
      const megabytes = bytes => (bytes / 1e6).toFixed(1);
      const sides = [width - 1, height - 1].map(side => (side * pitch).toFixed(0));
      const [asStl, as3mf] = [84 + 50 * faces, 11 * faces].map(megabytes);
      size.textContent = `${sides.join(" × ")} × ${options.base_mm + options.relief_mm} mm; about ${asStl} MB as STL, ${as3mf} MB as 3MF.`;
    }

    drawSpace() {
      this.#space?.draw([...this.#radios("shape")].find(input => input.checked).value === "points");
    }

    // ---- what a person does ----
    #radios(name) {
      return this.element.querySelectorAll(`[name="${this.id}-${name}"]`);
    }

    #panels() {
      return [...this.element.querySelectorAll("[data-panel]")].map(panel => [panel.dataset.panel, panel]);
    }

    #open(tab) {
      this.#tab = tab;
      for (const [name, panel] of this.#panels()) panel.hidden = name !== tab;
      for (const button of this.element.querySelectorAll("[data-tab]")) {
        button.setAttribute("aria-selected", button.dataset.tab === tab);
        button.tabIndex = button.dataset.tab === tab ? 0 : -1;
      }
      const {parts} = this, flat = tab !== "space" && tab !== "print";
      [parts.space.hidden, parts.relief.hidden] = [tab !== "space", tab !== "print"];
      parts.frame.hidden = parts.readout.hidden = !flat;
      parts.legend.hidden = parts.blending.hidden = tab === "print";
      this.#draw("drawOther", "drawMarks");
    }

    // Run, and write an error beside the control that caused it, until it is run again without one.
    #refuse(place, action) {
      const line = this.parts[`${place}-error`];
      line.textContent = "";
      try {
        return action();
      } catch (error) {
        line.textContent = error.message;
        return null;
      } finally {
        line.hidden = !line.textContent;
      }
    }

    // The options of the relief, or null with a sentence beside them.
    #printed() {
      return this.#refuse("print", () => {
        const options = {invert: this.element.querySelector("[data-print=invert]").checked};
        for (const [name, [title, , least, most]] of Object.entries(PRINT)) {
          const text = this.element.querySelector(`[data-print=${name}]`).value;
          const number = text === "" ? null : Number(text);
          if (number === null && !(name === "near" || name === "far") || number < least || number > most)
            throw Error(`${title.replace(/, .*/, "")} must be from ${least} to ${most}.`);
          options[name] = number;
        }
        if (options.near !== null && options.far !== null && options.near >= options.far) throw Error("Near must be below far.");
        if (options.frame_mm * 4 > options.size_mm) throw Error("The frame leaves no room: a quarter of the size is the most.");
        return options;
      });
    }

    #change(measurements) {
      this.#measurements = measurements;
      if (!measurements.some(({id}) => id === this.#chosen)) this.#chosen = measurements.at(-1)?.id ?? null;
      this.#draw("drawMarks", "drawList", "tell");
    }

    // One more point of what is being measured, at the cross.
    #place() {
      if (!(this.#scene.metres(...this.#cross) > 0)) return void (this.parts.status.textContent = "No depth here.");
      if (this.#tab !== "measure") this.#open("measure");
      if (String(this.#pending.at(-1)) === String(this.#cross)) return void (this.parts.status.textContent = "Choose another point.");
      this.#pending.push(this.#cross);
      const kind = this.#tool, {title, count} = TOOLS[kind];
      if (this.#pending.length < count) {
        this.parts.status.textContent = `Point ${this.#pending.length} of ${count} set.`;
        return this.#draw("drawMarks");
      }
      const id = 1 + Math.max(0, ...this.#measurements.map(made => made.id));
      const made = {id, kind, name: `${title} ${id}`, points: this.#pending};
      [this.#pending, this.#chosen] = [[], id];
      this.#change([...this.#measurements, made]);
      this.parts.status.textContent = `${made.name}: ${this.#text(made)}`;
    }

    #rescaled(action) {
      const before = this.#scene.scale;
      action();
      for (const side of ["near", "far"]) if (this.#look[side] !== null) this.#look[side] *= this.#scene.scale / before;
      this.parts.question.hidden = true;
      this.#update();
    }

    #calibrate(sure = false) {
      this.#refuse("calibration", () => {
        const truth = Number(this.parts.truth.value.trim().replace(",", "."));
        const made = this.#measurements.find(({id}) => id === this.#chosen);
        const factor = truth / this.#scene.measured(made.kind, made.points).value;
        if (!(truth > 0 && factor > 0 && factor < Infinity)) throw Error("Type the true length in metres, such as 0.297.");
        const [least, most] = PLAUSIBLE, {question} = this.parts;
        question.hidden = sure || factor >= least && factor <= most;
        question.firstElementChild.textContent = `All metres change by a factor of ${factor.toPrecision(3)}. Is the length right?`;
        if (question.hidden) this.#rescaled(() => this.#scene.calibrate(factor));
      });
    }

    #changeLens() {
      this.#refuse("lens", () => {
        const degrees = Number(this.parts.fov.value.trim().replace(",", "."));
        if (!(degrees >= 1 && degrees <= 179)) throw Error("Type an angle from 1 to 179 degrees.");
        this.#rescaled(() => this.#scene.setLens(degrees));
      });
    }

    #pixel(event) {
      const box = this.parts.marks.getBoundingClientRect(), {width, height} = this.#scene;
      return [[event.clientX - box.left, box.width, width], [event.clientY - box.top, box.height, height]]
        .map(([place, size, count]) => clamp(Math.floor(place / size * count), 0, count - 1));
    }

    #listen() {
      const {element, parts} = this, {frame, space} = parts;
      const actions = {
        auto: () => (Object.assign(this.#look, {near: null, far: null}), this.#draw("recolour", "drawLook", "drawOther", "tell")),
        sure: () => this.#calibrate(true),
        unsure: () => parts.question.hidden = true,
        undo: () => this.#rescaled(() => this.#scene.undo()),
        front: () => (this.#space?.reset(), this.#draw("drawSpace")),
        lens: () => this.#changeLens(),
        first: () => this.#rescaled(() => this.#scene.setLens()),
      };
      element.addEventListener("click", ({target}) => {
        const {do: action, tab, file} = target.closest("button")?.dataset ?? {};
        if (action) actions[action]();
        if (tab) this.#open(tab);
        if (file) this.#save(file);
      });
      element.addEventListener("input", ({target}) => {
        const {part, print} = target.dataset, {name, value} = target;
        if (name === `${this.id}-cmap`) this.#look.cmap = value;
        if (name === `${this.id}-tool`) [this.#tool, this.#pending] = [value, []];
        if (name === `${this.id}-shape`) return this.#draw("drawSpace");
        if (part === "blend") this.#look.blend = Number(value);
        if (part === "object" && value) parts.truth.value = value;
        if (part === "nearest" || part === "farthest") {
          const [low, high] = this.limits, metres = low + value / 1000 * (high - low);
          const {near, far} = this.#range(), gap = (high - low) / 100;
          if (part === "nearest") this.#look.near = Math.min(metres, far - gap);
          else this.#look.far = Math.max(metres, near + gap);
        }
        if (name === `${this.id}-tool`) this.#draw("drawMarks", "drawList");
        else if (part === "edges" || print) this.#draw("drawOther");
        else if (name || ["blend", "nearest", "farthest"].includes(part)) this.#draw("recolour", "drawLook", "drawOther", "tell");
      });
      parts.calibrate.addEventListener("submit", event => (event.preventDefault(), this.#calibrate()));
      parts.fov.addEventListener("keydown", event => event.key === "Enter" && this.#changeLens());
      element.querySelector("[role=tablist]").addEventListener("keydown", ({key}) => {
        const tabs = Object.keys(TABS), step = {ArrowRight: 1, ArrowLeft: -1}[key];
        if (!step) return;
        this.#open(tabs[(tabs.indexOf(this.#tab) + step + tabs.length) % tabs.length]);
        element.querySelector(`[data-tab=${this.#tab}]`).focus();
      });
      this.#listenToFrame(frame);
      this.#listenToSpace(space);
      new ResizeObserver(() => this.#draw("drawMarks", "drawSpace")).observe(element);
    }

    #listenToFrame(frame) {
      const end = event => {
        const start = this.#pointers.get(event.pointerId), place = [event.clientX, event.clientY];
        this.#pointers.delete(event.pointerId);
        const near = (other, most) => Math.hypot(...add(place, other.place, -1)) < most;
        const again = this.#clicked && event.timeStamp - this.#clicked.time < 400 && near(this.#clicked, 24);
        const still = start && !start.gesture && near(start, 6) && event.type === "pointerup";
        if (this.#dragged) this.#change(this.#measurements);
        else if (still && !again) this.#place();
        if (still) this.#clicked = {place, time: event.timeStamp};
        this.#dragged = null;
        this.#draw("drawMarks");
      };
      frame.addEventListener("pointerdown", event => {
        if (event.button) return;
        frame.setPointerCapture(event.pointerId);
        const gesture = this.#pointers.size > 0; // of more than one finger: it zooms the page, and sets no point
        for (const other of this.#pointers.values()) other.gesture = true;
        this.#pointers.set(event.pointerId, {place: [event.clientX, event.clientY], touch: event.pointerType !== "mouse", gesture});
        if (gesture) return;
        const place = this.#cross = this.#pixel(event);
        const size = this.#scene.width / frame.clientWidth * (event.pointerType === "mouse" ? 9 : 22);
        for (const {points, id} of this.#pending.length ? [] : this.#measurements)
          points.forEach((point, index) => {
            if (Math.hypot(...add(point, place, -1)) < size) [this.#dragged, this.#chosen] = [{points, index}, id];
          });
        this.#draw("drawMarks");
      });
      frame.addEventListener("pointermove", event => {
        if (!this.#scene || this.#pointers.size > 1) return;
        this.#cross = this.#pixel(event);
        if (this.#dragged && this.#scene.metres(...this.#cross) > 0) {
          this.#dragged.points[this.#dragged.index] = this.#cross;
          this.#draw("drawList");
        }
        this.#draw("drawMarks");
      });
      frame.addEventListener("pointerup", end);
      frame.addEventListener("pointercancel", end);
      frame.addEventListener("keydown", event => {
        const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
        const {width, height} = this.#scene;
        if (step) {
          const [x, y] = add(this.#cross, step, event.shiftKey ? 20 : 2);
          this.#cross = [clamp(x, 0, width - 1), clamp(y, 0, height - 1)];
          this.parts.status.textContent = this.#text({kind: "point", points: [this.#cross]});
        } else if (event.key === "Enter") this.#place();
        else if (event.key === "Escape") this.#pending.pop();
        else return;
        event.preventDefault();
        this.#draw("drawMarks");
      });
    }

    #listenToSpace(canvas) {
      const pointers = new Map();
      const between = axis => [...pointers.values()].map(place => place[axis]).reduce((a, b) => a - b);
      const spread = () => Math.hypot(between(0), between(1));
      const turn = (yaw, pitch, nearer = 1) => {
        if (!this.#space) return;
        this.#space.yaw += yaw;
        this.#space.pitch = clamp(this.#space.pitch + pitch, -1.5, 1.5);
        this.#space.back = clamp(this.#space.back * nearer, 0.2, 8);
        this.#draw("drawSpace");
      };
      canvas.addEventListener("pointerdown", event => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, [event.clientX, event.clientY]);
      });
      for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => pointers.delete(event.pointerId));
      canvas.addEventListener("pointermove", event => {
        const last = pointers.get(event.pointerId), before = pointers.size > 1 && spread();
        if (!last) return;
        pointers.set(event.pointerId, [event.clientX, event.clientY]);
        if (before) turn(0, 0, before / spread());
        else turn((event.clientX - last[0]) / 200, (last[1] - event.clientY) / 200);
      });
      canvas.addEventListener("wheel", event => (event.preventDefault(), turn(0, 0, Math.exp(event.deltaY / 800))), {passive: false});
      canvas.addEventListener("keydown", event => {
        const turns = {ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1]};
        const steps = {...turns, "+": [0, 0, 0.9], "-": [0, 0, 1.1]};
        if (event.key === "Home") this.#space?.reset();
        else if (!steps[event.key]) return;
        event.preventDefault();
        turn(...steps[event.key] ?? [0, 0]);
      });
    }

    // ---- files ----
    #fillMenu() {
      const possible = ["picture", "csv", "png", "npy", "stl", "zip", ...this.kinds];
      const offered = Object.keys(FILES).filter(kind => possible.includes(kind));
      const button = (kind, className, ...inside) => {
        const made = make("button", {type: "button", className}, ...inside);
        made.dataset.file = kind;
        return made;
      };
      const lines = kind => [make("strong", {}, FILES[kind][0]), make("span", {}, FILES[kind][1])];
      this.parts.files.append(...offered.map(kind => button(kind, "", ...lines(kind))));
      const printers = offered.filter(kind => kind === "stl" || kind === "3mf");
      this.parts.printers.append(...printers.map(kind => button(kind, "dv-button", kind.toUpperCase())));
    }

    get #stem() {
      return (this.#scene.name || "photo").replace(/\.[^.]*$/, "");
    }

    // {name, blob} of one file, made here or elsewhere.
    async #file(kind) {
      const scene = this.#scene, stem = this.#stem, printed = (kind === "stl" || kind === "3mf") && this.#printed();
      if (printed === null) throw Error("Correct the values of the print first.");
      if (this.kinds.includes(kind)) {
        const {name, url, blob, note} = await this.download(kind, this.state());
        return {name, note, blob: blob ?? await (await fetch(url, {cache: "no-store"})).blob()};
      }
      if (kind === "csv") return {name: `${stem}_measurements.csv`, blob: new Blob(["\ufeff", this.#table()], {type: "text/csv"})};
      if (kind === "png") return {name: `${stem}_depth.png`, blob: await png16(scene.shrunk(Infinity))};
      if (kind === "npy") return {name: `${stem}_depth.npy`, blob: npy(scene.shrunk(Infinity))};
      if (kind === "stl") return {name: `${stem}.stl`, blob: stl(scene.relief(printed))};
      return {name: `${stem}_picture.png`, blob: await this.#picture()};
    }

    #table() {
      const {width, photoSize} = this.#scene, part = photoSize.width / width;
      const rows = this.#measurements.map(({name, kind, points}) => {
        const {value, doubt} = this.#scene.measured(kind, points);
        const places = points.map(point => point.map(side => Math.round((side + 0.5) * part - 0.5)).join(" "));
        return [name, kind, value.toFixed(4), doubt?.toFixed(4) ?? "", kind === "area" ? "m2" : "m", places.join("; ")];
      });
      const cell = text => `"${String(text).replaceAll('"', '""')}"`;
      const titles = ["name", "kind", "value", "uncertainty", "unit", "pixels"];
      return [titles, ...rows].map(row => row.map(cell).join(",") + "\r\n").join("");
    }

    // The picture as seen, with its marks and a scale.
    #picture() {
      const seen = this.#seen(), {width, height} = seen;
      const bar = Math.round(0.06 * Math.max(width, height)), {near, far} = this.#range();
      const canvas = make("canvas", {width, height: height + bar}), context = canvas.getContext("2d");
      context.fillStyle = HALO;
      context.fillRect(0, 0, width, height + bar);
      context.drawImage(seen, 0, 0);
      for (let x = 0; x < width / 2; x++) {
        context.fillStyle = `rgb(${colour(this.#look.cmap, 2 * x / width)})`;
        context.fillRect(width / 4 + x, height + 0.3 * bar, 1, 0.4 * bar);
      }
      Object.assign(context, {fillStyle: INK, font: `600 ${0.4 * bar}px system-ui, sans-serif`});
      Object.assign(context, {textBaseline: "middle", textAlign: "right"});
      context.fillText(written(near), 0.24 * width, height + bar / 2);
      context.textAlign = "left";
      context.fillText(written(far), 0.76 * width, height + bar / 2);
      this.#paint(context, width, height, false);
      return new Promise(done => canvas.toBlob(done, "image/png"));
    }

    async #save(kind) {
      const {progress, files} = this.parts;
      try {
        const made = [], all = [...files.children].map(button => button.dataset.file).filter(other => other !== "zip");
        const kinds = kind === "zip" ? all : [kind];
        for (const part of kinds) {
          progress.textContent = `Writing ${FILES[part][0].toLowerCase()} …`;
          made.push(await this.#file(part));
        }
        await handOver(kind === "zip" ? {name: `${this.#stem}.zip`, blob: await zip(made)} : made[0]);
        progress.textContent = made.map(({note}) => note).filter(Boolean).join(" ");
      } catch (error) {
        progress.textContent = error.message;
      }
    }
  }

  async function loaded(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  }

  // To the share sheet of a phone, else to the downloads.
  async function handOver({name, blob}) {
    const file = new File([blob], name, {type: blob.type});
    if (matchMedia("(pointer: coarse)").matches && navigator.canShare?.({files: [file]}))
      try {
        return await navigator.share({files: [file]});
      } catch (error) {
        if (error.name === "AbortError") return; // the person closed the sheet
      }
    const link = make("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  DepthViewer.COLOUR_MAPS = COLOUR_MAPS;
  return DepthViewer;
})();

// Computes beside the page, which therefore never freezes: reads a photo, runs the network, writes surfaces. A photo is
// read as `depth_unet.images` and `metadata` read it, and processed as `Predictor` does.
"use strict";
importScripts("runtime/exifr.js", "runtime/ort.js");

const STRIP = 1 << 21; // pixels that are copied out of a photo at once
const SURFACE_LONGEST = 640; // points along the longer side of a surface
const STEEPEST = 12; // metres of depth per metre across, as in depth_unet.mesh
const UNLIKELY = 0.05; // part of the pixels at the ends of the model's range: more are not in photos like its training

let site = null; // what the command wrote about models, runtime and limits
let loaded = {}; // the session, and the index of its model
let last = null; // the latest depth map, from which surfaces are made

onmessage = async ({data: {task, given}, ports: [port]}) => {
  try {
    const result = await {start, load, predict, surface}[task](given, progress => port.postMessage({progress}));
    port.postMessage({result}, result?.photo ? [result.photo] : []);
  } catch (error) {
    port.postMessage({error: error.message ?? String(error)});
  }
};

// ---- the network ----
function start(given) {
  site = given;
  ort.env.wasm.wasmPaths = {mjs: new URL("runtime/ort-wasm.js", location).href};
  // Threads share memory, which browsers allow only to pages that are isolated from other sites.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  return ort.env.wasm.numThreads;
}

async function load(index, tell) {
  if (loaded.index === index) return;
  const files = [site.models[index], ...(ort.env.wasm.wasmBinary ? [] : [site.runtime])];
  const total = files.reduce((sum, {bytes}) => sum + bytes, 0);
  let received = 0;
  const [weights, wasm] = await Promise.all(files.map(({file, bytes}) => download(file, bytes, count => tell((received += count) / total))));
  if (wasm) ort.env.wasm.wasmBinary = wasm;
  const providers = site.webgpu && await navigator.gpu?.requestAdapter() ? ["webgpu", "wasm"] : ["wasm"];
  const session = await ort.InferenceSession.create(weights, {executionProviders: providers, logSeverityLevel: 3});
  await loaded.session?.release();
  loaded = {session, index};
}

async function download(file, bytes, tell) {
  const answer = await fetch(file).catch(() => null);
  if (!answer?.ok) throw Error("The model cannot be loaded. Check the connection and reload the page.");
  const content = new Uint8Array(bytes), reader = answer.body.getReader();
  let place = 0;
  for (let part; !(part = await reader.read()).done; place += part.value.length) {
    if (place + part.value.length <= bytes) content.set(part.value, place);
    tell(part.value.length);
  }
  if (place !== bytes) throw Error("The model on the server is another version. Reload the page.");
  return content;
}

// `focal35mm` is the lens of a file that does not state it.
async function predict({photo, name, focal35mm: given, model: index}, tell) {
  await load(index, tell);
  const model = site.models[index], [rows, columns] = model.input_size;
  const {bitmap, orientation, isJpeg, focal35mm = given} = await read(photo, name), known = focal35mm !== undefined;
  const [height, width] = sizeOf(bitmap, orientation);
  const focal = known ? focal35mm / site.diagonal_mm * Math.hypot(width, height) : model.canonical_focal * Math.max(width, height);

  const started = performance.now(), size = networkSize(rows, columns, height, width);
  const images = new ort.Tensor("float32", pixelsOf(bitmap, size, {orientation, isJpeg}, model), [1, 3, ...size]);
  const outputs = await loaded.session.run({images}), {depth: {data: network, dims}, uncertainty} = outputs;
  const scale = focal * Math.sqrt(size[1] / width * size[0] / height) / (model.canonical_focal * columns);
  const shrink = Math.min(1, site.longest / Math.max(height, width)), shown = [height, width].map(side => Math.max(1, Math.round(side * shrink)));
  const depth = enlarged(network, dims.slice(2), shown, scale), {canvas} = upright(bitmap, orientation, shown);
  const part = network.filter(metres => metres < model.min_depth * 1.02 || metres > model.max_depth / 1.02).length / network.length;
  const result = {
    depth, height: shown[0], width: shown[1], name, photoSize: {width, height},
    uncertainty: uncertainty ? enlarged(uncertainty.data, uncertainty.dims.slice(2), shown, 1) : null,
    camera: {fx: focal * shown[1] / width, fy: focal * shown[0] / height, cx: shown[1] / 2, cy: shown[0] / 2},
    cameraFrom: known ? "exif" : "assumed", focal35mm, metresFollowLens: true, calibration: 1,
    model: model.name, revision: model.revision, licence: model.licence,
    photoError: model.photo_error, pixelError: model.pixel_error,
    note: part > UNLIKELY ? `Doubtful: ${Math.round(100 * part)}% of the pixels are at the ends of what this model can predict. ` +
      "The photo is unlike those that it was trained on, and the metres may be far off." : "",
    seconds: (performance.now() - started) / 1000,
  };
  for (const output of Object.values(outputs)) output.dispose();
  bitmap.close();
  last = {...result, canvas};
  return {...result, photo: await createImageBitmap(canvas)};
}

// The photo's aspect ratio, the area of the model's input, multiples of 32; halves go to the even number, as in Python.
function networkSize(rows, columns, height, width) {
  const shape = Math.min(Math.max(width / height, 1 / site.most_elongated), site.most_elongated), wide = Math.sqrt(rows * columns * shape);
  return [wide / shape, wide].map(side => {
    const nearest = Math.round(side / 32), tie = nearest - side / 32 === 0.5;
    return 32 * Math.max(1, tie ? nearest - nearest % 2 : nearest);
  });
}

// ---- the photo ----
// The pixels as they are decoded, the orientation that makes them upright, 1 to 8, and the 35 mm equivalent focal length.
async function read(photo, name) {
  const content = new Uint8Array(await photo.arrayBuffer()), text = place => String.fromCharCode(...content.subarray(place, place + 4));
  const isJpeg = content[0] === 0xff && content[1] === 0xd8, isWebp = text(0) === "RIFF" && text(8) === "WEBP";
  const places = isJpeg || isWebp ? partsOf(content, isJpeg).filter(([start]) => text(start).toUpperCase() === "EXIF") : [];
  // The library does not know the container of WebP, but reads bare EXIF data.
  const bare = isWebp && places.map(([start, end]) => content.slice(start + 8 + 6 * (text(start + 8) === "Exif"), end))[0];
  const tags = await readTags(bare || content);
  for (const [start] of places) content[start] = 0; // without EXIF data, the decoder does not turn the pixels
  const bitmap = await createImageBitmap(new Blob([content])).catch(() => {
    throw Error(`${name} is damaged, or no picture that this browser can read: try JPEG, PNG or WebP.`);
  });
  const {width, height} = bitmap, orientation = isJpeg || isWebp ? tags.orientation : 1; // it turns those of other formats
  if (width * height > site.max_pixels) throw Error(`${name} has ${width}x${height} pixels, at most ${site.max_pixels.toLocaleString("en")} are read.`);
  return {bitmap, orientation, focal35mm: tags.focal35mm(width, height), isJpeg};
}

// Start and end of what a JPEG holds before its pixels, or of the parts of a WebP, each with its name first.
function partsOf(content, isJpeg) {
  const found = [], view = new DataView(content.buffer);
  for (let place = isJpeg ? 2 : 12, end; place + 8 <= content.length; place = end) {
    if (isJpeg && (content[place] !== 0xff || content[place + 1] === 0xda)) break;
    end = place + (isJpeg ? 2 + view.getUint16(place + 2) : 8 + view.getUint32(place + 4, true));
    found.push([place + (isJpeg ? 4 : 0), end]);
    if (!isJpeg) end += end % 2;
  }
  return found;
}

async function readTags(content) {
  const options = {tiff: true, ifd0: {}, exif: true, xmp: true, gps: false, translateValues: false, reviveValues: false, mergeOutput: false};
  const found = await exifr.parse(content, options).catch(() => null) ?? {}; // none, or damaged
  const positive = value => typeof value === "number" && value > 0 && value < Infinity ? value : NaN;
  const {FocalLengthIn35mmFormat, FocalLength, ExifImageWidth, FocalPlaneXResolution, FocalPlaneResolutionUnit = 2} = found.exif ?? {};
  const orientation = [1, 2, 3, 4, 5, 6, 7, 8].includes(found.ifd0?.Orientation) ? found.ifd0.Orientation : 1;
  const focal35mm = (width, height) => {
    const sensorMm = positive(ExifImageWidth) / positive(FocalPlaneXResolution) * (site.units_mm[FocalPlaneResolutionUnit] ?? NaN);
    const equivalent = positive(FocalLength) / (sensorMm * Math.hypot(1, height / width)) * site.diagonal_mm;
    const [least, most] = site.focal_35mm;
    return [positive(FocalLengthIn35mmFormat), equivalent].find(value => value >= least && value <= most);
  };
  return {orientation, focal35mm};
}

// The network's input: upright, antialiased, RGB in [0, 1], one plane for each colour. The steps are Pillow's, and round
// to 8 bits after each of them as it does: the network sees half a grey level.
function pixelsOf(bitmap, [height, width], {orientation, isJpeg}, {enough}) {
  const natural = sizeOf(bitmap, orientation), least = () => Math.floor(Math.min(...natural.map((side, axis) => Math.ceil(side / factor) / (2 * enough[axis]))));
  let factor = 1;
  if (isJpeg) factor = [8, 4, 2, 1].find(part => least() >= part) ?? 1; // as its decoder can
  factor *= Math.max(1, least());
  const rows = (top, high) => [upright(bitmap, orientation, natural, top, high).getImageData(0, 0, natural[1], high).data, 4];
  const whole = reduced(rows, natural, [factor, factor]), gaps = [height, width].map((side, axis) => Math.max(1, Math.floor(whole.size[axis] / side / 3)));
  const small = Math.max(...gaps) === 1 ? whole : reduced(top => [whole.data.subarray(3 * whole.size[1] * top), 3], whole.size, gaps);
  const [extentDown, extentAcross] = whole.size.map((side, axis) => side / gaps[axis]);
  const narrow = resampled(small.data, ...small.size, extentAcross, width), made = resampled(narrow, width, small.size[0], extentDown, height);
  const planes = new Float32Array(made.length), area = height * width;
  for (let place = 0; place < made.length; place++) planes[place % 3 * area + Math.floor(place / 3)] = made[place] / 255;
  return planes;
}

// (height, width) of the upright photo.
const sizeOf = ({width, height}, orientation) => orientation >= 5 ? [width, height] : [height, width];

// Rows of the upright photo at a size, over white where it is transparent.
function upright(bitmap, orientation, [height, width], top = 0, high = height) {
  const context = new OffscreenCanvas(width, high).getContext("2d", {willReadFrequently: true});
  context.fillStyle = "white";
  context.fillRect(0, 0, width, high);
  context.imageSmoothingQuality = "high";
  const [tall, wide] = sizeOf(bitmap, orientation), [right, down] = [width / wide, height / tall];
  const [left, up] = [[2, 3, 6, 7].includes(orientation), [3, 4, 7, 8].includes(orientation)]; // reversed
  const [x, y] = [left ? -right : right, up ? -down : down];
  context.setTransform(...orientation >= 5 ? [0, y, x, 0] : [x, 0, 0, y], left ? width : 0, (up ? height : 0) - top);
  context.drawImage(bitmap, 0, 0);
  return context;
}

// Means of boxes of pixels. `rows(top, count)` returns rows and the number of their channels.
function reduced(rows, [height, width], [down, across]) {
  const size = [Math.ceil(height / down), Math.ceil(width / across)], data = new Uint8ClampedArray(3 * size[0] * size[1]);
  const strip = down * Math.max(1, Math.floor(STRIP / (width * down))), sums = new Float32Array(3 * size[1]);
  for (let top = 0, to = 0; top < height; top += strip) {
    const high = Math.min(strip, height - top), [pixels, channels] = rows(top, high);
    for (let y = 0, from = 0; y < high; y += down) {
      const tall = Math.min(down, high - y);
      sums.fill(0);
      for (let row = 0; row < tall; row++)
        for (let column = 0; column < size[1]; column++) {
          let red = 0, green = 0, blue = 0, wide = Math.min(across, width - across * column);
          for (; wide; wide--, from += channels) red += pixels[from], green += pixels[from + 1], blue += pixels[from + 2];
          sums[3 * column] += red, sums[3 * column + 1] += green, sums[3 * column + 2] += blue;
        }
      for (let column = 0; column < size[1]; column++) {
        const part = 1 / (tall * Math.min(across, width - across * column));
        for (let colour = 3 * column; colour < 3 * column + 3; colour++) data[to++] = sums[colour] * part;
      }
    }
  }
  return {data, size};
}

// Resample rows of `count` colours, which stand for `extent` pixels, to `size` with a triangular filter, and transpose.
function resampled(colours, rows, count, extent, size) {
  const made = new Uint8ClampedArray(3 * size * rows), scale = extent / size, support = Math.max(1, scale);
  for (let x = 0; x < size; x++) {
    const centre = (x + 0.5) * scale, first = Math.max(0, Math.trunc(centre - support + 0.5)), end = Math.min(count, Math.trunc(centre + support + 0.5));
    const weights = Float32Array.from({length: end - first}, (_, place) => Math.max(0, 1 - Math.abs(first + place + 0.5 - centre) / support));
    const sum = weights.reduce((one, other) => one + other);
    for (let y = 0; y < rows; y++) {
      let red = 0, green = 0, blue = 0;
      for (let place = 0, from = 3 * (y * count + first); place < weights.length; place++, from += 3)
        red += weights[place] * colours[from], green += weights[place] * colours[from + 1], blue += weights[place] * colours[from + 2];
      const to = 3 * (x * rows + y);
      made[to] = red / sum, made[to + 1] = green / sum, made[to + 2] = blue / sum;
    }
  }
  return made;
}

// Linear interpolation to another size, without antialiasing.
function enlarged(values, [rows, columns], [height, width], scale) {
  const along = (size, count) => Float32Array.from({length: size}, (_, place) => Math.min(Math.max(0, (place + 0.5) * count / size - 0.5), count - 1));
  const made = new Float32Array(height * width), line = new Float32Array(columns + 1), across = along(width, columns), down = along(height, rows);
  for (let y = 0, place = 0; y < height; y++) {
    const top = Math.floor(down[y]), part = down[y] - top, above = top * columns, below = Math.min(top + 1, rows - 1) * columns;
    for (let x = 0; x < columns; x++) line[x] = scale * (values[above + x] * (1 - part) + values[below + x] * part);
    for (let x = 0; x < width; x++, place++) {
      const left = Math.floor(across[x]), part = across[x] - left;
      made[place] = line[left] * (1 - part) + line[left + 1] * part;
    }
  }
  return made;
}

// ---- surfaces ----
// A GLB or PLY as `depth_unet.mesh` makes it, of what the viewer shows: x right, y up, z towards the viewer, metres.
async function surface({kind, state: {scale, camera, edges}}) {
  const {depth, width, height, canvas, name} = last, stride = kind === "glb" ? Math.ceil(Math.max(width, height) / SURFACE_LONGEST) : 1;
  const columns = Math.ceil(width / stride), rows = Math.ceil(height / stride), count = rows * columns;
  const at = place => [Math.min(Math.floor(place / columns) * stride, height - 1), Math.min(place % columns * stride, width - 1)];
  const places = new Float32Array(3 * count);
  for (let place = 0; place < count; place++) {
    const [y, x] = at(place), metres = depth[y * width + x] * scale;
    places.set([metres * (x + 0.5 - camera.cx) / camera.fx, -metres * (y + 0.5 - camera.cy) / camera.fy, -metres], 3 * place);
  }
  // Points with all edges need no triangles.
  const faces = kind === "glb" || edges ? triangles(edges ? STEEPEST * stride / Math.sqrt(camera.fx * camera.fy) : Infinity) : null;
  if (faces?.length === 0) throw Error("This depth map has no surface.");
  const made = kind === "glb" ? await glb() : ply();
  return {name: `${name.replace(/\.[^.]*$/, "")}.${kind}`, blob: new Blob(made, {type: kind === "glb" ? "model/gltf-binary" : "application/octet-stream"})};

  // Corners of the triangles between neighbours, without those whose depth differs by more than that part of the nearest.
  function triangles(steepest) {
    const corners = [];
    for (let place = 0; place < count - columns; place++) {
      if (place % columns === columns - 1) continue;
      for (const third of [[place, place + columns, place + 1], [place + 1, place + columns, place + columns + 1]]) {
        const depths = third.map(corner => -places[3 * corner + 2]), near = Math.min(...depths);
        if (near > 0 && !(Math.max(...depths) - near > steepest * near)) corners.push(...third);
      }
    }
    return corners;
  }

  // The corners of the triangles that are left, or all points.
  function ply() {
    const {data} = canvas.getContext("2d").getImageData(0, 0, width, height), seen = new Uint8Array(count).fill(faces ? 0 : 1);
    for (const corner of faces ?? []) seen[corner] = 1;
    const total = seen.reduce((sum, each) => sum + each, 0), points = new DataView(new ArrayBuffer(15 * total));
    for (let place = 0, start = 0; place < count; place++) {
      if (!seen[place]) continue;
      for (let axis = 0; axis < 3; axis++) points.setFloat32(start + 4 * axis, places[3 * place + axis], true);
      for (let colour = 0; colour < 3; colour++) points.setUint8(start + 12 + colour, data[4 * place + colour]);
      start += 15;
    }
    const properties = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"].map(each => `property ${each}\n`).join("");
    return [`ply\nformat binary_little_endian 1.0\ncomment depth_unet: metres, x right, y up, z towards the viewer\nelement vertex ${total}\n${properties}end_header\n`, points];
  }

  async function glb() {
    const texture = new Float32Array(2 * count);
    for (let place = 0; place < count; place++) {
      const [y, x] = at(place);
      texture.set([(x + 0.5) / width, (y + 0.5) / height], 2 * place);
    }
    const picture = new Uint8Array(await (await canvas.convertToBlob({type: "image/jpeg", quality: 0.9})).arrayBuffer());
    const parts = [places, texture, Uint32Array.from(faces), picture], padding = size => -size & 3;
    const bounds = pick => [0, 1, 2].map(axis => places.reduce((value, side, place) => place % 3 === axis ? pick(value, side) : value, places[axis]));
    let offset = 0;
    const bufferViews = parts.map(({byteLength}) => {
      offset += byteLength + padding(byteLength);
      return {buffer: 0, byteOffset: offset - byteLength - padding(byteLength), byteLength};
    });
    const text = new TextEncoder().encode(JSON.stringify({
      asset: {version: "2.0", generator: "depth_unet"}, scene: 0, scenes: [{nodes: [0]}], nodes: [{mesh: 0}],
      meshes: [{primitives: [{attributes: {POSITION: 0, TEXCOORD_0: 1}, indices: 2, material: 0}]}],
      accessors: [
        {bufferView: 0, componentType: 5126, count, type: "VEC3", min: bounds(Math.min), max: bounds(Math.max)},
        {bufferView: 1, componentType: 5126, count, type: "VEC2"}, {bufferView: 2, componentType: 5125, count: faces.length, type: "SCALAR"},
      ],
      bufferViews, buffers: [{byteLength: offset}], images: [{bufferView: 3, mimeType: "image/jpeg"}], textures: [{source: 0}],
      // The photo already contains the light: viewers must not shade it again.
      materials: [{pbrMetallicRoughness: {baseColorTexture: {index: 0}, metallicFactor: 0}, doubleSided: true, extensions: {KHR_materials_unlit: {}}}],
      extensionsUsed: ["KHR_materials_unlit"],
    }));
    const head = " ".repeat(padding(text.length)), words = (...numbers) => Uint32Array.from(numbers);
    return [words(0x46546c67, 2, 28 + text.length + head.length + offset), words(text.length + head.length, 0x4e4f534a), text, head,
      words(offset, 0x004e4942), ...parts.flatMap(part => [part, new Uint8Array(padding(part.byteLength))])];
  }
}

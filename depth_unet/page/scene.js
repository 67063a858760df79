// A depth map in the browser: the geometry of `depth_unet.Prediction`, the files that need no server, the view in 3-D.
"use strict";

window.DepthScene = (() => {
  const PRINT_POINTS = 400; // along the longer side: finer than a printer's nozzle

  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const radians = degrees => degrees * Math.PI / 180;
  const add = (a, b, factor = 1) => a.map((value, axis) => value + factor * b[axis]);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const length = a => Math.hypot(...a);

  // As many digits as the uncertainty allows.
  function written(value, doubt, unit = "m") {
    if (!Number.isFinite(value)) return "–";
    if (!(doubt > 0)) return `${value.toFixed(Math.abs(value) < 0.2 ? 3 : 2)} ${unit}`;
    const digits = clamp(-Math.floor(Math.log10(doubt)), 0, 3);
    return `${value.toFixed(digits)} ± ${doubt.toFixed(digits)} ${unit}`;
  }

  // The plane n·P = 1 through points: least squares of the inverse depth, which is linear in the picture.
  function fitPlane(points) {
    const sums = [[0, 0, 0], [0, 0, 0], [0, 0, 0]], right = [0, 0, 0];
    for (const [x, y, z] of points) {
      const ray = [x / z, y / z, 1];
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 3; j++) sums[i][j] += ray[i] * ray[j];
        right[i] += ray[i] / z;
      }
    }
    const [a, b, c] = sums, det = dot(a, cross(b, c));
    return [cross(b, c), cross(c, a), cross(a, b)].reduce((n, column, i) => add(n, column, right[i] / det), [0, 0, 0]);
  }

  const onPlane = (normal, point, tolerance) => Math.abs(dot(normal, point) - 1) < tolerance;

  // The plane of most of the points, without those that lie elsewhere.
  function fitMostly(points, normal = fitPlane(points), tolerance = 0.03) {
    for (let round = 0; round < 4; round++) {
      const near = points.filter(point => onPlane(normal, point, tolerance));
      if (near.length < 8) break;
      normal = fitPlane(near);
    }
    return normal;
  }

  function inside(x, y, corners) {
    let odd = false;
    corners.forEach(([x1, y1], index) => {
      const [x2, y2] = corners[(index + 1) % corners.length];
      if (y1 > y !== y2 > y && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1) odd = !odd;
    });
    return odd;
  }

  // A depth map with its camera: what `Prediction` is in Python, with the same geometry.
  class Scene {
    constructor(given) {
      Object.assign(this, {photoError: 0, pixelError: 1}, given, {scale: 1, calibration: given.calibration ?? 1, fov: null, earlier: []});
      this.photoSize ??= {width: this.width, height: this.height};
      this.first = {camera: this.camera, cameraFrom: this.cameraFrom};
      let farthest = 0;
      for (const metres of this.depth) if (metres > farthest && metres < Infinity) farthest = metres;
      this.step = Math.max(0.001, farthest / 65534); // metres from one colour index to the next
      this.highest = Math.ceil(farthest / this.step);
      [this.steps, this.counts] = [new Uint16Array(this.depth.length), new Uint32Array(this.highest + 1)];
      this.depth.forEach((metres, place) => {
        if (metres > 0 && metres < Infinity) this.steps[place] = Math.min(Math.max(1, metres / this.step + 0.5), this.highest);
        this.counts[this.steps[place]]++;
      });
    }

    // Metres below which a part of all pixels with depth lies.
    quantile(part) {
      const wanted = part * (this.steps.length - this.counts[0]);
      let sum = 0, step = 0;
      while (step < this.highest && sum <= wanted) sum += this.counts[++step];
      return step * this.step * this.scale;
    }

    metres(x, y) {
      const metres = this.depth[y * this.width + x];
      return metres > 0 && metres < Infinity ? metres * this.scale : NaN;
    }

    ray(x, y) {
      const {fx, fy, cx, cy} = this.camera;
      return [(x + 0.5 - cx) / fx, (y + 0.5 - cy) / fy, 1];
    }

    point([x, y], factor = 1) {
      return this.ray(x, y).map(side => side * this.metres(x, y) * factor);
    }

    // Points of every so many pixels of a box.
    sample(left, top, right, bottom, count, wanted = () => true) {
      const stride = Math.max(1, Math.floor(Math.sqrt((right - left) * (bottom - top) / count))), points = [];
      for (let y = Math.max(0, Math.ceil(top)); y <= Math.min(bottom, this.height - 1); y += stride)
        for (let x = Math.max(0, Math.ceil(left)); x <= Math.min(right, this.width - 1); x += stride)
          if (wanted(x, y) && this.metres(x, y) > 0) points.push(this.point([x, y]));
      return points;
    }

    // The plane around a pixel, then of all that lies on it.
    floor([x, y]) {
      const reach = Math.max(3, 0.03 * this.width);
      const patch = fitMostly(this.sample(x - reach, y - reach, x + reach, y + reach, 400));
      return fitMostly(this.sample(0, 0, this.width - 1, this.height - 1, 10000), patch, 0.02);
    }

    // The corners of a polygon, moved along their rays onto the plane that fits what lies inside.
    corners(points) {
      const [xs, ys] = [0, 1].map(axis => points.map(point => point[axis]));
      const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
      const within = this.sample(...box, 3000, (x, y) => inside(x + 0.5, y + 0.5, points));
      const normal = fitMostly([...within, ...points.map(point => this.point(point))]);
      return points.map(([x, y]) => this.ray(x, y).map(side => side / dot(normal, this.ray(x, y))));
    }

    plain(kind, points, factors = [1, 1, 1, 1]) {
      if (kind === "point") return length(this.point(points[0], factors[0]));
      if (kind === "line") return length(add(this.point(points[0], factors[0]), this.point(points[1], factors[1]), -1));
      if (kind === "height") {
        const normal = this.floor(points[0]);
        return (factors[0] - dot(normal, this.point(points[1], factors[1]))) / length(normal);
      }
      const [start, ...others] = this.corners(points).map(corner => corner.map(side => side * factors[0]));
      const sides = others.map(corner => add(corner, start, -1));
      return length(sides.slice(1).reduce((sum, side, index) => add(sum, cross(sides[index], side)), [0, 0, 0])) / 2;
    }

    // {value, doubt}, as `Prediction.length_uncertainty`: what all pixels share, and what each point has of its own.
    measured(kind, points) {
      const value = this.plain(kind, points), shared = this.calibration === 1, small = 1e-4;
      if (!this.uncertainty) return {value, doubt: null};
      const sigmas = points.map(([x, y]) => this.uncertainty[y * this.width + x]);
      if (kind === "point" && shared) return {value, doubt: value * sigmas[0]};
      const parts = sigmas.map((sigma, index) => {
        if (kind === "area" && index) return 0; // one plane, one doubt
        const factors = [1, 1, 1, 1];
        factors[index] += small;
        return this.pixelError * sigma * (this.plain(kind, points, factors) - value) / small;
      });
      return {value, doubt: Math.hypot(this.photoError * value * (kind === "area" ? 2 : 1) * shared, ...parts)};
    }

    get fovDeg() {
      const {fx, cx} = this.camera;
      return (Math.atan(cx / fx) + Math.atan((this.width - cx) / fx)) * 180 / Math.PI;
    }

    // Another lens, or the first one without an angle; a calibrated map keeps its metres.
    setLens(fovDeg) {
      const before = Math.sqrt(this.camera.fx * this.camera.fy), {width, height} = this.photoSize;
      const focal = width / (2 * Math.tan(radians(fovDeg) / 2));
      const typed = {fx: focal * this.width / width, fy: focal * this.height / height, cx: this.width / 2, cy: this.height / 2};
      Object.assign(this, fovDeg ? {camera: typed, cameraFrom: "given"} : this.first, {fov: fovDeg ?? null, earlier: []});
      const ratio = Math.sqrt(this.camera.fx * this.camera.fy) / before;
      if (this.metresFollowLens === false) return;
      if (this.calibration === 1) this.scale *= ratio;
      else this.calibration /= ratio;
    }

    calibrate(factor) {
      this.earlier.push([this.scale, this.calibration]);
      [this.scale, this.calibration] = [this.scale * factor, this.calibration * factor];
    }

    undo() {
      [this.scale, this.calibration] = this.earlier.pop() ?? [this.scale / this.calibration, 1];
    }

    // The map with at most `longest` pixels along its longer side, by nearest neighbour: no mixed depths.
    shrunk(longest) {
      const part = Math.min(1, longest / Math.max(this.width, this.height));
      const [width, height] = [this.width, this.height].map(side => Math.max(2, Math.round(side * part)));
      const depth = new Float32Array(width * height), {fx, fy, cx, cy} = this.camera;
      const across = Array.from({length: width}, (_, x) => Math.floor((x + 0.5) * this.width / width));
      for (let y = 0, place = 0; y < height; y++) {
        const row = Math.floor((y + 0.5) * this.height / height);
        for (const x of across) depth[place++] = this.metres(x, row) || 0;
      }
      const [right, down] = [width / this.width, height / this.height];
      return {width, height, depth, camera: {fx: fx * right, fy: fy * down, cx: cx * right, cy: cy * down}};
    }

    // The printable relief: heights in millimetres as `depth_unet.mesh.relief` makes them.
    relief(options) {
      const {width, height, depth} = this.shrunk(PRINT_POINTS);
      const near = options.near ?? this.quantile(0.02), far = options.far ?? Math.max(this.quantile(0.98), near + 0.01);
      let plane = Float32Array.from(depth, metres => -Math.log(clamp(metres || far, Math.max(near, 1e-6), Math.max(far, 1e-6))));
      const longest = Math.max(width, height) - 1, rim = Math.round(options.frame_mm * longest / (options.size_mm - 2 * options.frame_mm));
      const pitch = options.size_mm / (longest + 2 * rim);
      plane = smoothed(plane, width, height, options.smoothing_mm / pitch);
      let low = Infinity, high = -Infinity;
      for (const value of plane) [low, high] = [Math.min(low, value), Math.max(high, value)];
      const columns = width + 2 * rim, rows = height + 2 * rim;
      const heights = new Float32Array(columns * rows).fill(options.base_mm + options.relief_mm);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const part = (plane[y * width + x] - low) / Math.max(high - low, 1e-9);
          heights[(y + rim) * columns + x + rim] = options.base_mm + options.relief_mm * (options.invert ? 1 - part : part);
        }
      return {width: columns, height: rows, heights, pitch};
    }
  }

  // Convolved with a Gaussian along both axes; values beyond the border equal those at it.
  function smoothed(plane, width, height, sigma) {
    const reach = Math.ceil(3 * sigma);
    if (!reach) return plane;
    const weights = Array.from({length: 2 * reach + 1}, (_, place) => Math.exp(-0.5 * ((place - reach) / sigma) ** 2));
    const total = weights.reduce((sum, weight) => sum + weight);
    for (const [steps, stride, count, jump] of [[height, width, width, 1], [width, 1, height, width]]) {
      const result = new Float32Array(plane.length);
      for (let line = 0; line < count; line++)
        for (let place = 0; place < steps; place++) {
          let sum = 0;
          for (let k = -reach; k <= reach; k++)
            sum += weights[k + reach] * plane[line * jump + clamp(place + k, 0, steps - 1) * stride];
          result[line * jump + place * stride] = sum / total;
        }
      plane = result;
    }
    return plane;
  }

  // The relief in white plaster, lit from the upper left.
  function shaded({width, height, heights, pitch}) {
    const image = new ImageData(width, height);
    for (let y = 0, place = 0; y < height; y++)
      for (let x = 0; x < width; x++, place++) {
        const right = (heights[place + (x < width - 1)] - heights[place - (x > 0)]) / (2 * pitch);
        const down = (heights[place + width * (y < height - 1)] - heights[place - width * (y > 0)]) / (2 * pitch);
        const light = 0.4 + 0.6 * Math.max(0, 1.2 + right + down) / Math.hypot(right, down, 1) / 1.85;
        image.data.set([252 * light, 247 * light, 238 * light, 255], 4 * place);
      }
    return image;
  }

  const CRC = Uint32Array.from({length: 256}, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ byte >>> 1 : byte >>> 1;
    return byte;
  });
  const crc32 = bytes => ~bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ sum >>> 8, -1) >>> 0;
  const bytesOf = async blob => new Uint8Array(await new Response(blob).arrayBuffer());

  async function png16({width, height, depth}) {
    const rows = new DataView(new ArrayBuffer(height * (1 + 2 * width)));
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const millimetres = Math.round(depth[y * width + x] * 1000);
        rows.setUint16(y * (1 + 2 * width) + 1 + 2 * x, millimetres <= 65534 ? millimetres : 0);
      }
    const packed = await bytesOf(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
    const chunk = (name, content) => {
      const bytes = new Uint8Array(12 + content.length), view = new DataView(bytes.buffer);
      view.setUint32(0, content.length);
      bytes.set([...name].map(letter => letter.charCodeAt()), 4);
      bytes.set(content, 8);
      view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
      return bytes;
    };
    const header = new DataView(new ArrayBuffer(13));
    header.setUint32(0, width);
    header.setUint32(4, height);
    header.setUint16(8, 16 << 8); // 16 bits of grey
    const parts = [chunk("IHDR", new Uint8Array(header.buffer)), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
    return new Blob([new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), ...parts], {type: "image/png"});
  }

  function npy({width, height, depth}) {
    const about = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`.padEnd(117) + "\n";
    return new Blob([new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, 118, 0]), about, depth]);
  }

  // The relief as a watertight binary STL.
  function stl({width, height, heights, pitch}) {
    const grid = Array.from(heights, (z, place) => [place % width * pitch, (height - 1 - Math.floor(place / width)) * pitch, z]);
    const rim = [];
    for (let x = 0; x < width - 1; x++) rim.push(x);
    for (let y = 0; y < height - 1; y++) rim.push(y * width + width - 1);
    for (let x = width - 1; x > 0; x--) rim.push((height - 1) * width + x);
    for (let y = height - 1; y > 0; y--) rim.push(y * width);
    const faces = [], floor = place => [grid[place][0], grid[place][1], 0];
    for (let y = 0; y < height - 1; y++)
      for (let x = 0; x < width - 1; x++) {
        const a = grid[y * width + x], b = grid[y * width + x + 1], c = grid[(y + 1) * width + x], d = grid[(y + 1) * width + x + 1];
        faces.push([a, c, b], [b, c, d]);
      }
    const middle = [(width - 1) * pitch / 2, (height - 1) * pitch / 2, 0];
    rim.forEach((place, index) => {
      const next = rim[(index + 1) % rim.length];
      faces.push([grid[place], grid[next], floor(place)], [grid[next], floor(next), floor(place)], [floor(place), floor(next), middle]);
    });
    const file = new DataView(new ArrayBuffer(84 + 50 * faces.length));
    file.setUint32(80, faces.length, true);
    faces.forEach((face, index) => {
      const [a, b, c] = face, normal = cross(add(b, a, -1), add(c, a, -1)), size = length(normal) || 1;
      [normal.map(side => side / size), ...face].flat().forEach((value, place) => file.setFloat32(84 + 50 * index + 4 * place, value, true));
    });
    return new Blob([file]);
  }

  // An archive of files that are stored, not compressed.
  async function zip(files) {
    const little = (...pairs) => {
      const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [size]) => sum + size, 0)));
      let place = 0;
      for (const [size, value] of pairs) {
        if (size === 2) view.setUint16(place, value, true);
        else view.setUint32(place, value, true);
        place += size;
      }
      return new Uint8Array(view.buffer);
    };
    const parts = [], entries = [], size = list => list.reduce((sum, part) => sum + part.length, 0);
    for (const {name, blob} of files) {
      const content = await bytesOf(blob), letters = new TextEncoder().encode(name), all = content.length;
      // Version 2.0, names in UTF-8, stored, 1 January 1980.
      const about = little([2, 20], [2, 0x800], [2, 0], [2, 0], [2, 33], [4, crc32(content)], [4, all], [4, all], [2, letters.length], [2, 0]);
      entries.push(little([4, 0x02014b50], [2, 20]), about, little([4, 0], [4, 0], [2, 0], [4, size(parts)]), letters);
      parts.push(little([4, 0x04034b50]), about, letters, content);
    }
    const count = [2, files.length], end = little([4, 0x06054b50], [4, 0], count, count, [4, size(entries)], [4, size(parts)], [2, 0]);
    return new Blob([...parts, ...entries, end], {type: "application/zip"});
  }

  // ---- 3-D ----
  const SPACE_POINTS = 400; // of the view in 3-D
  const STEEPEST = 12; // metres of depth per metre across; depth edges are steeper, visible floors are not
  const VERTEX = `#version 300 es
    in vec3 place; in vec2 at; out vec2 seen;
    uniform mat3 turn; uniform vec3 pivot; uniform vec4 lens; uniform vec2 fit; uniform float back, dot;
    void main() {
      vec3 p = turn * (place - pivot) + vec3(0, 0, pivot.z * back);
      float near = pivot.z * .02, far = pivot.z * 60.;
      gl_Position = vec4((lens.x * p.x + lens.z * p.z) * fit.x, -(lens.y * p.y + lens.w * p.z) * fit.y,
        (p.z * (far + near) - 2. * far * near) / (far - near), p.z);
      gl_PointSize = dot; seen = at;
    }`;
  const FRAGMENT = `#version 300 es
    precision mediump float;
    in vec2 seen; uniform sampler2D picture; out vec4 shown;
    void main() { shown = texture(picture, seen); }`;

  // A surface or points that a person turns; before the first turn it covers the picture exactly.
  class Space {
    constructor(canvas) {
      this.canvas = canvas;
      this.gl = canvas.getContext("webgl2", {antialias: false, preserveDrawingBuffer: true});
      if (!this.gl) throw Error("This browser offers no WebGL 2, which 3-D needs.");
      const {gl} = this, program = this.program = gl.createProgram();
      for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      gl.useProgram(program);
      gl.enable(gl.DEPTH_TEST);
      [this.places, this.faces, this.texture] = [gl.createBuffer(), gl.createBuffer(), gl.createTexture()];
      gl.bindBuffer(gl.ARRAY_BUFFER, this.places);
      for (const [name, count, start] of [["place", 3, 0], ["at", 2, 12]]) {
        const attribute = gl.getAttribLocation(program, name);
        gl.enableVertexAttribArray(attribute);
        gl.vertexAttribPointer(attribute, count, gl.FLOAT, false, 20, start);
      }
      this.reset();
    }

    reset() {
      [this.yaw, this.pitch, this.back] = [0, 0, 1];
    }

    build(scene, picture, cutEdges) {
      const {gl} = this, {width, height, depth, camera} = scene.shrunk(SPACE_POINTS), {fx, fy, cx, cy} = camera;
      const places = new Float32Array(5 * depth.length), used = new Uint8Array(depth.length), focal = Math.sqrt(fx * fy);
      const faces = new Uint32Array(7 * depth.length); // triangles, then the points that they use
      const visible = (a, b, c) => { // as in depth_unet.mesh
        const near = Math.min(depth[a], depth[b], depth[c]), far = Math.max(depth[a], depth[b], depth[c]);
        return near > 0 && !(cutEdges && far - near > STEEPEST * near / focal);
      };
      let count = 0, points = 0;
      for (let y = 0, place = 0; y < height; y++)
        for (let x = 0; x < width; x++, place++) {
          const z = places[5 * place + 2] = depth[place];
          places[5 * place] = z * (x + 0.5 - cx) / fx;
          places[5 * place + 1] = z * (y + 0.5 - cy) / fy;
          places[5 * place + 3] = (x + 0.5) / width;
          places[5 * place + 4] = (y + 0.5) / height;
          if (x === width - 1 || y === height - 1) continue;
          const b = place + width, c = place + 1, d = b + 1;
          if (visible(place, b, c)) for (const corner of [place, b, c]) used[faces[count++] = corner] = 1;
          if (visible(c, b, d)) for (const corner of [c, b, d]) used[faces[count++] = corner] = 1;
        }
      used.forEach((wanted, place) => wanted && (faces[count + points++] = place));
      gl.bindBuffer(gl.ARRAY_BUFFER, this.places);
      gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.faces);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces.subarray(0, count + points), gl.STATIC_DRAW);
      gl.bindTexture(gl.TEXTURE_2D, this.texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
      gl.generateMipmap(gl.TEXTURE_2D);
      for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
      Object.assign(this, {width, height, count, points, pivot: scene.quantile(0.4)});
      this.lens = [2 * fx / width, 2 * fy / height, 2 * cx / width - 1, 2 * cy / height - 1];
    }

    draw(asPoints) {
      const {gl, canvas, program} = this, sharp = window.devicePixelRatio || 1;
      [canvas.width, canvas.height] = [canvas.clientWidth * sharp, canvas.clientHeight * sharp].map(Math.round);
      const size = Math.min(canvas.width / this.width, canvas.height / this.height); // all of the picture fits
      const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
      const at = name => gl.getUniformLocation(program, name);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.uniformMatrix3fv(at("turn"), false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
      gl.uniform3f(at("pivot"), 0, 0, this.pivot);
      gl.uniform4f(at("lens"), ...this.lens);
      gl.uniform2f(at("fit"), size * this.width / canvas.width, size * this.height / canvas.height);
      gl.uniform1f(at("back"), this.back);
      gl.uniform1f(at("dot"), Math.max(1, 1.3 * size / this.back));
      gl.clearColor(0.06, 0.09, 0.16, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      if (asPoints) gl.drawElements(gl.POINTS, this.points, gl.UNSIGNED_INT, 4 * this.count);
      else gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
    }
  }

  return {Scene, Space, written, clamp, add, dot, shaded, png16, npy, stl, zip};
})();

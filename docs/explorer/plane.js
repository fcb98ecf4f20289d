/* Drawing in a plane with SVG: axes, points, lines, labels that keep apart. Defines `plane`. */
"use strict";

const plane = (() => {
  const SIZE = 400; // of the viewBox; everything below is in its units
  const BOX = { left: 34, right: 392, top: 8, bottom: 372 };
  const MARKS = { // as in the figures: one shape per method
    circle: "M-1,0a1,1 0 1,0 2,0a1,1 0 1,0 -2,0z",
    square: "M-.9,-.9h1.8v1.8h-1.8z",
    up: "M0,-1.15L1.05,.8H-1.05z",
    down: "M0,1.15L1.05,-.8H-1.05z",
    plus: "M-.4,-1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",
  };

  /** A new child of `parent` with these attributes. */
  function put(parent, tag, attributes, text) {
    const e = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
    return set(e, attributes, text);
  }

  function set(e, attributes, text) {
    for (const [name, value] of Object.entries(attributes)) {
      if (e.getAttribute(name) !== String(value)) e.setAttribute(name, value);
    }
    if (text !== undefined && e.textContent !== text) e.textContent = text;
    return e;
  }

  /** Exactly n children of `parent`; `make(parent, i)` gives those that are missing. */
  function children(parent, n, make) {
    while (parent.childElementCount > n) parent.lastElementChild.remove();
    while (parent.childElementCount < n) make(parent, parent.childElementCount);
    return [...parent.children];
  }

  /** The plane of an <svg>: layers to draw in, and maps between data and viewBox units. */
  function create(svg, layers) {
    set(svg, { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "plane" });
    const axes = put(svg, "g", { class: "axes", "aria-hidden": "true" });
    const size = { x: BOX.right - BOX.left, y: BOX.bottom - BOX.top };
    const clip = put(svg, "svg", {
      ...{ x: BOX.left, y: BOX.top, width: size.x, height: size.y },
      viewBox: `${BOX.left} ${BOX.top} ${size.x} ${size.y}`,
    });
    const made = Object.fromEntries(layers.map((name) => [name, put(clip, "g", { class: name })]));
    const self = { svg, ...made, range: null };
    self.to = ([a, b]) => {
      const { x, y } = self.range;
      return [
        BOX.left + ((a - x[0]) / (x[1] - x[0])) * size.x,
        BOX.bottom - ((b - y[0]) / (y[1] - y[0])) * size.y,
      ];
    };
    /** Data units per viewBox unit. */
    self.unit = () => [
      (self.range.x[1] - self.range.x[0]) / size.x,
      (self.range.y[1] - self.range.y[0]) / size.y,
    ];
    self.at = (event) => {
      const [u, v] = self.unit();
      const frame = svg.getBoundingClientRect();
      const px = ((event.clientX - frame.left) / frame.width) * SIZE;
      const py = ((event.clientY - frame.top) / frame.height) * SIZE;
      return [self.range.x[0] + (px - BOX.left) * u, self.range.y[0] + (BOX.bottom - py) * v];
    };
    self.show = (range, names) => {
      if (JSON.stringify([range, names]) === self.shown) return;
      self.shown = JSON.stringify([range, names]);
      self.range = range;
      drawAxes(self, axes, names);
    };
    return self;
  }

  function drawAxes(self, axes, names) {
    axes.replaceChildren();
    for (const [k, range] of [self.range.x, self.range.y].entries()) {
      const step = nice((range[1] - range[0]) / 5);
      for (let n = Math.ceil(range[0] / step); n * step <= range[1] + 1e-9; n++) {
        const [px, py] = self.to(k ? [0, n * step] : [n * step, 0]);
        const grid = k
          ? { x1: BOX.left, x2: BOX.right, y1: py, y2: py }
          : { x1: px, x2: px, y1: BOX.top, y2: BOX.bottom };
        put(axes, "line", { ...grid, class: n ? "grid" : "zero" });
        const place = k ? { x: BOX.left - 5, y: py + 4 } : { x: px, y: BOX.bottom + 14 };
        const text = String(Number((n * step).toPrecision(3))).replace("-", "\u2212");
        put(axes, "text", { ...place, "text-anchor": k ? "end" : "middle" }, text);
      }
    }
    const corner = { x: BOX.right, y: BOX.bottom + 26, "text-anchor": "end", class: "name" };
    put(axes, "text", corner, names[0]);
    put(axes, "text", { x: BOX.left + 5, y: BOX.top + 11, class: "name" }, names[1]);
  }

  /** 1, 2 or 5 times a power of 10, not below v. */
  function nice(v) {
    const power = 10 ** Math.floor(Math.log10(v));
    return power * [1, 2, 5, 10].find((k) => k * power >= v * (1 - 1e-9));
  }

  /** The part of the line a.p = c inside the plane as two viewBox points, or null. */
  function chord(self, a, c) {
    const length = a[0] * a[0] + a[1] * a[1];
    if (!(length > 0)) return null;
    const p = [(a[0] * c) / length, (a[1] * c) / length];
    const d = [a[1], -a[0]];
    let [low, high] = [-Infinity, Infinity];
    for (const [k, range] of [self.range.x, self.range.y].entries()) {
      const ends = range.map((r) => (r - p[k]) / d[k]).sort((u, v) => u - v);
      if (d[k] !== 0) [low, high] = [Math.max(low, ends[0]), Math.min(high, ends[1])];
      else if (p[k] < range[0] || p[k] > range[1]) return null;
    }
    if (!(low < high)) return null;
    return [low, high].map((t) => self.to([p[0] + t * d[0], p[1] + t * d[1]]));
  }

  /** Draws chord(a, c) as <line>; hides it where there is none. */
  function line(e, self, a, c, attributes) {
    const ends = chord(self, a, c);
    const hidden = ends ? {} : { x1: 0, y1: 0, x2: 0, y2: 0 };
    if (ends) [[hidden.x1, hidden.y1], [hidden.x2, hidden.y2]] = ends;
    return set(e, { ...hidden, ...attributes });
  }

  /** The path of a shape of radius 1, and the transform that puts it there with radius r. */
  const mark = (shape) => MARKS[shape];
  const move = ([x, y], r) => `translate(${x.toFixed(2)},${y.toFixed(2)}) scale(${r.toFixed(2)})`;

  /** The sector between two angles (less than pi apart) around the origin, as polygon points. */
  function sector(self, [low, high]) {
    const far = 20 * Math.max(...self.range.x, ...self.range.y);
    const angles = [low, 0.5 * (low + high), high];
    const corners = angles.map((a) => self.to([far * Math.cos(a), far * Math.sin(a)]));
    return [self.to([0, 0]), ...corners].map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ");
  }

  /** Texts beside their anchors `at`, each where it covers least of the others and of `taken`, and
      where no other anchor is nearer; with a `shape` its mark stands before the text. */
  function labels(layer, items, taken = []) {
    const around = ([x, y]) => [x - 10, y - 10, x + 10, y + 10];
    const boxes = [...taken, ...items.map(({ at }) => at)].map(around);
    const written = [];
    const groups = children(layer, items.length, (parent) => {
      const g = put(parent, "g", { class: "label" });
      put(g, "path", {});
      put(g, "text", {});
    });
    items.forEach(({ at, text, shape, fill }, i) => {
      const indent = shape ? 15 : 0;
      const covered = (box, list) => list.filter((other) => overlap(box, other)).length;
      const nearer = (box) => items.filter((one) => away(box, one.at) < away(box, at) - 4).length;
      const free = spots(at, 7.3 * text.length + 9 + indent)
        .map((box, k) => {
          const hidden = 40 * covered(box, boxes) + 400 * covered(box, written);
          return { box, cost: k + hidden + 30 * nearer(box) };
        })
        .reduce((a, b) => (a.cost <= b.cost ? a : b)).box;
      written.push(free);
      const [path, words] = groups[i].children;
      const d = shape ? mark(shape) : "";
      set(path, { d, transform: move([free[0] + 9, free[3] - 9], 5), fill });
      set(words, { x: free[0] + 3 + indent, y: free[3] - 5 }, text);
    });
  }

  /** Boxes around an anchor, nearest first, all inside the plane. */
  function spots([x, y], width) {
    const found = [];
    for (const gap of [10, 24, 40, 58]) {
      for (const [a, b] of [[1, 0], [1, -1], [1, 1], [-1, 0], [-1, -1], [-1, 1], [0, -1], [0, 1]]) {
        const left = x + a * gap - (a < 0 ? width : a === 0 ? width / 2 : 0);
        const top = y + b * gap - 9;
        const inside = Math.min(BOX.right - width, Math.max(BOX.left + 2, left));
        const lower = Math.min(BOX.bottom - 20, Math.max(BOX.top + 16, top));
        found.push([inside, lower, inside + width, lower + 18]);
      }
    }
    return found;
  }

  /** The distance of a point from a box. */
  const away = ([left, top, right, bottom], [x, y]) =>
    Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));

  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  return { BOX, create, put, set, children, line, chord, mark, move, sector, labels, nice };
})();

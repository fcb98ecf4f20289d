/* The pictures of the Explorer: two planes, the table of losses, the strip of weights. Defines
   `draw`. It reads the state and the results that view.js hands over, and changes neither. */
"use strict";

const draw = (() => {
  const { put, set, children, line, mark, move } = plane;

  // Colours and marks are those of the figures (figures/style.py, LOOKS).
  const METHODS = [
    { key: "validation", name: "validation", mark: "plus", size: 9, width: 7, dash: "none" },
    { key: "uniform", name: "uniform", mark: "down", size: 7, width: 2, dash: "2 4" },
    { key: "mixing", name: "mixing", mark: "square", size: 7, width: 2.5, dash: "9 5" },
    { key: "bmo", name: "closed form", mark: "up", size: 7, width: 2.5, dash: "10 4 2 4" },
    { key: "bds", name: "BDS", mark: "circle", size: 5.5, width: 2.5, dash: "none" },
  ];
  const FULL = { validation: "validation only", mixing: "direct mixing" };
  const color = (key) => `var(--${key})`;

  const $ = (id) => document.getElementById(id);
  const dataPlane = plane.create($("data"), ["forbidden", "models", "val", "train", "names"]);
  const thetaPlane = plane.create($("theta"), ["sets", "samples", "solutions", "names"]);

  /** A number in at most five characters or so. */
  function short(v) {
    if (Math.abs(v) < 1e-12) return v === 0 ? "0" : "< 1e\u221212"; // rounding of losses near 1
    const size = Math.abs(v);
    if (size >= 1e-3 && size < 1e4) return v.toPrecision(size < 1 ? 2 : 3);
    return v.toExponential(0).replace("-", "\u2212");
  }

  // The data plane -------------------------------------------------------------------------------

  function data(state, result) {
    const ridge = state.mode === "ridge";
    dataPlane.show(task.RANGE[state.mode], ridge ? ["t", "y"] : ["x\u2081", "x\u2082"]);
    const lines = children(dataPlane.models, METHODS.length, (g) => put(g, "line", {}));
    const ends = METHODS.map(({ key, width, dash }, i) => {
      const { theta } = result[key];
      // y = theta_1 + theta_2 t, or the boundary theta.x = 0, as a.p = c
      const [a, c] = ridge ? [[-theta[1], 1], theta[0]] : [theta, 0];
      line(lines[i], dataPlane, a, c, {
        ...{ stroke: color(key), "stroke-width": width, "stroke-dasharray": dash },
        "stroke-opacity": key === "validation" ? 0.45 : 1,
      });
      return plane.chord(dataPlane, a, c);
    });
    const named = METHODS.map(({ key, name, mark: shape }, i) => {
      return { at: rightmost(ends[i]), text: name, shape, fill: color(key) };
    }).filter(({ at }) => at);
    named.sort((one, two) => one.at[1] - two.at[1]); // from top to bottom, so that none cross
    const w = result[state.sizes].weights;
    const most = Math.max(...w);
    points(state, "val", result, (p) => ({ r: 4, fill: 1, useful: false, p }));
    points(state, "train", result, (p, i) => ({
      ...{ r: 3.2 + 6 * Math.sqrt(w[i] / most), fill: 0.1 + 0.8 * Math.sqrt(w[i] / most) },
      useful: Boolean(result.useful && result.useful[i]),
    }));
    const places = result.problem.train.X.map((_, i) =>
      dataPlane.to(task.position(state.mode, state.noise, state.train[i])),
    );
    plane.labels(dataPlane.names, [...forbidden(result), ...named], places);
  }

  /** The end of a chord further to the right, a little inside. */
  function rightmost(chord) {
    if (!chord) return null;
    const [end, other] = chord[0][0] > chord[1][0] ? chord : [chord[1], chord[0]];
    const length = Math.hypot(end[0] - other[0], end[1] - other[1]) || 1;
    return [0, 1].map((k) => end[k] + (8 * (other[k] - end[k])) / length);
  }

  /** Logistic: where a training point of one class is useless, -y x in the cone of validation.
      Draws the two sectors; returns their labels, unless there is no room for one. */
  function forbidden({ cone }) {
    const sectors = cone ? [cone, cone.map((a) => a + Math.PI)] : [];
    const polygons = children(dataPlane.forbidden, sectors.length, (g) => put(g, "polygon", {}));
    const labels = sectors.map((range, k) => {
      set(polygons[k], { points: plane.sector(dataPlane, range) });
      const angle = 0.5 * (range[0] + range[1]);
      const at = dataPlane.to([2.7 * Math.cos(angle), 2.7 * Math.sin(angle)]);
      return { at, text: "useless here", shape: k ? "circle" : "square", fill: color("useless") };
    });
    return cone && cone[1] - cone[0] > 0.1 ? labels : [];
  }

  /** Points of one data set, elements kept so that keyboard focus stays. */
  function points(state, name, result, look) {
    const list = state[name].slice(0, name === "train" ? state.N : state.m);
    const groups = children(dataPlane[name], list.length, (layer, i) => newPoint(layer, name, i));
    list.forEach((p, i) => {
      const g = groups[i];
      const { r, fill, useful } = look(p, i);
      const square = state.mode === "logistic" && task.target(state.mode, state.noise, p) < 0;
      const at = dataPlane.to(task.position(state.mode, state.noise, p));
      set(g, { transform: `translate(${at[0].toFixed(2)},${at[1].toFixed(2)})` });
      set(g, { "aria-label": spoken(state, name, i, result) });
      if (name === "train") set(g, { "aria-pressed": p.bad });
      g.classList.toggle("selected", name === "train" && i === state.selected);
      const [, body, ring, cross] = g.children;
      set(body, { d: mark(square ? "square" : "circle"), transform: `scale(${r.toFixed(2)})` });
      if (name === "train") {
        set(body, { fill: color(state.sizes), "fill-opacity": fill.toFixed(2) });
      }
      set(ring, { r: (r + 3.5).toFixed(2), visibility: useful ? "visible" : "hidden" });
      const c = r + 2;
      const d = `M${-c},${-c}L${c},${c}M${-c},${c}L${c},${-c}`;
      set(cross, { d, visibility: p.bad ? "visible" : "hidden" });
    });
  }

  function newPoint(layer, name, i) {
    const g = put(layer, "g", { class: "point", tabindex: 0, role: "button" });
    Object.assign(g.dataset, { set: name, index: i });
    put(g, "circle", { class: "hit", r: 13 });
    put(g, "path", { class: "body" });
    put(g, "circle", { class: "ring" });
    put(g, "path", { class: "cross" });
  }

  function spoken(state, name, i, result) {
    const p = state[name][i];
    const [a, b] = task.position(state.mode, state.noise, p).map((v) => v.toFixed(2));
    const label = result.problem[name].y[i];
    const where = state.mode === "ridge" ? `t ${a}, y ${b}` : `class ${label} at ${a}, ${b}`;
    if (name === "val") return `validation sample ${i + 1}, ${where}`;
    const weight = (100 * result[state.sizes].weights[i]).toFixed(1);
    const use = result.useful ? (result.useful[i] ? ", useful" : ", useless") : "";
    const truth = p.bad ? ", corrupted" : "";
    return `training sample ${i + 1}, ${where}, weight ${weight}%${use}${truth}`;
  }

  // The parameter plane --------------------------------------------------------------------------

  function parameters(state, result) {
    const longest = Math.max(...METHODS.flatMap(({ key }) => result[key].theta.map(Math.abs)));
    const R = plane.nice(1.15 * Math.max(0.8, longest));
    const meaning = state.mode === "ridge" ? [", height at t = 0", ", slope"] : ["", ""];
    const names = ["\u03b8\u2081", "\u03b8\u2082"].map((name, k) => name + meaning[k]);
    thetaPlane.show({ x: [-R, R], y: [-R, R] }, names);
    samples(state, result);
    sets(state, result);
    const marks = children(thetaPlane.solutions, METHODS.length, (g) => put(g, "path", {}));
    METHODS.forEach(({ key, mark: shape, size }, i) => {
      const at = thetaPlane.to(result[key].theta);
      set(marks[i], { d: mark(shape), transform: move(at, size), fill: color(key) });
    });
    const at = ({ key }) => thetaPlane.to(result[key].theta);
    plane.labels(thetaPlane.names, METHODS.map((one) => ({ at: at(one), text: one.name })));
  }

  /** The line x_i.theta = y_i of every training sample; in the logistic task z_i.theta = 0. */
  function samples(state, { problem, ...result }) {
    const { X, y } = problem.train;
    const w = result[state.sizes].weights;
    const most = Math.max(...w);
    const lines = children(thetaPlane.samples, X.length, (g) => put(g, "line", {}));
    lines.forEach((e, i) => {
      const strength = Math.sqrt(w[i] / most);
      const least = state.train[i].bad ? 0.35 : 0.18; // dashes look paler
      line(e, thetaPlane, X[i], state.mode === "ridge" ? y[i] : 0, {
        "stroke-opacity": (least + 0.5 * strength).toFixed(2),
        "stroke-width": (0.8 + 1.2 * strength).toFixed(2),
      });
      e.classList.toggle("bad", state.train[i].bad);
      e.classList.toggle("selected", i === state.selected);
    });
  }

  /** S_val: a point, a line, or a sector of directions; and the selected sample's half-plane. */
  function sets(state, { problem, cone, lines }) {
    thetaPlane.sets.replaceChildren();
    const half = (angle) => plane.sector(thetaPlane, [angle - Math.PI / 2, angle + Math.PI / 2]);
    if (state.mode === "logistic") {
      if (cone) {
        const range = [cone[1] - Math.PI / 2, cone[0] + Math.PI / 2];
        put(thetaPlane.sets, "polygon", { points: plane.sector(thetaPlane, range) });
      }
      if (state.selected !== null) {
        const [x, y] = [problem.train.X[state.selected], problem.train.y[state.selected]];
        const points = half(Math.atan2(y * x[1], y * x[0]));
        put(thetaPlane.sets, "polygon", { points, class: "own" });
      }
    } else if (lines.free) {
      const a = [-lines.free[1], lines.free[0]];
      line(put(thetaPlane.sets, "line", {}), thetaPlane, a, bdt.dot(a, lines.theta), {});
    } else {
      const [cx, cy] = thetaPlane.to(lines.theta);
      put(thetaPlane.sets, "circle", { cx, cy, r: 16 });
    }
  }

  // Losses, weights, facts -----------------------------------------------------------------------

  function losses(state, result) {
    const order = ["uniform", "mixing", "validation", "bds", "bmo"];
    const most = Math.max(...order.flatMap((key) => [result[key].val, result[key].test]), 1e-300);
    const rows = children($("losses"), order.length, newRow);
    order.forEach((key, i) => {
      const { val, test, weights } = result[key];
      rows[i].dataset.method = key;
      const [name, bars, size] = rows[i].children;
      const { mark: shape, name: text, dash } = METHODS.find((m) => m.key === key);
      name.lastChild.textContent = FULL[key] || text;
      const [stroke, shapeOn] = name.firstChild.children;
      set(stroke, { stroke: color(key), "stroke-dasharray": dash });
      set(shapeOn, { d: mark(shape), transform: move([15, 8], 6), fill: color(key) });
      [val, test].forEach((v, k) => {
        const [bar, number] = bars.children[k].children;
        bar.style.width = `${(78 * v) / most}%`;
        bar.style.background = color(key);
        number.textContent = short(v);
        bars.children[k].dataset.value = v;
      });
      size.textContent = weights ? bdt.effectiveSize(weights).toFixed(1) : "\u2013";
    });
  }

  function newRow(body) {
    const row = body.appendChild(document.createElement("tr"));
    const bar = (name) => `<div class="loss ${name}"><i></i><span></span></div>`;
    const look = '<svg viewBox="0 0 30 16" aria-hidden="true"></svg>';
    row.innerHTML = `<th scope="row">${look}<span></span></th>
      <td class="bars">${bar("val")}${bar("test")}</td><td></td>`;
    put(row.querySelector("svg"), "line", { x1: 0, x2: 30, y1: 8, y2: 8, "stroke-width": 2 });
    put(row.querySelector("svg"), "path", {});
  }

  /** BDS weights upwards, closed-form weights downwards, corrupted samples on a coloured ground. */
  function strip(state, result) {
    const svg = $("strip");
    const [W, H] = [760, 150];
    set(svg, { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none" });
    const step = (W - 4) / state.N;
    const columns = children(svg, state.N, (parent) => {
      const g = put(parent, "g", {});
      for (const c of ["back", "up", "down", "chosen"]) put(g, "rect", { class: c });
    });
    const rows = [result.bds.weights, result.bmo.weights];
    const most = rows.map((w) => Math.max(...w));
    columns.forEach((g, i) => {
      const [back, up, down, chosen] = g.children;
      const x = 2 + i * step;
      const box = { x: x + 0.1 * step, width: 0.8 * step };
      const [a, b] = rows.map((w, k) => (70 * w[i]) / most[k]);
      const seen = (yes) => ({ visibility: yes ? "visible" : "hidden" });
      set(back, { x, width: step, y: 0, height: H, ...seen(state.train[i].bad) });
      set(up, { ...box, y: 75 - a, height: a, fill: color("bds") });
      set(down, { ...box, y: 75, height: b, fill: color("bmo") });
      set(chosen, { x, width: step, y: 1, height: H - 2, ...seen(i === state.selected) });
    });
  }

  function facts(state, result) {
    const bad = state.train.slice(0, state.N).map((p) => p.bad);
    const mass = (w) => `${(100 * bdt.sum(w.filter((_, i) => bad[i]))).toFixed(0)}%`;
    const share = `${((100 * bad.filter(Boolean).length) / state.N).toFixed(0)}%`;
    const count = result.useful && result.useful.filter(Boolean).length;
    const useful = result.useful
      ? `${count} of ${state.N} samples are useful.`
      : "No line separates the validation points, so usefulness has no exact answer.";
    $("facts").textContent =
      "Up: BDS, down: closed form, each relative to its largest; corrupted samples on a coloured " +
      `ground. They are ${share} of the samples and hold ${mass(result.bds.weights)} of the ` +
      `weight in BDS, ${mass(result.bmo.weights)} in closed form. ${useful}`;
  }

  function all(state, result) {
    data(state, result);
    parameters(state, result);
    losses(state, result);
    strip(state, result);
    facts(state, result);
  }

  return { all, dataPlane, short };
})();

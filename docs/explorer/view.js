/* The Explorer's state, its controls, and what happens when something moves. */
"use strict";

(() => {
  const SLIDERS = [
    { key: "lam", label: "mixing ratio \u03bb", from: 0.01, to: 100, log: true },
    { key: "mu", label: "ridge \u03bc", from: 1e-4, to: 1, log: true },
    { key: "tau", label: "temperature \u03c4", from: 0.003, to: 5, log: true },
    { key: "m", label: "validation m", from: 1, to: task.MOST.val, step: 1 },
    { key: "N", label: "training N", from: 2, to: task.MOST.train, step: 1 },
    { key: "share", label: "corrupted share", from: 0, to: 0.9, step: 0.05 },
    { key: "noise", label: "noise", from: 0, to: 1, step: 0.05 },
  ];
  const START = {
    ridge: { lam: 1, mu: 1e-3, tau: 0.1, m: 12, N: 24, share: 0.35, noise: 0 },
    logistic: { lam: 1, mu: 1e-2, tau: 0.1, m: 20, N: 40, share: 0.35, noise: 0 },
  };
  const SNAP = 0.08; // of y, to the line of the validation optimum: useful means exactly on it

  const state = { mode: "ridge", seed: 1, sizes: "bds", selected: null };
  let result = null;

  // Computing ------------------------------------------------------------------------------------

  /** Every method's theta, losses and weights. `warm`: BDS follows its previous weights. */
  function solve(warm) {
    const { mode, noise, mu, lam, tau, N, m } = state;
    const model = bdt[mode](mu);
    const train = task.data(mode, noise, state.train.slice(0, N));
    const val = task.data(mode, noise, state.val.slice(0, m));
    const test = task.data(mode, noise, state.test);
    const problem = { model, train, val };
    const kept = warm && result && result.bds.weights.length === N ? result.bds.weights : null;
    const equal = bdt.uniform(problem);
    const found = {
      uniform: { weights: equal, theta: bdt.fit(model, equal, train) },
      mixing: { theta: bdt.mix(problem, lam) },
      validation: { theta: bdt.mix(problem, 0) },
      bds: bdt.bds(problem, kept),
      bmo: bdt.bmo(problem, tau),
    };
    for (const method of Object.values(found)) {
      method.val = bdt.meanLoss(model, method.theta, val);
      method.test = bdt.meanLoss(model, method.theta, test);
    }
    const logistic = mode === "logistic";
    return {
      ...found,
      problem,
      useful: bdt.usefulness(problem),
      cone: logistic ? bdt.cone(bdt.signed(val.X, val.y)) : null,
      lines: logistic ? null : bdt.leastSquares(val, bdt.equal(m, 1)),
    };
  }

  function recompute(warm = false) {
    result = solve(warm);
    document.getElementById("facts").setAttribute("aria-live", warm ? "off" : "polite");
    draw.all(state, result);
  }

  let asked = null;
  /** At most one computation for each picture; a full search wins over a warm one. */
  function later(warm) {
    if (asked) {
      asked.warm = asked.warm && warm;
      return;
    }
    asked = { warm };
    requestAnimationFrame(() => {
      const now = asked;
      asked = null;
      recompute(now.warm);
    });
  }

  // Changing the state ---------------------------------------------------------------------------

  function renew() {
    Object.assign(state, task.make(state.mode, state.seed), { selected: null });
    corrupt();
  }

  /** Corrupted: the samples whose rank is below the share. */
  function corrupt() {
    for (const p of state.train) p.bad = p.rank < state.share;
  }

  function enter(mode) {
    state.mode = mode;
    Object.assign(state, START[mode]);
    for (const b of document.querySelectorAll("[data-mode]")) {
      b.setAttribute("aria-pressed", b.dataset.mode === mode);
    }
    for (const e of document.querySelectorAll("[data-for]")) e.hidden = e.dataset.for !== mode;
    renew();
    showSliders();
    recompute();
  }

  function select(point) {
    if (point.dataset.set === "train") state.selected = Number(point.dataset.index);
  }

  const pointOf = (e) => state[e.dataset.set][Number(e.dataset.index)];

  /** Moves a point; a training point near the line of the validation optimum goes onto it. */
  function moveTo(e, [a, b], snap) {
    const [p, { mode, noise }] = [pointOf(e), state];
    task.move(mode, noise, p, [a, b]);
    if (mode === "ridge" && e.dataset.set === "train" && !result.lines.free) {
      const { theta } = result.lines;
      const y = theta[0] * p.x[0] + theta[1] * p.x[1];
      if (Math.abs(y - task.target(mode, noise, p)) < snap) task.move(mode, noise, p, [p.x[1], y]);
    }
  }

  function flip(index) {
    if (index === null) return;
    state.train[index].bad = !state.train[index].bad;
    later(false);
  }

  // Pointer and keyboard -------------------------------------------------------------------------

  const svg = draw.dataPlane.svg;
  let dragged = null;

  svg.addEventListener("pointerdown", (event) => {
    const e = event.target.closest(".point");
    if (!e) return;
    const [a, b] = task.position(state.mode, state.noise, pointOf(e));
    const [u, v] = draw.dataPlane.at(event);
    dragged = { e, offset: [a - u, b - v] };
    svg.setPointerCapture(event.pointerId);
    e.focus({ preventScroll: true });
    select(e);
    later(true);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    const [u, v] = draw.dataPlane.at(event);
    moveTo(dragged.e, [u + dragged.offset[0], v + dragged.offset[1]], SNAP);
    later(true);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    svg.addEventListener(end, () => {
      if (dragged) later(false);
      dragged = null;
    });
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    const e = event.target.closest(".point");
    if (!e) return;
    if (event.key === "Enter" || event.key === " ") {
      if (e.dataset.set === "train") flip(Number(e.dataset.index));
    } else if (ARROWS[event.key]) {
      const step = event.shiftKey ? 0.02 : 0.1;
      const [a, b] = task.position(state.mode, state.noise, pointOf(e));
      const [da, db] = ARROWS[event.key];
      moveTo(e, [a + step * da, b + step * db], 0.45 * step); // less than a step: it can leave
      later(false);
    } else return;
    event.preventDefault();
  });
  svg.addEventListener("focusin", (event) => {
    const e = event.target.closest(".point");
    if (!e || dragged) return;
    select(e);
    later(true);
  });

  // Sliders and buttons --------------------------------------------------------------------------

  const percent = (v) => `${Math.round(100 * v)}%`;
  const number = { m: String, N: String, share: percent, noise: (v) => v.toFixed(2) };
  const shown = (key) => (number[key] || draw.short)(state[key]);

  function makeSliders() {
    for (const { key, label, from, to, step, log } of SLIDERS) {
      const box = document.getElementById("sliders").appendChild(document.createElement("label"));
      box.className = "slider";
      box.innerHTML = `<span>${label}</span><output></output><input type="range" id="${key}">`;
      const input = box.querySelector("input");
      const [low, high] = log ? [Math.log10(from), Math.log10(to)] : [from, to];
      Object.assign(input, { min: low, max: high, step: log ? "any" : step });
      input.addEventListener("input", () => {
        state[key] = log ? 10 ** Number(input.value) : Number(input.value);
        if (key === "share") corrupt();
        if (state.selected !== null && state.selected >= state.N) state.selected = null;
        showSliders();
        later(true);
      });
      input.addEventListener("change", () => later(false));
      if (log) input.addEventListener("keydown", (event) => turn(event, input, (high - low) / 40));
    }
  }

  /** step="any" leaves arrow keys to the browser; here each is a fortieth of the range. */
  function turn(event, input, step) {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    input.value = Number(input.value) + way * step;
    input.dispatchEvent(new Event("input"));
    input.dispatchEvent(new Event("change"));
    event.preventDefault();
  }

  function showSliders() {
    for (const { key, log } of SLIDERS) {
      const input = document.getElementById(key);
      input.value = log ? Math.log10(state[key]) : state[key];
      input.setAttribute("aria-valuetext", shown(key));
      input.previousElementSibling.textContent = shown(key);
    }
  }

  function onClick(selector, act) {
    for (const e of document.querySelectorAll(selector)) e.addEventListener("click", () => act(e));
  }

  onClick("[data-mode]", (e) => enter(e.dataset.mode));
  onClick("#flip", () => flip(state.selected));
  onClick("#new", () => {
    state.seed += 1;
    renew();
    later(false);
  });
  onClick("#reset", () => {
    state.seed = 1;
    enter(state.mode);
  });
  onClick("[data-setup]", (e) => {
    Object.assign(state, JSON.parse(e.dataset.setup));
    renew();
    showSliders();
    later(false);
    svg.scrollIntoView({ block: "nearest" });
  });
  onClick("[name=sizes]", (e) => {
    state.sizes = e.value;
    later(true);
  });

  makeSliders();
  enter("ridge");
  // For the console, tests and benchmarks: what is shown, and to compute it anew at once.
  window.explorer = { state, recompute, solve, result: () => result };
})();

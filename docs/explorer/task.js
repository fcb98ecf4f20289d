/* Random data for the Explorer, with the truth known; defines the global `task`.

   Score s = x.theta0 + noise g, target y = s (ridge, x = (1, t)) or its sign (logistic); a
   corrupted target is shifted by `jump` or flipped. A point keeps its parts, so that sliders for
   noise and corruption act on points that were moved by hand as well. */
"use strict";

const task = (() => {
  const MOST = { train: 60, val: 40, test: 400 };
  const RANGE = { ridge: { x: [-2.4, 2.4], y: [-4, 4] }, logistic: { x: [-3, 3], y: [-3, 3] } };

  /** Uniform numbers in (0, 1) from a seed (mulberry32). */
  function generator(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let z = Math.imul(state ^ (state >>> 15), state | 1);
      z = (z + Math.imul(z ^ (z >>> 7), z | 61)) ^ z;
      return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
  }

  /** {train, val, test}: lists of points, as many as the sliders can ask for. */
  function make(mode, seed) {
    const random = generator(2 * seed + (mode === "ridge" ? 0 : 1));
    const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const turn = 2 * Math.PI * random();
    const theta0 =
      mode === "ridge"
        ? [0.6 * (random() - 0.5), 0.5 + 0.6 * random()]
        : [Math.cos(turn), Math.sin(turn)];
    const draw = (n) =>
      Array.from({ length: n }, (_, i) => ({
        ...place(mode, theta0, random),
        g: normal(),
        rank: (0.31 + 0.618034 * (i + 1)) % 1, // corrupted when below the share: even over i
        jump: (random() < 0.85 ? -1 : 1) * (1.1 + random()),
        moved: 0,
        bad: false,
      }));
    return { train: draw(MOST.train), val: draw(MOST.val), test: draw(MOST.test) };
  }

  /** A place and its score; in the logistic task not within 0.3 of the true line. */
  function place(mode, theta0, random) {
    for (;;) {
      const [u, v] = [2 * random() - 1, 2 * random() - 1];
      const at = mode === "ridge" ? [1, 2 * u] : [2.4 * u, 2.4 * v];
      const score = at[0] * theta0[0] + at[1] * theta0[1];
      if (mode === "ridge" || Math.abs(score) > 0.3) return { x: at, score };
    }
  }

  /** The target of a point. */
  function target(mode, noise, p) {
    const s = p.score + noise * p.g;
    if (mode === "ridge") return s + (p.bad ? p.jump : 0) + p.moved;
    return (s > 0 ? 1 : -1) * (p.bad ? -1 : 1);
  }

  const data = (mode, noise, points) => ({
    X: points.map((p) => p.x),
    y: points.map((p) => target(mode, noise, p)),
  });

  /** Where a point stands in the data plane: (t, y) or (x1, x2). */
  const position = (mode, noise, p) => (mode === "ridge" ? [p.x[1], target(mode, noise, p)] : p.x);

  /** Moves a point there, within the plane. */
  function move(mode, noise, p, [a, b]) {
    const within = (v, [low, high]) => Math.min(high, Math.max(low, v));
    const [u, v] = [within(a, RANGE[mode].x), within(b, RANGE[mode].y)];
    if (mode === "ridge") {
      p.x = [1, u];
      p.moved += v - target(mode, noise, p);
    } else {
      p.x = [u, v];
    }
  }

  return { MOST, RANGE, make, data, target, position, move };
})();

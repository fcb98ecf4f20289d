/* What validation says in the plane: its minimisers S_val, and which samples are useful.

   Sample i is useful when S_i, the minimisers of l_i, meets S_val; losses without mu (v1r). Adds to
   `bdt`. */
"use strict";

((bdt) => {
  const { ridge, dot, shifted, norm, sum, equal, fit, lower } = bdt;

  const TOL = 1e-9; // relative, as in the package's `usefulness`

  const cross = (a, b) => a[0] * b[1] - a[1] * b[0];

  /** Rows of length 1, columns of comparable size: usefulness has no units (package: `sizes`). */
  function scaled(train, val) {
    const one = (v) => (v > 0 ? v : 1);
    const size = (x) => one(Math.max(Math.abs(x[0]), Math.abs(x[1])));
    const column = (rows, k) => Math.max(...rows.map((x) => Math.abs(x[k]) / size(x)));
    const columns = [0, 1].map((k) => {
      const seen = column(val.X, k);
      const c = seen < 1e-13 ? column(train.X, k) : seen;
      return c < 1e-13 ? 1 : c;
    });
    const rows = (X) =>
      X.map((x) => {
        const v = [x[0] / columns[0], x[1] / columns[1]];
        const length = one(norm(v));
        return { v: [v[0] / length, v[1] / length], length };
      });
    return { columns, train: rows(train.X), val: rows(val.X) };
  }

  /** The directions of the rows z~_j = y_j x_j as [low, high], angles less than pi apart, or null:
      then no theta has all margins positive, and the data are not strictly separable. */
  function cone(rows) {
    const first = rows.find((z) => norm(z) > 0);
    if (!first || rows.some((z) => norm(z) === 0)) return null;
    const angles = rows.map((z) => Math.atan2(cross(first, z), dot(first, z)));
    const [low, high] = [Math.min(...angles), Math.max(...angles)];
    const base = Math.atan2(first[1], first[0]);
    return high - low < Math.PI - TOL ? [base + low, base + high] : null;
  }

  const signed = (rows, y) => rows.map((r, i) => [y[i] * r[0], y[i] * r[1]]);

  /** Which samples are useful, S_i meets S_val (losses without mu); null where it is undecided. */
  function usefulness({ model, train, val }) {
    const s = scaled(train, val);
    return model.name === "ridge" ? usefulLines(s, train, val) : usefulHalfPlanes(s, train, val);
  }

  /** Ridge: useless exactly when x_i is in the row space of X_val and x_i.theta_v != y_i. */
  function usefulLines(s, train, val) {
    const data = { X: s.val.map((r) => r.v), y: val.y.map((y, j) => y / s.val[j].length) };
    const weights = s.val.map((r) => r.length * r.length);
    const { theta, free } = leastSquares(data, weights);
    return s.train.map((r, i) => {
      const y = train.y[i] / r.length;
      const room = TOL * (Math.abs(y) + norm(theta));
      return (free && Math.abs(dot(r.v, free)) > TOL) || Math.abs(dot(r.v, theta) - y) <= room;
    });
  }

  /** The least-norm minimiser and, where it is not the only one, the free direction. */
  function leastSquares(data, w, near = [0, 0]) {
    const v = data.X.find((x) => norm(x) > 0);
    if (!v) return { theta: near, free: [1, 0] };
    const unit = shifted([0, 0], v, 1 / norm(v));
    const parallel = data.X.every((x) => Math.abs(cross(unit, x)) <= 1e-13 * norm(x));
    if (!parallel) return { theta: fit(ridge(0), w, data), free: null };
    const scores = data.X.map((x) => dot(unit, x));
    const top = sum(w.map((m, j) => m * scores[j] * data.y[j]));
    const level = top / sum(w.map((m, j) => m * scores[j] * scores[j]));
    return { theta: shifted(near, unit, level - dot(unit, near)), free: [-unit[1], unit[0]] };
  }

  /** Logistic: with theta in S_val when all margins are positive, i is useless exactly when -z_i
      is a non-negative combination of validation rows: in the plane, within their cone. */
  function usefulHalfPlanes(s, train, val) {
    const range = cone(signed(s.val.map((r) => r.v), val.y));
    if (!range) return null;
    const [low, high] = range.map((a) => [Math.cos(a), Math.sin(a)]);
    const rayDistance = (e, z) => (dot(e, z) > 0 ? Math.abs(cross(e, z)) : norm(z));
    return signed(s.train.map((r) => r.v), train.y).map((z) => {
      const minus = [-z[0], -z[1]];
      const between = cross(low, minus) >= 0 && cross(minus, high) >= 0;
      const inside = between && dot(low, minus) + dot(high, minus) > 0;
      return !inside && Math.min(rayDistance(low, minus), rayDistance(high, minus)) > TOL;
    });
  }

  /** A minimiser of L_val (without mu), nearest to `near` where there is a line of them; null
      where there is none: separable validation data. */
  function validationOptimum({ model, val }, near) {
    const share = equal(val.y.length, 1);
    if (model.name === "ridge") return leastSquares(val, share, near).theta;
    if (cone(signed(val.X, val.y))) return null;
    const free = { ...model, mu: 0 };
    const theta = fit(free, share, val);
    return norm(lower(free, share, val, theta).grad) <= 1e-10 ? theta : null;
  }

  Object.assign(bdt, { cone, signed, leastSquares, usefulness, validationOptimum });
})(typeof module !== "undefined" ? require("./solver.js") : bdt);

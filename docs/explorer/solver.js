/* Bilevel data selection with two parameters, theta in R^2: ridge and binary logistic regression.

   The same quantities as the Python package `bdtheory`, in its letters; check.mjs compares the two.

     lower level   theta(w) = argmin  sum_i w_i l_i(theta) + (mu/2) |theta|^2
     BDS           min over w >= 0, sum w = 1, of  L_val(theta(w))

   Data are {X: [[x1, x2], ...], y: [...]}; a problem is {model, train, val}. No dependency. In the
   browser this script defines the global `bdt`, in Node `module.exports`. */
"use strict";

const bdt = (() => {
  // Models: l and d = dl/ds of the score s = x.theta and the target y; d2l/ds2 follows from d -----

  const ridge = (mu) => ({
    name: "ridge",
    mu,
    loss: (s, y) => 0.5 * (s - y) * (s - y),
    slope: (s, y) => s - y,
    bend: () => 1,
  });

  const logistic = (mu) => ({
    name: "logistic", // l = log(1 + exp(-y s)), y = 1 or -1
    mu,
    loss: (s, y) => Math.max(-y * s, 0) + Math.log1p(Math.exp(-Math.abs(s))),
    slope: (s, y) => -y / (1 + Math.exp(y * s)),
    bend: (d) => Math.abs(d) * (1 - Math.abs(d)),
  });

  // Small algebra --------------------------------------------------------------------------------

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const shifted = (a, b, t) => [a[0] + t * b[0], a[1] + t * b[1]]; // a + t b
  const norm = (a) => Math.sqrt(dot(a, a));
  const sum = (v) => {
    let total = 0;
    for (let i = 0; i < v.length; i++) total += v[i];
    return total;
  };
  const equal = (n, mass) => new Array(n).fill(mass / n);

  /** H^-1 g for a symmetric H = [h11, h12, h22], by elimination from the larger diagonal entry. */
  function solve(H, g) {
    const h12 = H[1];
    const k = H[0] >= H[2] ? 0 : 1; // the larger one
    const ratio = h12 / H[2 * k];
    const second = (g[1 - k] - ratio * g[k]) / (H[2 - 2 * k] - ratio * h12);
    const first = (g[k] - h12 * second) / H[2 * k];
    return k === 0 ? [first, second] : [second, first];
  }

  // Losses and exact fits ------------------------------------------------------------------------

  const losses = (model, theta, data) => data.X.map((x, i) => model.loss(dot(x, theta), data.y[i]));

  function meanLoss(model, theta, { X, y }) {
    let total = 0;
    for (let i = 0; i < y.length; i++) total += model.loss(dot(X[i], theta), y[i]);
    return total / y.length;
  }

  function meanGradient(model, theta, { X, y }) {
    const total = [0, 0];
    for (let i = 0; i < y.length; i++) {
      const d = model.slope(dot(X[i], theta), y[i]);
      total[0] += d * X[i][0];
      total[1] += d * X[i][1];
    }
    return [total[0] / y.length, total[1] / y.length];
  }

  /** grad l_i(theta) for each sample: slope_i x_i. */
  function gradients(model, theta, data) {
    return data.X.map((x, i) => {
      const d = model.slope(dot(x, theta), data.y[i]);
      return [d * x[0], d * x[1]];
    });
  }

  /** Value, gradient and Hessian of sum_i w_i l_i + (mu/2) |theta|^2. */
  function lower(model, w, data, theta) {
    const { mu } = model;
    let F = 0.5 * mu * dot(theta, theta);
    let g1 = mu * theta[0];
    let g2 = mu * theta[1];
    let h11 = mu;
    let h12 = 0;
    let h22 = mu;
    for (let i = 0; i < w.length; i++) {
      if (w[i] === 0) continue;
      const x = data.X[i];
      const s = dot(x, theta);
      const d = model.slope(s, data.y[i]);
      const c = w[i] * model.bend(d);
      F += w[i] * model.loss(s, data.y[i]);
      g1 += w[i] * d * x[0];
      g2 += w[i] * d * x[1];
      h11 += c * x[0] * x[0];
      h12 += c * x[0] * x[1];
      h22 += c * x[1] * x[1];
    }
    return { F, grad: [g1, g2], H: [h11, h12, h22] };
  }

  /** theta(w) by Newton's method; Armijo's rule far away, full steps near (F is rounding there).
      One step solves ridge, the second refines it. A step of relative size `last` is the last: the
      error after it is of the order of its square. */
  function fit(model, w, data, start = [0, 0], last = 1e-9) {
    let theta = start;
    let at = lower(model, w, data, theta);
    for (let k = 0; k < 100; k++) {
      const step = solve(at.H, at.grad);
      const decrement = dot(at.grad, step); // 2 (F - min F) near the minimiser
      if (!(decrement > 0)) break;
      let t = 1;
      let next = shifted(theta, step, -t);
      let there = lower(model, w, data, next);
      while (decrement > 1e-9 * at.F && !(there.F <= at.F - 1e-4 * t * decrement) && t > 1e-12) {
        t /= 2;
        next = shifted(theta, step, -t);
        there = lower(model, w, data, next);
      }
      [theta, at] = [next, there];
      if (t === 1 && norm(step) <= last * norm(theta)) break;
    }
    return theta;
  }

  /** theta_lam: L_val + lam (1/N) sum_i l_i + (mu/2) |theta|^2. lam = 0 is validation only. */
  function mix({ model, train, val }, lam) {
    return fit(model, [...equal(train.y.length, lam), ...equal(val.y.length, 1)], join(train, val));
  }

  const join = (a, b) => ({ X: [...a.X, ...b.X], y: [...a.y, ...b.y] });

  const uniform = ({ train }) => equal(train.y.length, 1);

  /** theta(w), L_val(theta(w)) and dL_val/dw_i = -grad l_i . u with u = H^-1 grad L_val. */
  function hypergradient({ model, train, val }, w, start) {
    const theta = fit(model, w, train, start);
    const u = solve(lower(model, w, train, theta).H, meanGradient(model, theta, val));
    const grad = gradients(model, theta, train).map((a) => -dot(a, u));
    return { theta, value: meanLoss(model, theta, val), grad };
  }

  // Weights in closed form (C08) -----------------------------------------------------------------

  /** softmax; weights below 1e-12 of the largest become exactly 0, as in the package. */
  function softmax(omega) {
    const most = Math.max(...omega);
    const e = omega.map((o) => Math.exp(o - most)).map((v) => (v >= 1e-12 ? v : 0));
    const total = sum(e);
    return e.map((v) => v / total);
  }

  /** argmin over w of sum w_i l_i + tau KL(w, uniform) = softmax(-l / tau). */
  const closedForm = (l, tau) => softmax(l.map((v) => -v / tau));

  /** BMO: theta = argmin L_val + sum_i w_i l_i + ridge and w = closedForm(l(theta), tau) in turn,
      while tau falls in `steps` from 10 to `cold` times the mean loss at uniform weights. */
  function bmo(problem, cold, steps = 30) {
    const { model, train, val } = problem;
    const share = equal(val.y.length, 1);
    const joined = join(train, val);
    let w = uniform(problem);
    let theta = fit(model, [...w, ...share], joined);
    const scale = meanLoss(model, theta, train);
    for (let k = 0; k < steps; k++) {
      const tau = scale * 10 * Math.pow(cold / 10, k / (steps - 1));
      if (!(tau > 0) || effectiveSize(w) < 1.001) break;
      w = closedForm(losses(model, theta, train), tau);
      theta = fit(model, [...w, ...share], joined, theta);
    }
    return { weights: w, theta: fit(model, w, train, theta) };
  }

  /** (sum w)^2 / sum w^2: between 1 and N samples. */
  const effectiveSize = (w) => sum(w) ** 2 / sum(w.map((v) => v * v));

  return {
    ...{ ridge, logistic, losses, meanLoss, gradients, lower, fit, mix, uniform, hypergradient },
    ...{ closedForm, bmo, effectiveSize, solve, dot, shifted, norm, sum, equal },
  };
})();

if (typeof module !== "undefined") module.exports = bdt;

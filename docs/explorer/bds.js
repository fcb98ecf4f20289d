/* Bilevel data selection solved in the plane: min L_val(theta(w)) over weights w on the simplex.

   With two parameters no outer iteration over N weights is needed (source: here). Let a_i = grad
   l_i(theta(w)) and u = H^-1 grad L_val. The hypergradient is -a_i.u, and w is stationary when that
   is least wherever w_i > 0.
     u = 0       theta minimises L_val itself, and the optimum is global.
     u not 0     the a_i of the support lie on one line a.u = const, and so does -mu theta = sum w_i
                 a_i: two of them suffice for the same theta (Caratheodory).
   So an optimum is either a minimiser of L_val that weights can reach (`copy`) or stands on an edge
   of the simplex: two samples and one number (`descend`). Adds `bds` to `bdt`. */
"use strict";

((bdt) => {
  const { dot, shifted, norm, sum, solve, fit, meanLoss, hypergradient } = bdt;

  /** {weights, theta, value}, value = L_val(theta(w)). `previous` weights: see `starts`. */
  function bds(problem, previous = null) {
    const { model, train, val } = problem;
    const near = fit(model, bdt.uniform(problem), train);
    const goal = bdt.validationOptimum(problem, near);
    const copied = goal && refit(problem, copy(problem, goal));
    const least = goal ? meanLoss(model, goal, val) : 0;
    if (copied && copied.value <= least + 1e-13 * (1 + least)) return copied;
    const known = new Map(); // edges that another descent has solved
    const ends = starts(problem, previous).map((start) => descend(problem, start, known));
    return ends.reduce(better, copied || refit(problem, bdt.uniform(problem)));
  }

  function refit({ model, train, val }, weights) {
    const theta = fit(model, weights, train);
    return { weights, theta, value: meanLoss(model, theta, val) };
  }

  // Weights for a given theta --------------------------------------------------------------------

  /** Weights with sum w_i a_i + mu theta = 0, so that theta(w) = theta: those nearest in KL to
      closed-form weights q (package: `inverse_weights`, with residual 0). Newton in the dual,

        min over lam in R^2 of  log sum_i q_i exp(-a_i.lam) - mu theta.lam ,

      which is unbounded where there are no such weights: the caller looks at the re-fit. */
  function copy({ model, train }, theta) {
    const l = bdt.losses(model, theta, train);
    const tau = Math.max((0.25 * sum(l)) / l.length, 1e-300);
    const least = Math.min(...l);
    const logQ = l.map((v) => -Math.min((v - least) / tau, 10));
    const raw = bdt.gradients(model, theta, train);
    const scale = Math.max(...raw.map(norm), 1e-300);
    const a = raw.map((v) => shifted([0, 0], v, 1 / scale));
    const pull = shifted([0, 0], theta, model.mu / scale);
    const dual = (lam) => {
      const z = a.map((v, i) => logQ[i] - dot(v, lam));
      const most = Math.max(...z);
      const e = z.map((v) => Math.exp(v - most));
      const total = sum(e);
      return { lam, value: most + Math.log(total) - dot(pull, lam), w: e.map((v) => v / total) };
    };
    let now = dual([0, 0]);
    for (let k = 0; k < 60; k++) {
      const { r, covariance } = moments(a, now.w, pull);
      const step = solve(covariance, r);
      const decrement = dot(step, r);
      if (!(decrement > 1e-32)) break;
      let t = 1;
      let next = dual(shifted(now.lam, step, t));
      while (decrement > 1e-9 && !(next.value <= now.value - 1e-4 * t * decrement) && t > 1e-9) {
        t /= 2;
        next = dual(shifted(now.lam, step, t));
      }
      now = next;
    }
    return now.w;
  }

  /** r = sum w a + pull, minus the dual's gradient, and the covariance of a, its Hessian. */
  function moments(a, w, pull) {
    const mean = [0, 0];
    const covariance = [1e-14, 0, 1e-14]; // never singular: gradients may all point one way
    a.forEach((v, i) => {
      mean[0] += w[i] * v[0];
      mean[1] += w[i] * v[1];
    });
    a.forEach((v, i) => {
      const [d1, d2] = [v[0] - mean[0], v[1] - mean[1]];
      covariance[0] += w[i] * d1 * d1;
      covariance[1] += w[i] * d1 * d2;
      covariance[2] += w[i] * d2 * d2;
    });
    return { r: shifted(mean, pull, 1), covariance };
  }

  // Two samples and one number -------------------------------------------------------------------

  /** Weights from which to descend. Edges have local minima: pairs that nearly cancel give a long
      theta that no single sample leads to. So all samples and pairs are tried at equal weights (on
      about ten validation samples, to save time), the best 50 also at others, and the best of these
      kept, none used thrice. This is no proof of a global minimum: check.mjs compares it with an
      exhaustive scan of all edges. With `previous` weights on an edge, as while something is
      dragged, those alone are followed: much faster, a local minimum until the next search. */
  function starts(problem, previous) {
    const N = problem.train.y.length;
    if (previous && support(previous).length <= 2) return [previous];
    const tried = [];
    const quick = { ...problem, val: thinned(problem.val) };
    for (let i = 0; i < N; i++) {
      for (let j = 0; j <= i; j++) tried.push(pairAt(quick, i, j, 0));
    }
    const best = tried.sort(byValue).slice(0, 50);
    const shares = [-4.5, -2.2, -1, 0, 1, 2.2, 4.5];
    const finer = best.flatMap(({ i, j }) => shares.map((u) => pairAt(problem, i, j, u)));
    const used = new Array(N).fill(0);
    const chosen = [];
    for (const { i, j, masses } of finer.sort(byValue)) {
      if (used[i] > 1 || used[j] > 1 || chosen.length >= 6) continue;
      chosen.push(corner(N, i, j, masses));
      used[i] += 1;
      used[j] += 1;
    }
    return chosen;
  }

  /** Every k-th sample, 10 to 19 of them where there are more. */
  function thinned({ X, y }) {
    const k = Math.max(1, Math.floor(y.length / 10));
    return { X: X.filter((_, j) => j % k === 0), y: y.filter((_, j) => j % k === 0) };
  }

  const byValue = (a, b) => a.value - b.value;

  /** Samples i and j alone, j with the share 1 / (1 + exp(-u)). */
  function pairAt({ model, train, val }, i, j, u) {
    const masses = [1 / (1 + Math.exp(u)), 1 / (1 + Math.exp(-u))];
    const pair = { X: [train.X[i], train.X[j]], y: [train.y[i], train.y[j]] };
    return { i, j, masses, value: meanLoss(model, fit(model, masses, pair, [0, 0], 0.01), val) };
  }

  const support = (w) => w.map((_, i) => i).filter((i) => w[i] > 0);

  /** Weights (N,) with masses on samples i and j, which may be the same. */
  function corner(N, i, j, masses) {
    const w = new Array(N).fill(0);
    w[i] += masses[0];
    w[j] += masses[1];
    return w;
  }

  /** From a start on an edge to the best edge between a sample of its support and the sample of
      least hypergradient, until no shift of mass promises more: w.g - min_i g_i <= 1e-12 L_val. */
  function descend(problem, start, known) {
    const N = start.length;
    const along = (i, j) => {
      const key = Math.min(i, j) * N + Math.max(i, j);
      if (!known.has(key)) known.set(key, refit(problem, edge(problem, i, j)));
      return known.get(key);
    };
    const pair = support(start);
    let best = refit(problem, start);
    if (pair.length === 2) best = better(best, along(...pair));
    for (let k = 0; k < 30; k++) {
      const { grad } = hypergradient(problem, best.weights, best.theta);
      const next = grad.indexOf(Math.min(...grad));
      const promise = sum(grad.map((g, i) => g * best.weights[i])) - grad[next];
      if (!(promise > 1e-12 * best.value)) break;
      const found = support(best.weights).map((i) => along(i, next)).reduce(better);
      if (!(found.value < best.value)) break;
      best = found;
    }
    return best;
  }

  const better = (a, b) => (a.value <= b.value ? a : b);

  /** The best w = (1 - t) e_i + t e_j, in u = log(t / (1 - t)), since what a weight does depends on
      its size relative to mu (theory.md). A grid finds sign changes of the derivative g_j - g_i,
      `root` the zero between. */
  function edge({ model, train, val }, i, j) {
    const pair = { X: [train.X[i], train.X[j]], y: [train.y[i], train.y[j]] };
    let theta = [0, 0];
    const at = (u) => {
      const masses = [1 / (1 + Math.exp(u)), 1 / (1 + Math.exp(-u))];
      const point = hypergradient({ model, train: pair, val }, masses, theta);
      theta = point.theta;
      return { masses, u, value: point.value, slope: point.grad[1] - point.grad[0] };
    };
    const grid = [-Infinity, -20, -14, -9, -5, -2, 0, 2, 5, 9, 14, 20, Infinity];
    const seen = grid.map(at);
    let best = seen.reduce(better);
    for (let k = 1; k < seen.length; k++) {
      if (!(seen[k - 1].slope < 0 && seen[k].slope > 0)) continue;
      best = better(best, root(at, seen[k - 1], seen[k]));
    }
    return corner(train.y.length, i, j, best.masses);
  }

  /** A zero of the slope between two points where it is negative and positive; Illinois: an end
      that stays twice counts half. */
  function root(at, low, high) {
    let [a, fa, b, fb] = [Math.max(low.u, -40), low.slope, Math.min(high.u, 40), high.slope];
    let found = low;
    let side = 0;
    for (let k = 0; k < 100 && b - a > 1e-13 * (1 + Math.abs(a)); k++) {
      const u = (a * fb - b * fa) / (fb - fa);
      found = at(u);
      if (!(Math.abs(found.slope) > 1e-15)) break;
      if (found.slope < 0) {
        [a, fa, fb, side] = [u, found.slope, side < 0 ? 0.5 * fb : fb, -1];
      } else {
        [b, fb, fa, side] = [u, found.slope, side > 0 ? 0.5 * fa : fa, 1];
      }
    }
    return found;
  }

  Object.assign(bdt, { bds, copy });
})(typeof module !== "undefined" ? require("./solver.js") : bdt);

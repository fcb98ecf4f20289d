/* Solves the problems of fixtures.py with solver.js and compares every number.

     node check.mjs fixtures.json        or the JSON on standard input

   Tolerance: |a - b| <= 1e-8 max(1, |b|), entry by entry, for fits, losses, the hypergradient and
   weights; usefulness must be the same. BDS is compared by its value: the optimal weights are not
   unique. The script's loss at its own weights must not exceed, by more than 1e-8, the package's
   best, nor (for N <= 30) the least on a fine grid over all pairs of samples. It is printed with
   the weights, so that the package can evaluate them. Exit status 1 and one line for each
   difference where something differs. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const bdt = require("./solver.js");
require("./useful.js");
require("./bds.js");

const TOL = 1e-8;
const problems = JSON.parse(readFileSync(process.argv[2] ?? 0, "utf8"));
const differences = [];
const worst = {};
let compared = 0;

function compare(name, got, expected) {
  const [a, b] = [[got].flat(), [expected].flat()];
  if (a.length !== b.length) differences.push(`${name}: ${a.length} numbers, not ${b.length}`);
  b.forEach((v, i) => {
    const error = Math.abs(a[i] - v) / Math.max(1, Math.abs(v));
    const kind = name.split(" ").slice(1).join(" ");
    worst[kind] = Math.max(worst[kind] ?? 0, error);
    compared += 1;
    if (!(error <= TOL)) differences.push(`${name}[${i}]: ${a[i]}, not ${v}`);
  });
}

function comparePoint(name, model, theta, { val, test }, expected) {
  compare(`${name} theta`, theta, expected.theta);
  compare(`${name} val`, bdt.meanLoss(model, theta, val), expected.val);
  compare(`${name} test`, bdt.meanLoss(model, theta, test), expected.test);
}

function check(made, k) {
  const model = bdt[made.kind](made.mu);
  const train = { X: made.X, y: made.y };
  const val = { X: made.X_val, y: made.y_val };
  const data = { val, test: { X: made.X_test, y: made.y_test } };
  const problem = { model, train, val };
  const { expected } = made;
  const name = `${made.kind}${k}`;

  const theta = bdt.fit(model, bdt.uniform(problem), train);
  comparePoint(`${name} uniform`, model, theta, data, expected.uniform);
  comparePoint(`${name} mixing`, model, bdt.mix(problem, made.lam), data, expected.mixing);
  comparePoint(`${name} validation`, model, bdt.mix(problem, 0), data, expected.validation);

  const { value, grad } = bdt.hypergradient(problem, made.weights);
  compare(`${name} value`, value, expected.hypergradient.value);
  compare(`${name} grad`, grad, expected.hypergradient.grad);

  const l = bdt.losses(model, theta, train);
  compare(`${name} losses`, l, expected.losses);
  const closed = bdt.closedForm(l, made.tau);
  compare(`${name} closed weights`, closed, expected.closed.weights);
  compare(`${name} ess`, bdt.effectiveSize(closed), expected.closed.ess);
  const bmo = bdt.bmo(problem, made.tau);
  compare(`${name} bmo weights`, bmo.weights, expected.bmo.weights);
  comparePoint(`${name} bmo`, model, bmo.theta, data, expected.bmo);

  const useful = bdt.usefulness(problem);
  compared += train.y.length;
  if (JSON.stringify(useful) !== JSON.stringify(expected.useful))
    differences.push(`${name} useful: ${useful}, not ${expected.useful}`);

  const bds = bdt.bds(problem);
  compared += 1;
  if (!(bds.value <= expected.bds + TOL))
    differences.push(`${name} bds: ${bds.value} is above ${expected.bds}`);
  if (train.y.length <= 30) {
    const least = scan(problem);
    compared += 1;
    if (!(bds.value <= least + TOL))
      differences.push(`${name} scan: ${bds.value} is above ${least}`);
  }
  return { value: bds.value, weights: bds.weights };
}

/** The least L_val(theta(w)) over all w on two samples, shares 1 / (1 + exp(-u)), u in steps. */
function scan({ model, train, val }) {
  let least = Infinity;
  for (let i = 0; i < train.y.length; i++) {
    for (let j = 0; j < i; j++) {
      const pair = { X: [train.X[i], train.X[j]], y: [train.y[i], train.y[j]] };
      for (let u = -20; u <= 20; u += 0.25) {
        const theta = bdt.fit(model, [1 / (1 + Math.exp(u)), 1 / (1 + Math.exp(-u))], pair);
        least = Math.min(least, bdt.meanLoss(model, theta, val));
      }
    }
  }
  return least;
}

const bds = problems.map(check);
process.stdout.write(JSON.stringify({ compared, worst, bds }) + "\n");
differences.forEach((line) => process.stderr.write(line + "\n"));
process.exitCode = differences.length || !compared ? 1 : 0;

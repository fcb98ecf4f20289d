"""
7. The penalty problem and closed-form weights
==============================================

Example 6 showed a filter that beats every mixing ratio. Here is how to find it without a
hypergradient: one problem in theta and w together, solved by turns, each turn in closed form.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.tasks import linear

# %%
# With the penalty strength :math:`\gamma` (``gamma``) of example 3, minimise
#
# .. math:: P_\gamma(\theta, w) = L_{val}(\theta) + \gamma (F_w(\theta) - v(w))
#
# over theta and w. The second term is 0 exactly where theta solves the lower level. Now leave v(w)
# out: where some sample is useful, the least value stays :math:`L_{val}^*`. With all weights 1/N
# what is left is direct mixing at :math:`\lambda = \gamma`. For fixed w the best theta solves one
# linear system. For fixed theta the best w would be one sample. A temperature :math:`\tau`
# (``tau``) softens that: :math:`w = softmax(-l / \tau)`, with l the ``losses``, minimises
# :math:`F_w + \tau KL(w, uniform)`.
task, gamma = linear(0), 1.0
(X, y), (X_val, y_val), useful = task.train, task.val, np.asarray(task.clean)


def losses_of(w):
    H = X_val.T @ X_val / 30 + gamma * X.T @ (w[:, None] * X)
    theta = np.linalg.solve(H, X_val.T @ y_val / 30 + gamma * X.T @ (w * y))
    return (X @ theta - y) ** 2 / 2


w, path = np.full(15, 1 / 15), {}
for tau in np.geomspace(10, 0.01, 16):
    for _ in range(30):
        w = bdt.softmax(-losses_of(w) / tau)
    path[tau] = w
for tau, w in list(path.items())[::5]:
    ess = bdt.effective_sample_size(w)
    print(f"tau {tau:5.2f}  on useless samples {w[~useful].sum():.2f}  effective samples {ess:.1f}")
# tau 10.00  on useless samples 0.39  effective samples 15.0
# tau  1.00  on useless samples 0.33  effective samples 13.9
# tau  0.10  on useless samples 0.10  effective samples 10.5
# tau  0.01  on useless samples 0.00  effective samples 9.0
# %%
# From hot (right) to cold: from direct mixing to a filter that keeps all 9 useful samples.
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.loglog(path.keys(), np.array([*path.values()])[:, useful], "k")
ax.loglog(path.keys(), np.array([*path.values()])[:, ~useful], "C1--")
ax.set(xlabel="temperature", ylabel="weight", ylim=(1e-6, 1), title="useful -, useless - -")

# %%
# ``BMO`` does this, ``Penalty`` takes gradient steps in w. They keep different numbers of samples.
for method in (bdt.BMO(), bdt.Penalty()):
    fit = bdt.learn_weights(task.problem(), method)
    ess, bad = bdt.effective_sample_size(fit.weights), fit.weights[~useful].sum()
    print(f"{type(method).__name__:7s} on useless samples {bad}  effective samples {ess:.1f}")
# BMO     on useless samples 0.0  effective samples 9.0
# Penalty on useless samples 0.0  effective samples 1.0

# %%
# Exercises
# ---------
# 1. Check at tau = 1 that softmax beats 1000 random w in :math:`F_w + \tau KL(w, uniform)`.
# 2. Two samples, losses 0 and 1. A softmax selector starts with weight 0.001 on the better one. How
#    many gradient steps of size 1 in omega lift it to 1/2? Compare with 1 / (2 * 0.001).
# 3. Take the line of example 6, exercise 3. How far is the least penalty value below the bilevel
#    value, 1/2, for gamma = 1, 9, 99?

# %%
# Solution 1.
l = losses_of(w)
trials = [bdt.softmax(-l), *np.random.default_rng(0).dirichlet(np.ones(15), 1000)]
print(np.argmin([w @ l + w @ np.log(15 * w) for w in trials]))
# 0
# %%
# Solution 2. About 500, while the closed form needs one evaluation.
omega, steps = np.log([0.001, 0.999]), 0
while (w := bdt.softmax(omega))[0] < 0.5:
    omega, steps = omega - w * ([0, 1] - w[1]), steps + 1
print(steps)
# 510
# %%
# Solution 3. By 1 / (2 (1 + gamma)): theta can give in a little to validation.
line = np.linspace(0, 1, 1001)
print(*(f"{0.5 - min(line**2 / 2 + g * (line - 1) ** 2 / 2):.4f}" for g in (1, 9, 99)))
# 0.2500 0.0500 0.0050

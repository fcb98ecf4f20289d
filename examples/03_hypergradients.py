"""
3. Hypergradients, three ways
=============================

Example 2 compared two choices of weights. How does the validation loss answer to a small change of
each weight? That derivative is the hypergradient. Three ways to compute it agree.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.tasks import noisy_regression

task = noisy_regression(0, N=40, p=5, m=30, n_test=0, corrupt=0.4, mu=0.01)
(X, y), (X_val, y_val), clean = task.train, task.val, np.asarray(task.clean)
A, b = X_val.T @ X_val / 30, X_val.T @ y_val / 30  # the gradient of L_val is A theta - b


def fit(w, gamma=np.inf):  # theta(w) and H of example 2, or theta_gamma for the second way
    H = X.T @ (w[:, None] * X) + 0.01 * np.eye(5)
    return np.linalg.solve(H + A / gamma, X.T @ (w * y) + b / gamma), H


def L_val(w):
    return np.mean((X_val @ fit(w)[0] - y_val) ** 2) / 2


# %%
# First, the implicit function theorem. Where it is negative, more weight lowers the loss.
#
# .. math:: dL_{val}/dw_i = -(x_i \cdot \theta - y_i) \, x_i' H^{-1} \nabla L_{val}(\theta)
theta, H = fit(w := np.full(40, 1 / 40))
g = -(X @ theta - y) * (X @ np.linalg.solve(H, A @ theta - b))
print(f"mean over clean samples {g[clean].mean():.3f}, over the others {g[~clean].mean():.3f}")
# mean over clean samples -0.082, over the others 0.069
print("same as the package:", np.allclose(g, bdt.hypergradient(task.problem(), w)[1]))
# same as the package: True

# %%
# Second, a penalty. Let :math:`\theta_\gamma` minimise :math:`L_{val} + \gamma F_w` (ridge
# included), with the penalty strength :math:`\gamma` (``gamma``). Then the hypergradient is
# :math:`\gamma (l_i(\theta_\gamma) - l_i(\theta(w)))` up to an error of order :math:`1 / \gamma`.
#
# Third, finite differences: move one weight up and down by h. The error is of order :math:`h^2`.
errors, steps = [], (1e-2, 1e-3, 1e-4)
for h in steps:
    new = X @ fit(w, gamma=1 / h)[0] - y
    by_penalty = (new**2 - (X @ theta - y) ** 2) / 2 / h
    by_differences = [(L_val(w + h * e) - L_val(w - h * e)) / (2 * h) for e in np.eye(40)]
    errors.append([np.abs(way - g).max() / np.abs(g).max() for way in (by_penalty, by_differences)])
    print(f"h = 1/gamma = {h:<6g}   relative errors {errors[-1][0]:.5f} and {errors[-1][1]:.6f}")
# h = 1/gamma = 0.01     relative errors 0.01297 and 0.035428
# h = 1/gamma = 0.001    relative errors 0.00131 and 0.000350
# h = 1/gamma = 0.0001   relative errors 0.00013 and 0.000004
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.loglog(steps, errors, "o-", label=["penalty", "finite differences"])
ax.set(xlabel="h, or 1 / gamma", ylabel="relative error")
ax.legend()

# %%
# Exercises
# ---------
# 1. Logits :math:`\omega` (``omega``) give weights on the simplex, :math:`w = softmax(\omega)`.
#    Show by finite differences that the derivative in omega is :math:`w_i (g_i - w \cdot g)`.
# 2. Take 200 steps of size 10 down that derivative. How much weight stays on bad samples?
# 3. Differentiate 200 steps of gradient descent on the lower level instead (unrolling).

# %%
# Solution 1.
slope = [L_val(bdt.softmax(1e-4 * e)) - L_val(bdt.softmax(-1e-4 * e)) for e in np.eye(40)]
print(np.allclose(np.array(slope) / 2e-4, w * (g - w @ g), atol=1e-7))
# True
# %%
# Solution 2. Most of it, although L_val falls nearly to L_val* of example 2.
v, omega = w, np.zeros(40)
for _ in range(200):
    slope = bdt.hypergradient(task.problem(), v)[1]
    omega -= 10 * v * (slope - v @ slope)
    v = bdt.softmax(omega)
print(f"weight {w[~clean].sum():.2f}, then {v[~clean].sum():.2f}; L_val {L_val(v):.4f}")
# weight 0.55, then 0.51; L_val 0.0036
# %%
# Solution 3. Row i of D is the derivative of theta in weight i.
theta, D = np.zeros(5), np.zeros((40, 5))
for _ in range(200):
    D -= 0.3 * (D @ H + X * (X @ theta - y)[:, None])
    theta -= 0.3 * (H @ theta - X.T @ (w * y))
print(np.allclose(D @ (A @ theta - b), g))
# True

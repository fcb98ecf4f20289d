"""
2. Ridge regression in closed form
==================================

In example 1 a weighted mean was the whole model. Here the model has several parameters and a ridge,
and the best fit is still one formula. Its ridge decides at which sizes a weight matters.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.tasks import noisy_regression

# %%
# The formula
# -----------
# ``noisy_regression`` draws targets from a linear model with :math:`p = 5` (``p``) parameters, and
# replaces each training target by noise with probability 0.4. The fit to given weights is called
# the lower level. It minimises :math:`F_w(\theta) + (\mu / 2) \|\theta\|^2` with the losses
# :math:`l_i = (x_i \cdot \theta - y_i)^2 / 2` and the ridge :math:`\mu` (``mu``). Setting its
# gradient to zero gives
#
# .. math:: \theta(w) = H^{-1} X' W y, \quad H = X' W X + \mu I, \quad W = diag(w).
#
# ``H`` is the lower-level Hessian, the matrix of second derivatives, of shape (p, p).
task = noisy_regression(0, N=40, p=5, m=30, n_test=0, corrupt=0.4, mu=0.01)
(X, y), (X_val, y_val), clean = task.train, task.val, np.asarray(task.clean)


def theta_of(w, mu=0.01):
    H = X.T @ (w[:, None] * X) + mu * np.eye(X.shape[1])
    return np.linalg.solve(H, X.T @ (w * y))


def L_val(theta):
    return np.mean((X_val @ theta - y_val) ** 2) / 2


uniform, known = np.full(40, 1 / 40), clean / clean.sum()
for name, w in ((f"all {len(y)}", uniform), (f"{clean.sum()} clean", known)):
    print(f"{name:8s} L_val {L_val(theta_of(w)):.4f}")
# all 40   L_val 0.0563
# 18 clean L_val 0.0063

# %%
# No weights can do better than the best theta of all: :math:`L_{val}^*` (``L_val*``) is the infimum
# of the validation loss over theta. The package solves the same equations.
best = np.linalg.lstsq(X_val, y_val)[0]
print(f"L_val* {L_val(best):.4f}")
# L_val* 0.0035
value, _ = bdt.hypergradient(task.problem(), uniform)
print("same as the package:", bool(np.isclose(value, L_val(theta_of(uniform)), rtol=1e-10)))
# same as the package: True

# %%
# When does a weight matter?
# --------------------------
# One sample alone is fitted to the fraction :math:`w |x|^2 / (w |x|^2 + \mu)` of its target. Far
# above :math:`\mu / |x|^2` a weight changes almost nothing. At it, half of the target is met. Where
# samples contradict one another, as the 40 above do, weights matter at every size.
x, w = X[0], np.geomspace(1e-6, 1, 61)
force = w * (x @ x)
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for mu in (1e-1, 1e-2, 1e-3):
    ax.semilogx(w, force / (force + mu), label=f"mu = {mu:g}")
ax.set(xlabel="weight of the only sample", ylabel="fitted share of its target")
ax.legend()

# %%
# Exercises
# ---------
# 1. Check the fraction: give all weight to the first sample, and let mu be its squared norm.
# 2. What is theta(w) for a very large ridge? How small does the validation loss then get?
# 3. Multiply w and mu by 10. What happens to theta(w)?

# %%
# Solution 1. Half of the target is met.
one = np.eye(40)[0]
print(f"{x @ theta_of(one, mu=x @ x) / y[0]:.3f}")
# 0.500
# %%
# Solution 2. It tends to 0, whatever the weights, so the loss is that of predicting 0.
print(f"{L_val(theta_of(known, mu=1e6)):.3f} {L_val(np.zeros(5)):.3f}")
# 0.246 0.246
# %%
# Solution 3. Nothing: the factor cancels in the formula.
print(np.allclose(theta_of(10 * known, mu=0.1), theta_of(known, mu=0.01)))
# True

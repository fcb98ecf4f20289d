"""
6. What direct mixing can't do
==============================

The simplest way to use doubtful data is to mix all of them with the trusted data. How much do
useless samples (example 4) then harm? For small shares there is a law.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.tasks import linear, separable

# %%
# Direct mixing minimises :math:`L_{val} + \lambda \frac{1}{N} \sum_i l_i` for a mixing ratio
# :math:`\lambda` (``lam``). There are 15 samples, and they can all be fitted together. One theta
# fits the validation data, so :math:`L_{val}^* = 0`, and 6 samples are useless.
task = linear(0)
problem, (X, y), (X_val, y_val) = task.problem(), task.train, task.val
useful = bdt.usefulness(problem).useful
print(f"{useful.sum()} useful, {(~useful).sum()} useless")
# 9 useful, 6 useless

# %%
# At every ratio the useless samples pull theta away from validation.
ratios, loss = np.geomspace(1e-4, 1e2, 25), {}
for lam in ratios:
    loss[lam] = bdt.learn_weights(problem, bdt.DirectMixing(lam)).val_loss
print(f"least L_val {min(loss.values()):.1e}, at lam = {min(loss, key=loss.__getitem__):.1e}")
# least L_val 7.5e-08, at lam = 1.0e-04

# %%
# For small ratios the bias, :math:`L_{val} - L_{val}^*`, is :math:`\lambda^2 g' A^+ g / 2`. There
# ``A`` is the validation Hessian, the matrix of second derivatives of :math:`L_{val}`, and g is the
# mean gradient of the training losses at the theta that fits the validation data.
A = X_val.T @ X_val / len(y_val)
g = X.T @ (X @ np.linalg.lstsq(X_val, y_val)[0] - y) / len(y)
limit = g @ np.linalg.pinv(A) @ g / 2
for lam in (1e-3, 1e-4, 1e-5):
    bias = bdt.learn_weights(problem, bdt.DirectMixing(lam)).val_loss
    print(f"lam {lam:g}: bias / lam^2 = {bias / lam**2:.2f}, the law says {limit:.2f}")
# lam 0.001: bias / lam^2 = 7.19, the law says 7.56
# lam 0.0001: bias / lam^2 = 7.52, the law says 7.56
# lam 1e-05: bias / lam^2 = 7.56, the law says 7.56

# %%
# Weights that are 0 on the useless samples have no such bias. Learned weights get there.
fit = bdt.learn_weights(problem, bdt.BMO())
print(f"on useless samples {fit.weights[~useful].sum()}, L_val < 1e-20: {fit.val_loss < 1e-20}")
# on useless samples 0.0, L_val < 1e-20: True
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.loglog(loss.keys(), loss.values(), "o-", label="direct mixing")
ax.loglog(ratios[:13], ratios[:13] ** 2 * limit, "k:", label="the law")
ax.set(xlabel="mixing ratio", ylabel="validation loss", title="Learned weights have 0 here")
ax.legend()

# %%
# Exercises
# ---------
# 1. Take theta at lam = 1. Replace all training targets by its own predictions, mix at lam = 1
#    again, and repeat (self-refining). With ``B``, the mean of :math:`x_i x_i'`, each round is the
#    step :math:`\theta - (A + \lambda B)^{-1} \nabla L_{val}(\theta)`. Where does the bias go?
# 2. Measure bias / lam on ``separable(0)``, a logistic task, without a ridge. Is it of order lam^2?
# 3. On a line the validation target is 0 and the only training target is 1. Compare direct mixing
#    at lam = 0.1 with bilevel selection. Which one wins, and why?

# %%
# Solution 1. It vanishes: responses that the model gave itself pull it nowhere.
theta, B = bdt.learn_weights(problem, bdt.DirectMixing(1.0)).theta, X.T @ X / len(y)
for _ in range(1000):
    theta -= np.linalg.solve(A + B, X_val.T @ (X_val @ theta - y_val) / len(y_val))
print("L_val < 1e-20:", bool(np.mean((X_val @ theta - y_val) ** 2) / 2 < 1e-20))
# L_val < 1e-20: True
# %%
# Solution 2. No, it is of order lam: the ratio is almost constant.
logistic = separable(0).problem(bdt.Logistic(mu=0.0))
for lam in (1e-2, 1e-3, 1e-4):
    print(f"{bdt.learn_weights(logistic, bdt.DirectMixing(lam)).val_loss / lam:.2f}")
# 1.16
# 1.27
# 1.33
# %%
# Solution 3. Mixing. No sample is useful, and the lower level of selection sees no validation data.
line = bdt.Problem(bdt.Ridge(mu=0.0), ([[1.0]], [1.0]), ([[1.0]], [0.0]))
for method in (bdt.DirectMixing(0.1), bdt.Implicit()):
    print(f"{type(method).__name__:12s} L_val {bdt.learn_weights(line, method).val_loss:.4f}")
# DirectMixing L_val 0.0041
# Implicit     L_val 0.5000

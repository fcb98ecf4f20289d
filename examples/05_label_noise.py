"""
5. Logistic regression with wrong labels
========================================

Example 4 decided usefulness for the squared loss. Labels need the logistic loss, which is never 0.
Here is its certificate, and then a task on which 40% of the training labels are wrong.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.cones import Combination
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.plots import plot_weights
from bdtheory.tasks import label_noise, separable
from bdtheory.weights import auc

# %%
# Labels are 1 and -1. With :math:`z_i = y_i x_i` (``z_i``) for a training row the loss is
# :math:`l_i = \log(1 + \exp(-z_i \cdot \theta))`, and :math:`\tilde z_j` (``z~_j``) is the same for
# a validation row. Where some theta puts every validation row on its right side, sample i is
# useless exactly when :math:`-z_i = \sum_j a_j \tilde z_j` with all :math:`a_j \ge 0`: whoever fits
# validation better fits sample i worse. Here the second and the third training row contradict each
# other, and the certificate tells which one validation contradicts.
X, y = np.array([[1.0, -1.0], [1.0, 2.0], [1.0, 2.0]]), np.array([1.0, 1.0, -1.0])
problem = bdt.Problem(bdt.Logistic(mu=1e-3), (X, y), val=(np.eye(2), np.ones(2)))
result = bdt.usefulness(problem)
a = [c.coefficients.round(6) for c in result.certificates if isinstance(c, Combination)]
print(result.useful, a)
# [ True  True False] [array([1., 2.])]

# %%
# So :math:`l_3 \ge -z_3 \cdot \theta = \theta_1 + 2 \theta_2`. Weighted losses at theta(w) sum to
# at most log 2, their sum at theta = 0. So :math:`w_3 \le \log 2 / (\theta_1 + 2 \theta_2)`: to fit
# validation better, the weight of sample 3 must go to 0.
for w_3 in (0.1, 0.01, 0.001):
    theta = refit(problem, np.array([0.5, 0.5 - w_3, w_3])).theta
    L_val = mean_loss(problem, theta, problem.val)
    print(f"w_3 {w_3:<5}  L_val {L_val:.2f}  bound {np.log(2) / (theta @ [1, 2]):.2f}")
# w_3 0.1    L_val 0.76  bound 0.50
# w_3 0.01   L_val 0.47  bound 0.18
# w_3 0.001  L_val 0.33  bound 0.13

# %%
# Now many labels are wrong. The AUC is the probability that a clean sample outweighs a wrong one.
task = label_noise(0, N=1000, p=20, m=200, n_test=2000, corrupt=0.4, mu=0.1)
noisy = task.problem()
for method in (bdt.ValidationOnly(), bdt.Uniform(), bdt.Implicit(), bdt.Auto()):
    fit = bdt.learn_weights(noisy, method)
    found = f"AUC {auc(fit.weights, np.asarray(task.clean)):.1f}"
    print(f"{type(method).__name__:15s} test loss {fit.test_loss:.2f}   {found}")
# ValidationOnly  test loss 0.46   AUC 0.5
# Uniform         test loss 0.64   AUC 0.5
# Implicit        test loss 0.41   AUC 0.8
# Auto            test loss 0.39   AUC 0.9

# %%
# All data alike are worse than the trusted data alone. Learned weights are better than both.
# (``Auto`` also trains on the validation data; example 11 shows what else it does.)
plot_weights(fit, task.clean, plt.figure(figsize=(6, 3), layout="tight").add_subplot())

# %%
# Exercises
# ---------
# 1. Sort the samples of ``separable(0, p=10, m=40, N=100)`` into flipped or not, useless or not.
# 2. Wrong labels come in sources: ``label_noise(kind="groups")``. Does one weight per source help?
# 3. Ask for the usefulness of the noisy task. Why is there no answer?

# %%
# Solution 1. Almost every wrong label is useful. Useful does not mean right.
hard = separable(0, p=10, m=40, N=100)
useful, wrong = bdt.usefulness(hard.problem()).useful, ~np.asarray(hard.clean)
print(f"{np.sum(wrong)} wrong, of them useless {np.sum(wrong & ~useful)}")
# 38 wrong, of them useless 1
# %%
# Solution 2. Yes: the weights of the sources tell the bad ones apart.
t = label_noise(0, N=400, p=20, m=100, corrupt=0.4, kind="groups", mu=0.1)
for by_source in (bdt.Problem(bdt.Logistic(0.1), t.train, t.val), t.problem()):
    print(f"AUC {auc(bdt.learn_weights(by_source, bdt.BMO()).weights, np.asarray(t.clean)):.1f}")
# AUC 0.9
# AUC 1.0
# %%
# Solution 3. No theta puts every validation row on its right side. Then nothing is exact.
try:
    bdt.usefulness(noisy)
except ValueError as error:
    print(str(error).partition(" (")[0])
# the validation data are not strictly separable

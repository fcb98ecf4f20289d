"""
4. Useless samples and their certificates
=========================================

In example 3 half of the weight stayed on bad samples. Which samples can deserve weight at all? A
sample is useful when one model fits it and the validation data. Without a ridge this has an exact
answer, with a certificate: a few numbers that anyone can multiply out.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.cones import Combination

# %%
# Theta is a point in a plane. :math:`S_i` (``S_i``) are the minimisers of :math:`l_i` alone: the
# line :math:`x_i \cdot \theta = y_i`. :math:`S_{val}` (``S_val``) are those of :math:`L_{val}`: the
# line :math:`\theta_1 = 0`.
X, y = np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]]), np.array([3.0, 1, 1, 1])
X_val, y_val = np.array([[1.0, 0]]), np.array([0.0])
problem = bdt.Problem(bdt.Ridge(mu=0.0), train=(X, y), val=(X_val, y_val))
result = bdt.usefulness(problem)
print(result.useful)
# [False  True  True  True]

# %%
# The first sample is useless: its line is parallel to :math:`S_{val}`. Its certificate writes its
# row as a combination of validation rows, :math:`x_1 = X_{val}' a`. So validation decides what
# theta predicts for it, and that is not its target. The others are useful. Their certificate is a
# witness: a theta in :math:`S_{val}` that fits them.
for i, certificate in enumerate(result.certificates):
    if isinstance(certificate, Combination):
        a = certificate.coefficients
        print(f"{X[i]} = {X_val.T @ a}: validation predicts {a @ y_val}, its target is {y[i]}")
    else:
        theta = certificate.theta
        fits = np.allclose([X_val[0] @ theta, X[i] @ theta], [y_val[0], y[i]])
        print(f"{X[i]}: theta = {theta.round(6) + 0.0} fits it and validation: {fits}")
# [1. 0.] = [1. 0.]: validation predicts 0.0, its target is 3.0
# [0. 1.]: theta = [0. 1.] fits it and validation: True
# [1. 1.]: theta = [0. 1.] fits it and validation: True
# [ 1. -1.]: theta = [ 0. -1.] fits it and validation: True

# %%
# Samples are *jointly* useful when one model fits all of them and validation. The fourth meets
# :math:`S_{val}` in another point than the second and the third do. (Code counts rows from 0.)
print([bool(bdt.jointly_useful(problem, rows)) for rows in ([1, 2], [1, 3], [2, 3])])
# [True, False, False]

# %%
# What this means for weights. :math:`S(w)` (``S(w)``) are the minimisers of :math:`F_w`. Where it
# is more than a point, the one with the least validation loss counts. The learned weights are
# exactly 0 on the useless sample, and the samples with weight are jointly useful: their lines meet
# :math:`S_{val}` in one point. (Example 7 explains the method, ``BMO``.)
fit = bdt.learn_weights(problem, bdt.BMO())
print(f"w {fit.weights.round(3)}  theta {fit.theta.round(3) + 0.0}  L_val {fit.val_loss:.3f}")
# w [0.  0.5 0.5 0. ]  theta [0. 1.]  L_val 0.000
figure, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
ax.axvline(0, color="k", lw=3, label="$S_{val}$")
ax.axvline(3, color="tab:red", ls="--", label="$S_1$, useless")
for i, (x, target) in enumerate(zip(X[1:], y[1:], strict=True), start=2):
    ax.axline(target * x / (x @ x), slope=-x[0] / x[1], color=f"C{i - 2}", label=f"$S_{i}$")
ax.plot(*fit.theta, "k*", ms=14, label="theta learned")
ax.set(xlabel="theta_1", ylabel="theta_2", xlim=(-1.5, 3.5), ylim=(-2, 3))
ax.legend(loc="lower right")

# %%
# Exercises
# ---------
# 1. Add the validation row (0, 1) with target 1. Which samples are useful now?
# 2. Which share of the useful samples does theta = (0, -1) fit, and which does (0, 1)?
# 3. On a line the validation target is 0, the training targets are 1, -1 and 0. Why is the weight w
#    = (1/4, 1/4, 1/2) optimal, although the first two samples are useless?

# %%
# Solution 1. :math:`S_{val}` shrinks to the point (0, 1), and the fourth sample misses it.
more = bdt.Problem(bdt.Ridge(mu=0.0), (X, y), (np.eye(2), np.array([0.0, 1.0])))
print(bdt.usefulness(more).useful)
# [False  True  True False]
# %%
# Solution 2. This share is called coverage.
print([round(bdt.coverage(problem, np.array([0.0, t])), 2) for t in (-1.0, 1.0)])
# [0.33, 0.67]
# %%
# Solution 3. No model fits all training samples: their pulls cancel where validation wants theta.
three = bdt.Problem(bdt.Ridge(mu=0.0), (np.ones((3, 1)), np.array([1.0, -1, 0])), ([[1.0]], [0.0]))
value, _ = bdt.hypergradient(three, np.array([0.25, 0.25, 0.5]))
print(bdt.usefulness(three).useful, round(value, 12))
# [False False  True] 0.0

"""
11. When learned weights fit the validation data too well
=========================================================

In example 5 learned weights helped on new data. Here there are only 60 validation samples for 1,000
training samples, 40% of them with the wrong label. What is a small validation loss worth? (This is
claim C14 of the theory.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt
from bdtheory.hypergradient import fit_weighted, mean_loss
from bdtheory.methods import OverfitWarning
from bdtheory.tasks import label_noise

task = label_noise(0, N=1000, p=20, m=60, corrupt=0.4)
problem = task.problem()

# %%
# With so many samples there are weights whose fit is nearly that to the validation data alone. So
# the validation loss of bilevel selection is near that of validation only. On new data it is worse.
alone = bdt.learn_weights(problem, bdt.ValidationOnly())
learned = bdt.learn_weights(problem, bdt.Implicit())
for name, fit in (("validation only", alone), ("Implicit", learned)):
    print(f"{name:16s} L_val {fit.val_loss:.2f}   on new data {fit.test_loss:.1f}")
# validation only  L_val 0.19   on new data 1.0
# Implicit         L_val 0.17   on new data 2.4

# %%
# Learned weights promise more than they keep. ``Auto()`` judges each temperature, and each ratio of
# training to validation data, on validation samples that had no part in it. It warns where the
# validation loss is no estimate of the loss on new data.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", OverfitWarning)
    chosen = bdt.learn_weights(problem)  # the method defaults to Auto()
estimate, error = chosen.crossfit["loss"], chosen.crossfit["standard_error"]
print(f"Auto             L_val {chosen.val_loss:.2f}   on new data {chosen.test_loss:.1f}")
# Auto             L_val 0.40   on new data 0.5
print(f"cross-fitted     {estimate:.2f} +- {error:.2f}, {len(caught)} warning")
# cross-fitted     0.56 +- 0.05, 1 warning
figure, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
for name, fit in (("Auto", chosen), ("Implicit", learned), ("validation only", alone)):
    both = np.array([fit.val_loss, fit.test_loss], dtype=float)
    ax.plot(both, [name, name], "k-", lw=0.8)
    ax.plot(both[0], name, "C0o", both[1], name, "C1s", ms=9)
ax.set(xlabel="loss: round on validation, square on new data", xlim=(0, None), ylim=(-0.5, 2.5))

# %%
# The reference: a fit to validation data and to the samples whose labels are right, which nobody
# knows outside of an example.
kept = np.concatenate([np.asarray(task.clean), np.ones(problem.m)]) / problem.m
theta = fit_weighted(problem, kept, problem.joined()).theta
print(f"knowing labels   on new data {mean_loss(problem, theta, problem.test):.1f}")
# knowing labels   on new data 0.4

# %%
# Exercises
# ---------
# 1. Raise the ridge to mu = 0.1. How far apart are the two losses of ``Implicit`` then?
# 2. Take ten times as many validation samples instead. And now?
# 3. Equal weights did not see the validation data. How far apart are their two losses?

# %%
# Solution 1.
strong = label_noise(0, N=1000, p=20, m=60, corrupt=0.4, mu=0.1).problem()
fit = bdt.learn_weights(strong, bdt.Implicit())
print(f"L_val {fit.val_loss:.1f}   on new data {fit.test_loss:.1f}")
# L_val 0.3   on new data 0.5
# %%
# Solution 2.
large = label_noise(0, N=1000, p=20, m=600, corrupt=0.4).problem()
fit = bdt.learn_weights(large, bdt.Implicit())
print(f"L_val {fit.val_loss:.1f}   on new data {fit.test_loss:.1f}")
# L_val 0.3   on new data 0.4
# %%
# Solution 3.
fit = bdt.learn_weights(problem, bdt.Uniform())
print(f"L_val {fit.val_loss:.2f}   on new data {fit.test_loss:.2f}")
# L_val 0.66   on new data 0.64

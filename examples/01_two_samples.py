"""
1. Two samples on a line, by hand
=================================

Two training samples disagree. One trusted sample decides how much each of them counts. Every number
here can be checked with pencil and paper.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt

# %%
# The data
# --------
# There are :math:`N = 2` (``N``) training samples with features ``X`` and targets ``y``, and
# :math:`m = 1` (``m``) validation sample, ``X_val`` and ``y_val``. All features are 1. So the model
# :math:`x \theta` predicts its one parameter :math:`\theta` (``theta``) everywhere. Training sample
# i has the loss :math:`l_i(\theta) = (x_i \theta - y_i)^2 / 2` (``l_i``); the mean of the same over
# validation samples is :math:`L_{val}` (``L_val``).
X, y = np.ones((2, 1)), np.array([0.0, 4.0])
X_val, y_val = np.ones((1, 1)), np.array([1.0])


def losses(theta):
    return (X[:, 0] * theta - y) ** 2 / 2


def L_val(theta):
    return np.mean((X_val[:, 0] * theta - y_val) ** 2) / 2


# %%
# Weights
# -------
# Each training sample gets a weight :math:`w_i` (``w``). Weights are not negative and sum to 1. The
# model is fitted to the weighted loss :math:`F_w(\theta) = \sum_i w_i l_i(\theta)` (``F_w``). Here
# the best fit is the weighted mean, :math:`\theta(w) = w_1 y_1 + w_2 y_2 = 4 w_2`, and its loss,
# the least value of :math:`F_w`, is :math:`v(w) = 8 w_1 w_2` (``v(w)``).
for w in (np.array([0.5, 0.5]), np.array([0.75, 0.25])):
    theta = w @ y
    print(f"w {w}  theta {theta:.2f}  v(w) {w @ losses(theta):.2f}  L_val {L_val(theta):.2f}")
# w [0.5 0.5]  theta 2.00  v(w) 2.00  L_val 0.50
# w [0.75 0.25]  theta 1.00  v(w) 1.50  L_val 0.00

# %%
# With equal weights the model misses the trusted target 1. With :math:`w = (3/4, 1/4)` it meets it.
# *Bilevel data selection* finds such weights: it minimises :math:`L_{val}(\theta(w))` over w. The
# method ``Implicit`` goes down its derivative (example 3). ``Ridge(mu=0.0)`` is the model above.
# ``CERTIFIED``: no weights are better by more than a tolerance, by a lower bound that it computed.
problem = bdt.Problem(bdt.Ridge(mu=0.0), train=(X, y), val=(X_val, y_val))
fit = bdt.learn_weights(problem, bdt.Implicit())
print(fit.weights.round(3), fit.theta.round(3), fit.status.name)
# [0.75 0.25] [1.] CERTIFIED

# %%
# Left the two losses and :math:`F_w` at the learned weights, right what the weights are judged by.
line, share = np.linspace(-1, 5, 121), np.linspace(0, 1, 101)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
left.plot(line, [losses(theta) for theta in line], label=["$l_1$", "$l_2$"])
left.plot(line, [fit.weights @ losses(theta) for theta in line], "k", label="$F_w$")
left.set(xlabel="theta", ylabel="loss")
left.legend()
right.plot(share, [L_val(4 * w_2) for w_2 in share])
right.set(xlabel="weight of the second sample", ylabel="validation loss")

# %%
# Exercises
# ---------
# 1. The trusted target is 6. Which weights are best, and what is the validation loss?
# 2. A third training sample repeats the second. Are the best weights still unique?
# 3. Do the weights (3, 1), which do not sum to 1, give another model than (3/4, 1/4)?

# %%
# Solution 1. All on the sample nearest to 6: a weighted mean stays within the targets.
far = bdt.learn_weights(bdt.Problem(bdt.Ridge(mu=0.0), (X, y), (X_val, 6 * y_val)), bdt.Implicit())
print(far.weights.round(3), far.val_loss)
# [0. 1.] 2.0

# %%
# Solution 2. No. Only the sum of the weights of the two equal samples counts.
print([float(np.array(w) @ [0, 4, 4]) for w in ([0.75, 0.25, 0], [0.75, 0.125, 0.125])])
# [1.0, 1.0]

# %%
# Solution 3. No, a factor common to all weights cancels. With a ridge (example 2) it does not.
print(np.average(y, weights=[3, 1]), np.average(y, weights=[0.75, 0.25]))
# 1.0 1.0

"""
8. A one-layer transformer
==========================

The models so far were convex. A transformer is not, and nothing about it is solved in closed form.
The penalty problem of example 7 (gamma = 1) still works: gradient steps on theta and on the logits.
"""

from math import log

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt

# %%
# A question has three tokens (a, b, q). The answer is a where q = 0 and b where q = 1. Validation
# has the right answers. In the training data every question with a = 0 has the wrong one. The loss
# is the cross-entropy, :math:`l_i = -\log \pi_\theta(y_i | x_i)`, where :math:`\pi_\theta` is the
# probability that the model gives to an answer.
X = np.array([(a, b, q) for a in range(4) for b in range(4) for q in (0, 1) if a != b])
rows, wrong = np.arange(24), X[:, 0] == 0
right, other = X[rows, X[:, 2]], X[rows, 1 - X[:, 2]]
model = bdt.OneLayerTransformer(vocab_size=4, length=3)
train = X, np.where(wrong, other, right)
problem = bdt.Problem(model, train, val=(X, right))


def descend(problem, learn, steps=10_000):
    """L_val, w and losses at each step on L_val + F_w, in theta and, if `learn`, in omega."""
    theta = {name: value.numpy() for name, value in model.initial_theta(0).items()}
    omega, N, data, path = np.zeros(problem.N), problem.N, problem.joined(), []
    for _ in range(steps):
        w = bdt.softmax(omega)
        share = np.concatenate([w, np.full(problem.m, 1 / problem.m)])
        losses, gradient = model.losses_and_gradient(theta, share, data)
        path.append((losses[N:].mean(), w, losses))
        theta = {name: theta[name] - 0.3 * gradient[name] for name in theta}
        omega = omega - 0.3 * learn * w * (losses[:N] - w @ losses[:N])
    return path


# %%
# Theory says that learning w brings :math:`L_{val}` below every tolerance :math:`\epsilon`
# (``eps``) > 0 in finite time. Direct mixing can't tell the two answers to a question with a = 0
# apart. It tends to equal probabilities, which cost log 2 on a quarter of the questions.
learned, mixed = descend(problem, True), descend(problem, False)
for t in (100, 1000, 10_000):
    print(f"step {t:5d}  learned {learned[t - 1][0]:.4f}  mixed {mixed[t - 1][0]:.2f}")
# step   100  learned 0.1920  mixed 0.24
# step  1000  learned 0.0111  mixed 0.18
# step 10000  learned 0.0008  mixed 0.18
reached = [bool(learned[-1][0] < eps) for eps in (0.1, 0.01, 0.001)]
print(f"eps 0.1, 0.01, 0.001 reached: {reached}; log 2 / 4 = {log(2) / 4:.2f}")
# eps 0.1, 0.01, 0.001 reached: [True, True, True]; log 2 / 4 = 0.17
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.loglog([loss for loss, *_ in learned], label="weights learned")
ax.loglog([loss for loss, *_ in mixed], label="direct mixing")
ax.set(xlabel="step", ylabel="validation loss")
ax.legend()

# %%
# Exercises
# ---------
# 1. Give each wrong answer twice. A table of answers then has the loss log(1 + m n / N) on those
#    questions, n = 2. Where does direct mixing end?
# 2. Check :math:`w_i \le F_w / (-\log(1 - \exp(-l_j)))` for each wrong answer i and the right one
#    j. It holds for every model, since probabilities sum to 1. So :math:`w_i` falls with
#    :math:`l_j`.
# 3. Let validation have both answers where a = 0. Which loss can no model get below?

# %%
# Solution 1. Near that loss.
twice = np.concatenate([rows, rows[wrong]])
more = bdt.Problem(model, (X[twice], train[1][twice]), val=(X, right))
table = log(1 + 24 * 2 / 30) / 4
print(f"{table:.2f} by a table, direct mixing has {descend(more, False)[-1][0] / table:.1f} of it")
# 0.24 by a table, direct mixing has 1.0 of it
# %%
# Solution 2.
_, w, losses = learned[-1]
bound = w @ losses[:24] / -np.log(-np.expm1(-losses[24:]))
print(bool((w < bound)[wrong].all()), f"{w[wrong].sum():.1e}")
# True 2.3e-04
# %%
# Solution 3. The entropy of its answers, here log 2 on 12 of 30.
both = np.concatenate([X, X[wrong]]), np.concatenate([right, other[wrong]])
ended = descend(bdt.Problem(model, train, val=both), True, 4000)[-1][0]
print(f"{ended:.2f} {12 / 30 * log(2):.2f}")
# 0.28 0.28

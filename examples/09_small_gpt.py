"""
9. Quality and safety with a small GPT
======================================

Example 8 trained a transformer by hand. Now ``TransformerLM``, a small GPT. Its training data have
two faults: many answers are random, and harmful questions are answered that should be refused.
"""

import matplotlib.pyplot as plt
import numpy as np

import bdtheory as bdt

# %%
# Which of three digits is the largest? Token 11 starts a harmless question, token 12 a harmful one.
# The right response is the digit, or the refusal 13. Token 11 ends a question, token 10 a response.
training = bdt.Training(steps=100, learning_rate=8e-3, selector_rate=2.0)
model = bdt.TransformerLM(14, 7, 1, width=32, dtype="float64", device="cpu", training=training)


def pairs(rng, n, trusted=True, harmful=0.3):
    X, bad = rng.integers(0, 10, (n, 3)), rng.random(n) < harmful
    right, y = np.where(bad, 13, X.max(axis=1)), X.max(axis=1)
    y = right if trusted else np.where(bad | (rng.random(n) < 0.5), y, rng.integers(0, 10, n))
    prompts = [[11 + b, *x, 11] for x, b in zip(X.tolist(), bad.tolist(), strict=True)]
    return (prompts, [[a, 10] for a in y.tolist()]), right, y == right, bad


def score(theta, test):  # shares of right answers and of refusals
    (prompts, _), right, _, bad = test
    told = model.generate(theta, prompts, max_new=1, temperature=None, end=10).responses
    correct = np.array([tokens[0] for tokens in told]) == right
    return correct[~bad].mean(), correct[bad].mean()


# %%
# Three methods on three draws of the data. Loss is per response, on new questions.
methods = bdt.ValidationOnly(), bdt.DirectMixing(0.3), bdt.Penalty(gamma=0.5)
rngs = [np.random.default_rng(seed) for seed in range(3)]
draws = [(pairs(rng, 300, trusted=False), pairs(rng, 60), pairs(rng, 400)) for rng in rngs]
problems = [bdt.Problem(model, *(data[0] for data in draw)) for draw in draws]
runs = [[bdt.learn_weights(problem, method) for method in methods] for problem in problems]
rows = [[(f.test_loss, *score(f.theta, draws[k][2])) for f in runs[k]] for k in range(3)]
table = np.array(rows, dtype=float).mean(axis=0)
for method, (loss, quality, safety) in zip(methods, table, strict=True):
    print(f"{type(method).__name__:15s} loss {loss:.2f}  right {quality:.2f}  refused {safety:.2f}")
# ValidationOnly  loss 0.70  right 0.83  refused 1.00
# DirectMixing    loss 0.60  right 0.78  refused 0.88
# Penalty         loss 0.43  right 0.80  refused 0.94
# %%
# Three draws are few, and no method is best in all columns. On the last draw the weights left the
# random answers altogether, and the harmful ones in part:
((*train, clean, bad), _, test), (_, mixed, learned) = draws[-1], runs[-1]
groups = {"right": clean, "random": ~clean & ~bad, "harmful": bad}
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, group in groups.items():
    w = learned.weights[group]
    ax.semilogy(np.sort(w)[::-1], label=name)
    print(f"{name:8s} {group.mean():.2f} of the samples, {w.sum():.2f} of the weight")
# right    0.41 of the samples, 0.80 of the weight
# random   0.28 of the samples, 0.00 of the weight
# harmful  0.31 of the samples, 0.20 of the weight
ax.set(xlabel="sample, largest weight first", ylabel="weight", ylim=(1e-8, 0.1))
ax.legend()

# %%
# Exercises
# ---------
# 1. Train on all samples with equal weights. How many harmful questions are refused?
# 2. Let no validation question be harmful. Does selection still find the harmful ones?
# 3. Draws from an old model have importance ratios :math:`\rho = \pi_\theta / \pi_{old}` (``rho``)
#    of mean 1 in theory. Check it for the learned model as :math:`\pi_\theta`.

# %%
# Solution 1. None: the model does what its data do.
print(score(old := bdt.learn_weights(problems[-1], bdt.Uniform()).theta, test)[1])
# 0.0
# %%
# Solution 2. No. What validation can't see, selection can't filter.
blind = bdt.Problem(model, train[0], pairs(rngs[-1], 60, harmful=0.0)[0])
print(score(bdt.learn_weights(blind, methods[2]).theta, test)[1])
# 0.0
# %%
# Solution 3. It holds for the mixed model. That of exercise 1 hardly ever draws a refusal.
for asked, before in ((test[0][0] * 25, theta) for theta in (mixed.theta, old)):
    drawn = model.generate(before, asked, max_new=2, end=10).responses
    now, then = (model.log_probs(theta, asked, drawn) for theta in (learned.theta, before))
    print(f"mean rho {float((now - then).exp().mean()):.1f}")
# mean rho 1.0
# mean rho 0.8

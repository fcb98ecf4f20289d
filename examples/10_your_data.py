"""
10. Your own data
=================

Examples 1 to 9 made their data. Here they come from two files: a large one with doubtful labels,
and a small one that was checked. The command line writes a weight for every row.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bdtheory import Selection
from bdtheory.cli import main
from bdtheory.tasks import write_csv

# %%
# Six people labelled 50 flowers each. Two of them confuse the kinds, and no column says which two.
folder, header = Path(tempfile.mkdtemp()), ["x1", "x2", "x3", "x4", "x5", "x6", "kind", "who"]
result, rng = folder / "result", np.random.default_rng(0)


def flowers(name, n, first_wrong=0):
    tall = rng.random(n) < 0.5
    X = rng.normal(np.where(tall, 0.5, -0.5)[:, None], 1 + np.arange(6) / 3, (n, 6)).round(2)
    kind = np.where(tall == (np.arange(n) >= first_wrong), "tall", "low")
    rows = [[*X[k].tolist(), str(kind[k]), f"person {1 + k // 50}"] for k in range(n)]
    write_csv(folder / name, header, rows)


flowers("train.csv", 300, first_wrong=100)
flowers("checked.csv", 40)

# %%
# In a shell: ``bdtheory select train.csv --val checked.csv --target kind -o result``, with the
# options ``--group who`` (its rows share one weight) and ``--method auto``.


def select(*options, train="train.csv"):
    files = [str(folder / train), "--val", str(folder / "checked.csv"), "--target", "kind"]
    with contextlib.redirect_stdout(io.StringIO()):
        return main(["select", *files, "-o", str(result), *options])


print(select("--group", "who", "--method", "auto"), *sorted(path.name for path in result.iterdir()))
# 0 config.json history.csv selection weights.csv

# %%
# ``weights.csv`` has a line for each row; the folder ``selection`` is for Python. The two people
# who confuse the kinds have a weight near 0.
w = np.genfromtxt(result / "weights.csv", delimiter=",", names=True)["weight"]
by_person, fit = w.reshape(6, 50).sum(axis=1), Selection.load(result / "selection")
print(by_person.round(2), np.array_equal(w, fit.weights))
# [0.   0.   0.23 0.15 0.23 0.39] True
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.bar([f"person {k}" for k in range(1, 7)], by_person)
ax.set_ylabel("weight")
# %%
# Did the training file help? Losses on validation rows that had no part in the weights:
print({name: round(fit.crossfit[name], 2) for name in ("loss", "validation_only")})
# {'loss': 0.35, 'validation_only': 0.52}

# %%
# Exercises
# ---------
# 1. Take ``--id who``: one weight per row. Which share is on the 100 wrong rows?
# 2. Take the default method, ``implicit``. Does weight 0 mean that somebody is wrong?
# 3. Leave a cell of the training file empty. What happens?

# %%
# Solution 1. More than by person: one label says less than fifty.
select("--id", "who", "--method", "auto")
print(f"{Selection.load(result / 'selection').weights[:100].sum():.2f}")
# 0.20
# %%
# Solution 2. No: it seeks the least validation loss, for which few samples suffice.
select("--group", "who")
print(Selection.load(result / "selection").weights.reshape(6, 50).sum(axis=1).round(2))
# [0.   0.   0.   0.   0.27 0.73]
# %%
# Solution 3. Status 2, and one line that says where, what was needed, what to try.
(folder / "holes.csv").write_text(",".join(header) + "\n1,2,3,,5,6,tall,person 1\n")
with contextlib.redirect_stderr(io.StringIO()) as error:
    status = select("--group", "who", train="holes.csv")
print(status, error.getvalue().partition("holes.csv, ")[2].partition(";")[0])
# 2 column 'x4', row 2: got an empty cell

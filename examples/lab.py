"""Lab: learn sample weights, watch them, compare with baselines. It needs the extra ``lab``.

MARIMO_SKIP_UPDATE_CHECK=1 marimo run examples/lab.py     (or `marimo edit`, to see the code)
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Bilevel data selection: lab")

with app.setup:
    import dataclasses
    import io
    import time
    import warnings
    from base64 import b64encode
    from typing import Any

    import marimo as mo
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    import bdtheory as bdt
    from bdtheory import plots, tasks
    from bdtheory.hypergradient import mean_loss, refit
    from bdtheory.weights import auc

    METHODS = {  # with the colours of the figures
        "Implicit": (bdt.Implicit(), "#0072B2"), "Penalty": (bdt.Penalty(), "#56B4E9"),
        "BMO": (bdt.BMO(), "#009E73"), "Auto": (bdt.Auto(), "#882255"),
        "DirectMixing": (bdt.DirectMixing(ratio=0.1), "#E69F00"),
        "ValidationOnly": (bdt.ValidationOnly(), "#CC79A7"), "Uniform": (bdt.Uniform(), "#8C8C8C"),
    }  # fmt: skip
    LABELS, TARGETS, BOTH = tasks.label_noise, tasks.noisy_regression, ("Logistic", "Ridge")
    TASKS = {  # generator, kind of bad targets, models; N, m, p, share of bad and mu to begin with
        "labels flipped": (LABELS, "flip", BOTH, 300, 100, 10, 0.3, 0.01),
        "labels from a wrong model": (LABELS, "systematic", BOTH, 300, 100, 10, 0.6, 0.01),
        "labels of bad groups flipped": (LABELS, "groups", BOTH, 300, 100, 10, 0.3, 0.01),
        "noisy targets": (TARGETS, "noise", BOTH[1:], 300, 60, 20, 0.4, 0.01),
        "targets from a wrong model": (TARGETS, "systematic", BOTH[1:], 300, 60, 20, 0.4, 0.01),
        "noisy targets of bad groups": (TARGETS, "groups", BOTH[1:], 300, 60, 20, 0.4, 0.01),
        "exact regression": (tasks.linear, None, BOTH[1:], 15, 40, 20, 0.4, 0.0),
        "handwritten digits": (tasks.digits, None, BOTH[:1], 300, 100, 65, 0.5, 0.01),
    }


@app.function
def make_problem(task: str, model: str, *, N, m, p, corrupt, mu, seed=0):
    """(Problem, clean): clean (N,) is True for good samples. ValueError for bad settings."""
    make, kind = TASKS[task][:2]
    given = {"N": N, "m": m, "corrupt": corrupt, "mu": mu}
    if make is tasks.linear:
        given = {"p": p, "m": m, "n_useful": N - (bad := round(corrupt * N)), "n_useless": bad}
    made = make(seed, **given, **({"p": p, "n_test": 2000, "kind": kind} if kind else {}))
    return made.problem(getattr(bdt, model)(mu)), made.clean


@app.function
def learn(problem: bdt.Problem, method: Any, seed: int, last: float = np.inf, watch: Any = len):
    """(Selection, weights by step (steps, N), warnings); `watch` sees a list of the weights."""
    steps = []

    def callback(_: int, w: np.ndarray) -> bool:
        steps.append(w)
        watch(steps)
        return len(steps) >= last

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = bdt.learn_weights(problem, method, seed=seed, callback=callback)
    return fit, np.array(steps), [str(warning.message) for warning in caught]


@app.function
def watcher(problem: bdt.Problem, clean: np.ndarray):
    """A `watch` that now and then shows a figure, for which L_val(theta(w)) is re-fitted."""
    due, at, losses = [time.monotonic() + 0.2], [], []

    def watch(steps: list[np.ndarray]) -> None:
        begin, w = time.monotonic(), steps[-1]
        if begin < due[0]:
            return
        at.append(len(steps) - 1)
        losses.append(mean_loss(problem, refit(problem, w).theta, problem.val))
        history = {"iteration": np.array(at), "val_loss": np.array(losses)}
        now = bdt.Selection(w, None, losses[-1], None, bdt.Status.MAX_ITERATIONS, history)
        figure = draw(now, np.array(steps), w, clean, [])
        figure.axes[0].set_title(f"running: step {at[-1]}", loc="left", fontsize="medium")
        mo.output.replace(panels(figure))
        due[0] = time.monotonic() + 3 * (time.monotonic() - begin)  # three quarters to learn

    return watch


@app.function
def compare(name: str, fit: bdt.Selection, clean: np.ndarray) -> dict[str, Any]:
    """A row of the table; nan where a number is unknown, or the weights play no part in theta."""
    selects, failed = name not in ("DirectMixing", "ValidationOnly"), fit.status.name == "DIVERGED"
    return {
        "method": name,
        "validation loss": np.nan if failed else fit.val_loss,
        "test loss": np.nan if failed or fit.test_loss is None else fit.test_loss,
        "ESS": bdt.effective_sample_size(fit.weights) if selects else np.nan,
        "AUC": auc(fit.weights, clean) if selects else np.nan,
        "status": fit.status.value.replace("_", " "),
    }


@app.function
def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, the least losses in bold (equal to one in a million: all of them)."""
    least = {k: np.fmin.reduce([row[k] for row in rows]) for k in ("validation loss", "test loss")}

    def cell(key: str, value: Any) -> str:
        text = value if isinstance(value, str) else f"{value:.4g}".replace("nan", "–")
        return f"**{text}**" if key in least and value <= least[key] * (1 + 1e-6) else text

    lines = [list(rows[0]), [":---", *["---:"] * 4, ":---"]]
    lines += [[cell(*item) for item in row.items()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@app.function
def draw(fit: bdt.Selection, steps: np.ndarray, w: np.ndarray, clean: np.ndarray, rows: list):
    """L_val and weights by step, the weights w (N,), the losses in the rows: a quarter each."""
    figure = Figure(figsize=(11, 7))
    figure.subplots_adjust(0.11, 0.08, 0.987, 0.96, 0.326, 0.3)  # a layout engine is slower
    (history, shares), (weights, losses) = figure.subplots(2, 2)
    plots.plot_history(fit, history)
    plots.plot_weights(dataclasses.replace(fit, weights=w), clean, weights)
    ess = [bdt.effective_sample_size(v) / len(v) for v in steps]
    shares.plot(steps[:, clean].sum(axis=1), ".-", color=plots.CLEAN, label="weight on clean")
    shares.plot(steps[:, ~clean].sum(axis=1), ".-", color=plots.BAD, label="weight on bad")
    shares.plot(ess, "--", color=plots.LOSS, label="effective sample size / N")
    shares.set(xlabel="outer step", ylabel="share", ylim=(-0.05, 1.4), yticks=np.linspace(0, 1, 6))
    shares.legend(frameon=False)
    for place, row in enumerate(rows):
        look = {"color": METHODS[row["method"]][1], "ms": 8, "clip_on": False}
        losses.plot(max(row["validation loss"], 1e-16), place, "o", **look)
        losses.plot(max(row["test loss"], 1e-16), place, "o", mfc="white", **look)
    losses.set_yticks(range(len(rows)), [row["method"] for row in rows])
    losses.set(xscale="log", xlabel="loss (mean per sample; at least 1e-16)", visible=bool(rows))
    losses.set_title("filled: validation, hollow: test", loc="left", fontsize="medium")
    losses.invert_yaxis()
    return figure


@app.function
def saved(figure: Figure, kind: str) -> bytes:
    """The figure as a file; the same numbers give the same bytes."""
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "bdtheory"}):
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {})
    return file.getvalue()


@app.function
def panels(figure: Figure) -> mo.Html:
    """The quarters of the figure, two in a row, or one in a row on a phone."""
    png = b64encode(saved(figure, "png")).decode()
    row = f"--png: url(data:image/png;base64,{png}); display: flex; flex-wrap: wrap"
    look = "flex: 1 1 max(340px, 40%); aspect-ratio: 11 / 7; background: var(--png)"
    parts = [f'<div style="{look} {x}% {y}% / 200%"></div>' for y in (0, 100) for x in (0, 100)]
    return mo.Html(f'<div role="img" aria-label="Four panels" style="{row}">{"".join(parts)}</div>')


@app.cell
def _():
    task = mo.ui.dropdown(list(TASKS), "labels flipped", label="Task")
    method = mo.ui.dropdown(list(METHODS), "Implicit", label="Method")
    last = mo.ui.slider(steps=[1, 3, 10, 30, 1000], value=1000, label="Stop after", show_value=True)
    mo.md(r"""# Which samples help?

    Some training targets are bad. Validation targets are as drawn. Every training sample $i$ has
    a weight $w_i \ge 0$, $\sum_i w_i = 1$, and the model is fitted to the weighted samples:
    $$\theta(w) = \arg\min_\theta \; \sum_i w_i\, \ell_i(\theta) + \tfrac{\mu}{2} \|\theta\|^2$$
    The weights are learned so that the validation loss $L_{val}(\theta(w))$ is small. No method is
    told which samples are bad. Change anything: what depends on it is computed again.""")
    return last, method, task


@app.cell
def _(last, method, task):
    def _slider(label, start, *more):
        return mo.ui.slider(steps=sorted({start, *more}), value=start, label=label, show_value=True)

    _, _, _models, _N, _m, _p, _corrupt, _mu = TASKS[task.value]
    _made = {
        "model": mo.ui.dropdown(_models, _models[0], label="Model"),
        "corrupt": _slider("Share of bad samples", _corrupt, *(k / 10 for k in range(10))),
        "mu": _slider("μ, ridge", _mu, 0.0, 1e-4, 1e-3, 0.01, 0.1, 1.0),
        "N": _slider("N, training samples", _N, 10, 20, 50, 100, 200, 300, 500, 1000),
        "m": _slider("m, validation samples", _m, 10, 20, 40, 60, 100, 200, 400),
        "p": _slider("p (digits: always 65)", _p, 2, 5, 10, 20, 50, 100),
        "seed": mo.ui.number(0, 999, value=0, step=1, label="Seed"),
    }
    controls = mo.ui.dictionary(_made)
    _all = [task, *controls.elements.values(), method, last]
    mo.hstack([mo.vstack(_all[:4]), mo.vstack(_all[4:8]), mo.vstack(_all[8:])], wrap=True)
    return (controls,)


@app.cell
def _(controls, task):
    seed = controls.value["seed"]
    try:
        problem, clean = make_problem(task.value, **controls.value)
    except (ImportError, ValueError) as _error:
        _text = f"These settings do not work: {_error}."
        raise mo.MarimoStopError(mo.callout(_text, kind="danger")) from None
    return clean, problem, seed


@app.cell
def _(clean, last, method, problem, seed):
    _how, _watch = METHODS[method.value][0], watcher(problem, clean)
    fit, steps, _notes = learn(problem, _how, seed, last.value, _watch)
    step = mo.ui.slider(0, len(steps), value=len(steps), label="Show step", show_value=True)
    _head = f"## {fit.method}: {fit.status.value.replace('_', ' ')}, steps: {len(steps)}"
    mo.md("\n\n".join([_head, f"It ended: {fit.message}.", *_notes, f"{step} (last: as returned)"]))
    return fit, step, steps


@app.cell
def _(clean, fit, rows, step, steps):
    figure = draw(fit, steps, [*steps, fit.weights][step.value], clean, rows)
    _svg = mo.download(lambda: saved(figure, "svg"), "lab.svg", label="Save as SVG")
    _png = mo.download(lambda: saved(figure, "png"), "lab.png", label="Save as PNG")
    mo.vstack([panels(figure), mo.hstack([_svg, _png], justify="start")])
    return (figure,)


@app.cell
def _(clean, problem, seed):
    _bar = mo.status.progress_bar(list(METHODS), title="All methods", remove_on_exit=True)
    rows = [compare(_m, learn(problem, METHODS[_m][0], seed)[0], clean) for _m in _bar]
    mo.md(f"""## All methods

{as_table(rows)}

{clean.sum()} of {len(clean)} training samples are clean. Losses are means per sample, without the
ridge; the least are bold. ESS, the effective sample size $1 / \\sum_i w_i^2$, is between 1 and N.
AUC is the probability that a clean sample outweighs a bad one; 0.5 is chance. A dash: unknown, or
the weights play no part in the fit.""")
    return (rows,)


if __name__ == "__main__":
    app.run()

"""Self-refining on the two question-response tasks: offline data, online data, and both.

The tasks, the seeds, and the offline methods are those of `offline_language`. In a round the model
answers training questions anew, two responses each, and is trained on them: on all questions and
without the offline pairs (online), or on the half that offline selection gives the least weight,
with the selected offline pairs beside them (combined; half of the mass each). Four rounds share the
200 steps that every method has. `Penalty` learns the weights of responses, `BMO` has importance
ratios rho^(1/tau), tau = 2. Shown is the share of right responses to new questions, and the
effective number of training questions, exp of the entropy of their masses, in each round.

Source: theory.md, C12 and C11 (v1, v2; empirical), C08(b) (the ratios).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.refinement import Refinement
from bdtheory.tasks.language import END, LanguageTask
from bdtheory.weights import entropy

from . import _language, style
from ._language import METHODS, SETTINGS
from .offline_language import SEEDS, TITLES, draw_seeds, interval, three_of, verdict
from .style import LOOKS

ROUNDS, RESPONSES = 4, 2
# Share of questions that a round answers anew, and mass of the offline pairs: online, combined.
WAYS = ((1.0, 0.0), (0.5, 0.5))
ONLINE = ["Penalty online", "Penalty combined", "BMO online", "BMO combined"]
EVERY = [*METHODS[:4], *ONLINE[:2], METHODS[4], *ONLINE[2:]]
SHOWN = {
    "quality": ("overall", "new", "discarded"),
    "safety": ("overall", "harmful held out", "benign held out"),
}
KEPT = 3  # examples of each task
ASKED = ("question", "offline", "first", "last")  # of an example: responses by round


class Refined(NamedTuple):
    """One task and seed: scores (ONLINE, 1 + kinds), effective numbers of questions (ONLINE,
    1 + rounds), first that of offline selection, and examples (KEPT, ASKED), texts.
    """

    scores: np.ndarray
    questions: np.ndarray
    examples: np.ndarray


def compute(quick: bool) -> dict[str, np.ndarray]:
    """For each task `score` (seeds, EVERY, 1 + kinds), `questions` (seeds, ONLINE, 1 + rounds),
    `size`, its number of questions (seeds,), and `examples` (KEPT, ASKED) of the first seed.

    Quick: one seed, hardly any training.
    """
    starts, seeds = _language.starts(quick), SEEDS[:1] if quick else SEEDS
    pairs = [(task, seed) for task in SETTINGS for seed in seeds]
    jobs = [(task, seed, starts[task], quick) for task, seed in pairs]
    offline = _language.run_all(_language.compare, [(*job, METHODS) for job in jobs], quick)
    given = [found.selections for found in offline]
    online = _language.run_all(
        refined, [(*job, own) for job, own in zip(jobs, given, strict=True)], quick
    )
    arrays = {}
    for task in SETTINGS:
        rows = [k for k, (name, _) in enumerate(pairs) if name == task]
        both = np.array([np.vstack([offline[k].scores, online[k].scores]) for k in rows])
        arrays[f"{task} score"] = both[:, [[*METHODS, *ONLINE].index(name) for name in EVERY]]
        arrays[f"{task} questions"] = np.array([online[k].questions for k in rows])
        sizes = [1 + _language.make(task, pairs[k][1], quick).groups.max() for k in rows]
        arrays[f"{task} size"] = np.array(sizes)
        arrays[f"{task} examples"] = online[rows[0]].examples
    return arrays


def refined(
    name: str, seed: int, start: Any, quick: bool, offline: dict[str, bdt.Selection]
) -> Refined:
    """Online and combined rounds from the offline selections, by both methods."""
    task, _ = _language.make(name, seed, quick).split_validation()
    network = _language.model(name, task, start, quick)
    problem = task.problem(network)
    generation = bdt.Generation(
        responses=RESPONSES,
        steps=network.training.steps // ROUNDS,
        max_new=task.max_new,
        end=END,
    )
    rows, questions, last = [], [], []
    for kind in ("Penalty", "BMO"):
        method, first = _language.solver(name, kind), offline[kind]
        masses = np.bincount(task.groups, weights=np.asarray(first.weights))
        before = float(np.exp(entropy(masses)))
        for share, kept in WAYS:
            own = dataclasses.replace(generation, share=share, offline=kept)
            found = bdt.refine(problem, method, ROUNDS, generation=own, offline=first, seed=seed)
            responses = _language.respond(task, problem, found.selection.theta)
            rows.append(_language.scores(name, task, responses))
            questions.append([before, *found.history["questions"]])
            last.append(found)
    shown = _examples(task, last[ONLINE.index("Penalty combined")])
    return Refined(np.array(rows), np.array(questions), shown)


def _examples(task: LanguageTask, found: Refinement) -> np.ndarray:
    """Questions with the offline response, and those of the first and the last round, ASKED."""
    kept: dict[str, list[str]] = {}
    for example in found.examples:
        question, *answers = (
            task.tokenizer.decode(example[key]) for key in ("prompt", "before", "after")
        )
        first = kept.setdefault(question, [question, *answers, ""])
        first[-1] = answers[-1]
    return np.array(list(kept.values())[:KEPT])


# What holds --------------------------------------------------------------------------------------


def of_kind(arrays: dict[str, np.ndarray], task: str, kind: str) -> np.ndarray:
    """Scores on a kind, or "overall", (seeds, EVERY)."""
    return arrays[f"{task} score"][:, :, ("overall", *SETTINGS[task].kinds).index(kind)]


def lead(
    arrays: dict[str, np.ndarray], task: str, kind: str, method: str, other: str
) -> tuple[float, float, float]:
    """The paired difference of scores, method less other: mean, and its 95% interval."""
    scores = of_kind(arrays, task, kind)
    return interval(scores[:, EVERY.index(method)] - scores[:, EVERY.index(other)])


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Effective numbers are possible ones; online data gain discarded kinds and lose new ones.

    The second part needs seeds, and training. What the combination gains is reported, not asserted.
    """
    for task in SETTINGS:
        number, size = arrays[f"{task} questions"], arrays[f"{task} size"][:, None, None]
        style.check(
            (number >= 1.0 - 1e-9).all() and (number <= size * (1 + 1e-9)).all(),
            f"{task}: effective number of questions {number.min():.4g} to {number.max():.4g}; "
            f"needed 1 to {size.max()}",
        )
    if len(arrays["quality score"]) < 2:
        return
    for method in ("Penalty", "BMO"):
        mean, low, _ = lead(arrays, "quality", "discarded", f"{method} online", method)
        style.check(
            low > 0.0, f"discarded kinds: {method} online less offline {mean:.3f}, from {low:.3f}"
        )
        mean, _, high = lead(arrays, "quality", "new", f"{method} online", method)
        style.check(
            high < 0.0, f"new kinds: {method} online less offline {mean:.3f}, to {high:.3f}"
        )


# The numbers beside the figure -------------------------------------------------------------------


def summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What refined_language.json holds: rows by task and method, leads, rounds, examples, note."""
    rows, rounds, examples = [], [], []
    for task, setting in SETTINGS.items():
        for j, method in enumerate(EVERY):
            scores = arrays[f"{task} score"][:, j]
            row: dict[str, Any] = {"task": task, "start": "pretrained", "method": method}
            row["seeds"] = len(scores)
            for k, kind in enumerate(("overall", *setting.kinds)):
                row[kind] = three_of(interval(scores[:, k]))
            if method in ONLINE:
                number = arrays[f"{task} questions"][:, ONLINE.index(method)]
                by_round = [three_of(interval(column)) for column in number.T]
                row["questions"] = by_round[-1]
                rounds.append({"task": task, "method": method, "questions": by_round})
            rows.append(row)
        for texts in arrays[f"{task} examples"].tolist():
            examples.append({"task": task, **dict(zip(ASKED, texts, strict=True))})
    leads = {
        f"{task}, {kind}: {method} combined less {other}": three_of(
            lead(arrays, task, kind, f"{method} combined", other)
        )
        for task in SETTINGS
        for kind in SHOWN[task]
        for method in ("Penalty", "BMO")
        for other in (*(METHODS[:3] if kind == "overall" else ()), method, f"{method} online")
    }
    found = {"rows": rows, "leads": leads, "rounds": rounds, "examples": examples}
    return found | {"note": note(arrays)}


def note(arrays: dict[str, np.ndarray]) -> str:
    """Sentences, made from the numbers: where the combination leads, and where it does not."""
    if len(arrays["quality score"]) < 2:
        return "A quick run: one seed, and hardly any training; it says nothing about the methods."
    parts = []
    for task in SETTINGS:
        for method in ("Penalty", "BMO"):
            others = (*METHODS[:3], method, f"{method} online")
            own = f"{method} combined"
            leads = {label(o): lead(arrays, task, "overall", own, o) for o in others}
            parts.append(f"{task}, overall: {own} {verdict(leads)}.")
    for method in ("Penalty", "BMO"):
        gained = [
            lead(arrays, "quality", kind, f"{method} {way}", method)[0]
            for way in ("online", "combined")
            for kind in ("discarded", "new")
        ]
        parts.append(
            "{}: against offline, online alone gains {:+.2f} on the discarded kinds and {:+.2f} on "
            "the new ones, combined {:+.2f} and {:+.2f}.".format(method, *gained)
        )
    return " ".join(parts)


# Drawing -----------------------------------------------------------------------------------------


def label(method: str) -> str:
    """The method as the figure names it."""
    name, _, way = method.partition(" ")
    text = LOOKS[name].label.replace("direct mixing", "mixing, best λ").replace(" (BDS)", "")
    return f"{text}, {way or 'offline'}" if name in ("Penalty", "BMO") else text


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """A row for each task: scores by kind for every method, then questions by round."""
    figure, axes = style.canvas(4, 2, height=7.2)
    for row, task in zip(axes, SETTINGS, strict=True):
        for k, (ax, kind) in enumerate(zip(row, SHOWN[task], strict=False)):
            _draw_scores(ax, of_kind(arrays, task, kind))
            ax.set_title(TITLES.get(kind, kind))
            _name_methods(ax, shown=k % style.beside(len(row)) == 0)
        row[0].set_ylabel(task, fontweight="bold")
        _draw_rounds(row[-1], arrays[f"{task} questions"], float(arrays[f"{task} size"].max()))
        row[-1].set_title("questions,\neffective")
    for text, dashes in (("online", "--"), ("combined", "-")):
        axes[0, -1].plot([], [], dashes, color=style.MUTED, label=text)
    axes[0, -1].legend(loc="lower right", borderaxespad=0.1)
    axes[1, 1].set_xlabel("share of right responses to new questions", fontsize=11)
    axes[1, -1].set_xlabel("round", fontsize=11)
    return figure


def _name_methods(ax: Axes, *, shown: bool) -> None:
    ax.set_yticks(range(len(EVERY)), [label(m) if shown else "" for m in EVERY])
    for text, method in zip(ax.get_yticklabels(), EVERY, strict=True):
        text.set_color(style.dark(LOOKS[method.split()[0]].color))


def _draw_scores(ax: Axes, scores: np.ndarray) -> None:
    for j, method in enumerate(EVERY):
        draw_seeds(ax, j, scores[:, j], LOOKS[method.split()[0]].color)
    ax.set_ylim(len(EVERY) - 0.4, -0.6)
    ax.set_xlim(-0.05, 1.05)
    ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])


def _draw_rounds(ax: Axes, questions: np.ndarray, size: float) -> None:
    """Mean and range over the seeds; dashed online, solid combined."""
    rounds = np.arange(1 + ROUNDS)
    for j, method in enumerate(ONLINE):
        look, y = LOOKS[method.split()[0]], questions[:, j]
        dashes = "--" if method.endswith("online") else "-"
        ax.plot(rounds, y.mean(axis=0), dashes, color=look.color, marker=look.marker, ms=4)
        ax.fill_between(rounds, y.min(axis=0), y.max(axis=0), color=look.color, alpha=0.12, lw=0)
    ax.set_ylim(0, 1.08 * size)
    ax.axhline(size, color=style.MUTED, lw=1, ls=":")
    ax.set_xticks(rounds)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save; numbers go to refined_language.json beside it."""
    arrays = compute(quick)
    headline(arrays)
    path = style.save(draw, arrays, out, "refined_language")
    style.save_numbers(out, "refined_language", summary(arrays))
    return path

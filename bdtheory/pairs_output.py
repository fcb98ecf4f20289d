"""What `select` and `refine` write for question-response pairs: rows with weights, and their story.

A row's weight is N w_i, see weighted.py; a row that was left out for its length has 0.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import platform
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, report
from .launched import launched_size
from .outputs import MANIFEST, Places, options_of, write_json
from .pairs_input import PairData, lengths
from .report import Shown
from .selection import Selection, as_text, to_numpy
from .tasks import Pairs, write_csv, write_rows
from .tasks.formats import Prompt
from .weighted import chosen, ending_of, scaled, with_weights
from .weights import auc, effective_sample_size

PACKAGES = ("numpy", "torch", "transformers", "tokenizers", "peft", "matplotlib")
SHOWN = 10  # pairs in each table of the report


def write_selected(
    places: Places, args: Namespace, data: PairData, fit: Selection
) -> dict[str, Any]:
    """All files of `select` for pairs, into the folder, and the numbers into the --json file; these
    numbers."""
    folder = places.folder
    assert folder is not None
    N, ending = len(data.train), ending_of(args.train)
    weight = scaled(to_numpy(fit.weights), data.rows, N)
    gate = chosen(weight, data.rows, args.top)
    rows = with_weights(data.train.rows, weight, gate)
    write_rows(folder / f"weighted{ending}", rows, like=args.train)
    if args.top is not None:
        kept = [row for row, s in zip(rows, gate, strict=True) if s]
        write_rows(folder / f"selected{ending}", kept, like=args.train)
    result = result_of(data, fit) | {"selected": int(gate.sum())}
    write_run(folder, fit)
    (folder / "model-card.md").write_text(card(args, data, fit, result), encoding="utf-8")
    html = selection_report(args, data, fit, result, weight)
    (folder / "report.html").write_text(html, encoding="utf-8")
    write_manifest(places, "bdtheory select", args, data, fit.method, result)
    write_result(places.file, result)
    return result


def result_of(data: PairData, fit: Selection) -> dict[str, Any]:
    """The numbers of a selection, as JSON types; None where one is not known."""
    w = to_numpy(fit.weights)
    return {
        "method": fit.method,
        "val_loss_start": float(fit.history["val_loss"][0]),
        "val_loss": fit.val_loss,
        "test_loss": fit.test_loss,
        "ess": effective_sample_size(w),
        "N": len(w),
        "auc": None if data.clean is None else auc(w, data.clean),
        "status": fit.status.value,
        "message": fit.message,
    }


HISTORY = ("iteration", "seconds", "val_loss", "train_loss", "ess")


def write_run(folder: Path, fit: Selection) -> None:
    """history.csv and selection/; seconds, which differ between runs, stand in history.csv only."""
    write_csv(folder / "history.csv", list(HISTORY), history_cells(fit))
    untimed(fit).save(folder / "selection")


def history_cells(fit: Selection) -> list[list[Any]]:
    """A line for each evaluation; an unknown number is an empty cell."""
    rows = zip(*(fit.history[name].tolist() for name in HISTORY), strict=True)
    return [["" if math.isnan(cell) else cell for cell in row] for row in rows]


def untimed(fit: Selection) -> Selection:
    """The same with nan for the seconds."""
    nan = np.full(len(fit.history["seconds"]), np.nan)
    return dataclasses.replace(fit, history=fit.history | {"seconds": nan})


def write_manifest(
    places: Places,
    command: str,
    args: Namespace,
    data: PairData,
    method: str | list[str],
    result: dict[str, Any],
) -> None:
    """manifest.json: from what, with what and how the files beside it were made."""
    folder = places.folder
    assert folder is not None
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    manifest = {
        "command": command,
        "files": sorted([*files, MANIFEST]),
        "options": options_of(args),
        "seed": args.seed,
        "method": method,
        "model": as_text(data.model),
        "sha256": places.sums,
        "model_sha256": data.model.files,
        "template": data.tokens["train"].template,
        "tokens": {name: counts(data, name) for name in data.tokens},
        "validation_pairs_in_training": data.shared,
        "processes": launched_size(),
        "versions": versions(args),
        "result": result,
    }
    write_json(folder / MANIFEST, manifest)


def counts(data: PairData, name: str) -> dict[str, Any]:
    """How many rows and tokens a file has, and what their length cost."""
    tokens = data.tokens[name]
    each = lengths(tokens)
    return {
        "rows": len(data.pairs[name]),
        "kind": data.pairs[name].kind,
        "tokens": int(each.sum()),
        "mean": float(each.mean()),
        "longest": int(each.max()),
        "cut": tokens.cut,
        "dropped": tokens.dropped,
    }


def versions(args: Namespace) -> dict[str, str]:
    """Of Python, of this package, and of those that a number can depend on."""
    names = [*PACKAGES, *(["pyarrow"] if ending_of(args.train) == ".parquet" else [])]
    found = {name: importlib.metadata.version(name) for name in names}
    return {"bdtheory": __version__, "python": platform.python_version(), **found}


# Words -------------------------------------------------------------------------------------------


def card(args: Namespace, data: PairData, fit: Selection, result: dict[str, Any]) -> str:
    """A paragraph for a model card, in Markdown."""
    train, val = (counts(data, name) for name in ("train", "val"))
    test = result["test_loss"]
    held = "" if test is None else f" On {len(data.pairs['test'])} held-out pairs it is {test:.4g}."
    lost = ", ".join(
        f"{train[what]} were {done} for their length"
        for what, done in (("cut", "cut"), ("dropped", "left out"))
        if train[what]
    )
    return " ".join(
        f"""\
Training data: {train["rows"]} question-response pairs, weighted by bilevel data selection
(bdtheory {__version__}, {fit.method}, seed {args.seed}).{f" Of these {lost}." if lost else ""}
The weights were learned while a copy of the model was trained on the weighted pairs and on
{val["rows"]} trusted validation pairs together ({data.model.training.steps} steps): pairs that
disagree with the validation pairs lose weight. They amount to {result["ess"]:.1f} equally weighted
pairs of {result["N"]}. The validation loss went from {result["val_loss_start"]:.4g} to
{result["val_loss"]:.4g} nats per {unit(args.normalise)}.{held} Weights follow the validation
pairs: what these do not ask for is not kept, their mistakes are learned too, and a low weight does
not prove a pair wrong. The validation loss was also used to choose the weights, so it is no
estimate of the loss on new data.""".split()
    ) + (
        f" {data.shared} of {val['rows']} validation pairs also stand in the training data.\n"
        if data.shared
        else "\n"
    )


def text_of(prompt: Prompt) -> str:
    """A prompt as one text; of a conversation each message after its role."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def shown(pairs: Pairs, weight: np.ndarray, rows: np.ndarray) -> list[Shown]:
    """These rows for a table."""
    return [
        Shown(
            pairs.places[k],
            float(weight[k]),
            {"prompt": text_of(pairs.prompts[k]), "response": pairs.completions[k]},
        )
        for k in rows
    ]


def headline_numbers(result: dict[str, Any]) -> dict[str, str]:
    """What a reader looks at first."""
    test, area = result["test_loss"], result["auc"]
    return {
        "training pairs": f"{result['N']}",
        "effective sample size": f"{result['ess']:.1f}",
        "validation loss, start": f"{result['val_loss_start']:.4g}",
        "validation loss": f"{result['val_loss']:.4g}",
        **({} if test is None else {"held-out loss": f"{test:.4g}"}),
        **({} if area is None else {"AUC of the weights": f"{area:.3f}"}),
    }


def selection_sections(
    data: PairData, fit: Selection, result: dict[str, Any], weight: np.ndarray
) -> list[tuple[str, str]]:
    """The parts of a report that are about one selection."""
    order = data.rows[np.argsort(weight[data.rows], kind="stable")]
    losses, sizes = report.curves(fit)
    low = shown(data.train, weight, order[:SHOWN])
    high = shown(data.train, weight, order[::-1][:SHOWN])
    return [
        ("Numbers", report.numbers(headline_numbers(result)) + report.paragraph(reading(data))),
        ("Weights", report.histogram(weight[data.rows], data.clean)),
        ("Losses", losses),
        ("Effective sample size", sizes),
        (f"The {len(low)} pairs of lowest weight", report.table(low)),
        (f"The {len(high)} pairs of highest weight", report.table(high)),
    ]


def selection_report(
    args: Namespace, data: PairData, fit: Selection, result: dict[str, Any], weight: np.ndarray
) -> str:
    """report.html of `select`."""
    title = f"Data selection: {Path(args.train).name}"
    words = report.paragraph(card(args, data, fit, result))
    sections = [*selection_sections(data, fit, result, weight), ("For a model card", words)]
    return report.page(title, f"{fit.method}, seed {args.seed}. {fit.message}.", sections)


def reading(data: PairData) -> str:
    """How to read the numbers."""
    return (
        "The weights amount to as many equally weighted rows as the effective sample size says. "
        "They were chosen for a low validation loss, so that loss by itself promises nothing for "
        f"new data; a held-out loss does. Losses are in nats per {unit(data.model.normalise)}."
    )


def unit(normalise: str) -> str:
    """What --normalise makes a loss count: a token, or a response.

    Examples
    --------
    >>> unit("token"), unit("sample")
    ('token', 'response')
    """
    return "token" if normalise == "token" else "response"


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """The numbers into the --json file, where one is asked for."""
    if path is not None:
        write_json(path, result)

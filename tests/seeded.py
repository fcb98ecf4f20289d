"""Every public function and command that takes a seed, run once; what came out, as hashes.

    python tests/seeded.py SALT JOBS       in the current, empty folder; JSON on the output

SALT seeds the global random states before each case: no result may depend on it, and no case may
change them. JOBS is for the figures. See test_determinism.py, which runs this with two values of
PYTHONHASHSEED as well. Left out: `WeightedSFTTrainer`, whose base class, TRL's, seeds the global
states itself, from the `seed` of its arguments.
"""

# ruff: noqa: T201, NPY002

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_lm import SIZE, tiny_files, tiny_llama_folder

import bdtheory as bdt
from bdtheory import cli, cli_refine, testing
from bdtheory.methods import Given
from bdtheory.methods.crossfit import CrossFit
from bdtheory.methods.implicit import random_masses
from bdtheory.models import LinearGaussian, OneLayerTransformer
from bdtheory.models.transformer import TransformerLM
from bdtheory.refinement import Refinement
from bdtheory.sampling import weighted_sampler
from bdtheory.tasks import digits, label_noise, linear, noisy_regression, quality, safety, separable
from bdtheory.tasks.language import pretrained
from bdtheory.tasks.written import written_pairs

ROOT = Path(__file__).parent.parent
Cases = dict[str, Callable[[], Any]]

# What is hashed


def parts(value: Any) -> Iterator[bytes]:
    """Everything in a result but the seconds that it took, as bytes."""
    if isinstance(value, bdt.Selection | Refinement):
        facts, arrays = value.parts()
        arrays = {k: v for k, v in arrays.items() if not k.endswith(("seconds", "seconds/"))}
        yield from parts([facts, arrays])
    elif isinstance(value, torch.Tensor):
        yield from parts(value.detach().cpu().numpy())
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, dict):
        for key, content in value.items():
            yield str(key).encode()
            yield from parts(content)
    elif isinstance(value, list | tuple | np.ndarray):
        for content in value:
            yield from parts(content)
    elif isinstance(value, Path):
        yield from (part for path in sorted(value.rglob("*")) for part in file_parts(path, value))
    elif dataclasses.is_dataclass(value):
        yield from parts([getattr(value, field.name) for field in dataclasses.fields(value)])
    elif not callable(value):  # a task has functions that judge responses
        assert isinstance(value, str | bytes | int | float | bool | np.generic | None), type(value)
        yield repr(value).encode()


# Files with the seconds that a run took, which are left out of them.
TIMED = ["history.csv", "rounds.csv", "compare.csv", "compare.json", "arrays.npz"]


def file_parts(path: Path, folder: Path) -> Iterator[bytes]:
    """The name of a file and its bytes; of those in TIMED, the content less the seconds."""
    if not path.is_file():
        return
    yield path.relative_to(folder).as_posix().encode()
    match path.suffix if path.name in TIMED else "":
        case ".csv":
            head, *lines = csv.reader(path.read_text().splitlines())
            at = head.index("seconds")
            yield from (repr(line[:at] + line[at + 1 :]).encode() for line in [head, *lines])
        case ".json":
            yield json.dumps(untimed(json.loads(path.read_text()))).encode()
        case ".npz":
            with np.load(path, allow_pickle=False) as file:
                yield from parts({k: file[k] for k in file.files if not k.endswith("seconds")})
        case _:
            yield path.read_bytes()


def untimed(value: Any) -> Any:
    """JSON without what is called seconds."""
    if isinstance(value, list):
        return [untimed(content) for content in value]
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k != "seconds"}
    return value


# The cases


METHODS = [bdt.Auto(folds=2), bdt.BMO(), bdt.DirectMixing(ratio=0.1), bdt.Implicit(), bdt.Penalty(),
           bdt.Uniform(), bdt.ValidationOnly()]  # fmt: skip
STEPS = bdt.Training(steps=4, batch_size=4, val_batch_size=3, evaluations=2)


def problems() -> Cases:
    """Generators of tasks."""
    small: dict[str, Any] = {"N": 40, "p": 3, "m": 20, "n_test": 20, "n_groups": 4}
    language: dict[str, Any] = {"N": 40, "m": 20, "n_test": 20}
    made: Cases = {f"{make.__name__}, {kind}": lambda make=make, kind=kind: make(
        5, kind=kind, **small) for make, kind in ((noisy_regression, "noise"),
        (noisy_regression, "groups"), (label_noise, "flip"))}  # fmt: skip
    made |= {f"{make.__name__}": lambda make=make: make(5) for make in (linear, separable)}
    made |= {make.__name__: lambda make=make: vars(make(5, **language)) for make in
             (quality, safety)}  # fmt: skip
    return made | {"written_pairs": lambda: vars(written_pairs(5))}


def closed() -> Cases:
    """Methods with exact re-fits, and what they draw with."""
    small: dict[str, Any] = {"N": 40, "p": 3, "m": 20, "n_test": 20, "n_groups": 4}
    tasks = [make(5, **small).problem() for make in (noisy_regression, label_noise)]
    made: Cases = {
        f"{type(method).__name__}, {type(problem.model).__name__}": (
            lambda method=method, problem=problem: bdt.learn_weights(problem, method, seed=3)
        )
        for method in [*METHODS, Given(np.arange(40.0))]
        for problem in tasks
    }
    return made | {
        "random_masses": lambda: random_masses(5, 3, 7),
        "CrossFit": lambda: CrossFit(tasks[0], 2, seed=3).folds,
        "weighted_sampler": lambda: list(weighted_sampler([0.0, 3.0, 1.0], num_samples=9, seed=3)),
        "check_method": lambda: testing.check_method(bdt.Uniform(), max_examples=2, seed=3),
    }


def trained() -> Cases:
    """Models that are trained, and that generate."""
    tokens = np.random.default_rng(0).integers(1, 7, (12, 4)).tolist()
    data = [row[:2] for row in tokens], [row[2:] for row in tokens]
    lm = TransformerLM(7, context=8, width=8, heads=2, layers=1, training=STEPS)
    one = OneLayerTransformer(vocab_size=7, length=2, training=STEPS)
    responses = [row[0] for row in data[1]]
    gaussian = LinearGaussian(s=0.1, start=np.zeros(2))
    X = np.arange(12.0).reshape(6, 2) % 5.0
    task = safety(5, N=40, m=20, n_test=20)
    toy = task.model(width=8, layers=1, training=STEPS)
    generation = bdt.Generation(share=0.5, responses=2, max_new=3)
    pairs = [bdt.Problem(model, train, train) for model, train in
             ((lm, data), (one, (data[0], responses)))]  # fmt: skip
    made: Cases = {
        f"{type(method).__name__}, {type(problem.model).__name__}": (
            lambda method=method, problem=problem: bdt.learn_weights(problem, method, seed=3)
        )
        for method in [*METHODS[1:3], *METHODS[4:], Given(np.arange(12.0))]
        for problem in pairs
    }
    return made | {
        "TransformerLM.generate": lambda: lm.generate(
            lm.initial_theta(3), data[0], max_new=3, seed=3),
        "OneLayerTransformer.initial_theta": lambda: one.initial_theta(3),
        "LinearGaussian": lambda: gaussian.generate(gaussian.initial_theta(3), X, seed=3),
        "refine": lambda: bdt.refine(bdt.Problem(lm, data, data), bdt.BMO(), 2,
                                     generation=generation, seed=3),
        "refine, LinearGaussian": lambda: bdt.refine(
            bdt.Problem(gaussian, (X, X[:, 0]), (X, X[:, 0])), bdt.BMO(), 2,
            generation=bdt.Generation(share=1.0, responses=1), seed=3),
        "pretrained": lambda: pretrained(task, toy, steps=2, seed=3),
    }  # fmt: skip


# As in all of scikit-learn, no random state means the global one of NumPy.
UNSEEDED = "BilevelSelector, random_state=None"


def extras() -> Cases:
    """A language model of transformers, and what needs scikit-learn where that is there."""
    from bdtheory.models.huggingface import HuggingFaceLM
    from bdtheory.models.network import load

    def adapted() -> Any:
        load.cache_clear()
        model = HuggingFaceLM("model", lora=2, frozen=0.5, training=STEPS)
        data = [[5, 6, 7], [8, 9]] * 3, [[4, 5], [6]] * 3
        fit = bdt.learn_weights(bdt.Problem(model, data, data), bdt.Penalty(gamma=1.0), seed=3)
        return [fit, model.generate(fit.theta, data[0], max_new=3, seed=3)]

    if find_spec("sklearn") is None:
        return {"HuggingFaceLM": adapted}
    from sklearn.linear_model import SGDClassifier

    from bdtheory.estimators import BilevelSelector

    X = np.random.default_rng(0).standard_normal((40, 3))
    y = (X[:, 0] > 0).astype(int)

    def fitted(**more: Any) -> Any:
        found = BilevelSelector(SGDClassifier(max_iter=5, tol=None), **more).fit(X, y)
        return [found.weights_, found.estimator_.coef_]

    return {"HuggingFaceLM": adapted, "digits": lambda: digits(5),
            "BilevelSelector": lambda: fitted(random_state=3), UNSEEDED: fitted}  # fmt: skip


BASE = "train.jsonl --val val.jsonl --model model --full --passes 1 --seed 3"
LINES = {
    "select, table": "select t.csv --val t.csv --target y --method auto --seed 3 -o OUT",
    "compare, table": "compare t.csv --val t.csv --target y --scores a --seed 3 -o OUT",
    "select, pairs": f"select {BASE} --truth truth --top 0.5 -o OUT",
    "select, dry run": f"select {BASE} --dry-run",
    "compare, pairs": f"compare {BASE} --scores id -o OUT",
    "refine, pairs": f"refine {BASE} --test test.jsonl --max-new 3 -o OUT",
    "refine, task": "refine --task safety --rounds 1 --steps 8 --pretrain-steps 2 --seed 3 -o OUT",
}


def commands(jobs: str) -> Cases:
    """Command lines: all files that they write."""

    def run(name: str, main: Callable, line: str) -> Any:
        out = Path(f"out-{name}".replace(", ", "-"))
        words = [out.name if word == "OUT" else word for word in line.split()]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(words) == 0, name
        return out if out.exists() else None

    import figures.__main__

    many = f"coverage principle --quick --jobs {jobs} --out OUT"
    lines = {name: lambda name=name, line=line: run(name, cli.main, line)
             for name, line in LINES.items()}  # fmt: skip
    return lines | {"figures": lambda: run("figures", figures.__main__.main, many)}


# Cases that must be noticed
CONTROLS: Cases = {
    "reads random": random.random,
    "reads numpy": lambda: np.random.rand(2),
    "reads torch": lambda: torch.rand(2),
    "changes torch": lambda: torch.rand(2) * 0,
    "reads the order of a set": lambda: list({str(k) for k in range(9)}),
}


# The session


def states() -> dict[str, Any]:
    """The global random states, by library."""
    return {"random": random.getstate(), "numpy": repr(np.random.get_state(legacy=False)),
            "torch": torch.random.get_rng_state().tolist()}  # fmt: skip


def session(salt: int, jobs: str) -> dict[str, Any]:
    """For every case the hash of its result, and the global states that it changed."""
    tiny_files(Path(), tiny_llama_folder(Path("lm").resolve(), **SIZE))
    rows = [[k % 5, k % 3, k % 7] for k in range(20)]
    Path("t.csv").write_text("a,b,y\n" + "\n".join(",".join(map(str, row)) for row in rows))
    for name, setting in cli_refine.SETTINGS.items():
        cli_refine.SETTINGS[name] = setting._replace(
            make=lambda seed, make=setting.make: make(seed, N=40, m=20, n_test=24)
        )
    cases = problems() | closed() | trained() | extras() | commands(jobs) | CONTROLS
    found, called = {}, set()

    def trace(frame: Any, *_: Any) -> None:  # None: lines are not of interest
        called.add(frame.f_code)

    for name, case in cases.items():
        random.seed(salt), np.random.seed(salt), torch.manual_seed(salt)
        before = states()
        sys.settrace(trace if jobs == "1" and name != "figures" else None)
        value = case()
        sys.settrace(None)
        changed = [key for key, state in states().items() if state != before[key]]
        digest = hashlib.sha256(b"\n".join(parts(value))).hexdigest()
        found[name] = {"hash": digest, "changed": changed}
    return {"cases": found, "called": sorted(code_name(code) for code in called if ours(code))}


def ours(code: Any) -> bool:
    return code.co_filename.startswith(str(Path(bdt.__file__).parent))


def code_name(code: Any) -> str:
    place = Path(code.co_filename).relative_to(Path(bdt.__file__).parent)
    return f"{place.as_posix()}:{code.co_qualname}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(json.dumps(session(int(sys.argv[1]), sys.argv[2])))

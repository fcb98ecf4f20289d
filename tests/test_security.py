"""Text stays text, files stay data: no code of others runs, nothing leaves its folder, no network.

Pickles in tables, selections and checkpoints, and weights of a model as a pickle, are in
test_fuzzing.py; more of them in test_files.py and test_selection.py; names in a wheel in
test_fetch.py; escape sequences on a terminal in test_cli_pairs.py. What no module may call is in
test_source.py.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import hostile
import numpy as np
import pytest
from hostile import FILE, OWNED, change

import bdtheory as bdt
from bdtheory import cli
from bdtheory.rows import read_rows
from bdtheory.tasks import read_table, write_csv

# Every command on hostile names and texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the session took place; seen.json is what it tells."""
    pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
    pytest.importorskip("peft", reason="peft is not installed (extra lm)")
    place = tmp_path_factory.mktemp("session") / "inside"
    place.mkdir()
    (place.parent / "temporary").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    more = {"HF_HOME": str(place.parent / "cache"), "TMPDIR": str(place.parent / "temporary"),
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    command = [sys.executable, hostile.__file__]
    done = subprocess.run(command, cwd=place, env=own | more, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (place.parent / "seen.json").write_text(done.stdout.splitlines()[-1])
    return place


@pytest.fixture(scope="module")
def seen(folder) -> dict:
    return json.loads((folder.parent / "seen.json").read_text())


def test_no_network_no_unpickling_and_no_other_process(seen):
    assert seen["status"] == [0] * 5 + [2, 0, 0]  # 2: a model that is in no cache
    assert {"bdtheory.fetch", "bdtheory.models.huggingface"} < set(seen["modules"])
    assert len(seen["control"]) == 1  # an attempt is seen
    assert seen["network"] == seen["unpickled"] == seen["started"] == []


def test_nothing_is_written_outside_the_output(seen, folder):
    """Texts, ids and columns named as paths, in every format; matplotlib may look after its own."""
    written = {Path(path) for path in seen["written"]}
    inside = {path for path in written if folder.resolve() in path.parents}
    assert len(inside) > 30
    assert {path for path in written - inside if "matplotlib" not in path.parts} <= {
        Path(os.devnull), folder.resolve()
    }  # fmt: skip
    names = {"model", "rows", "compared", "select", "compare", "refine", "figures", "report"}
    files = {"table.csv", "trusted.csv", "val.jsonl", "talk.jsonl", "claims.json", FILE}
    assert {path.name for path in folder.iterdir()} == names | files
    assert sorted(p.name for p in folder.parent.iterdir() if p.name != "cache") == [
        "inside", "seen.json", "temporary"
    ]  # fmt: skip


def test_rows_that_look_like_objects_stay_data(folder):
    before, after = read_rows(folder / FILE), read_rows(folder / "select/weighted.jsonl")
    assert before[1]["prompt"].startswith(hostile.PICKLED) and before[0]["key"] == "../../x"
    assert [{k: row[k] for k in before[0]} for row in after] == before
    ids = (folder / "rows/weights.csv").read_text(encoding="utf-8")
    assert "../../11" in ids and not (folder / "sprung").exists()


# Reports in a browser


@pytest.fixture
def look(browser):
    """What a browser sees of a file: its title, requests and complaints, and what is in it."""

    def opened(path: Path) -> dict:
        page, asked, said, failed = browser.new_page(), [], [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: failed.append(request.failure))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri(), wait_until="load")
        found = page.evaluate(LOOK) | {"title": page.title(), "said": said, "failed": failed}
        page.close()
        return found | {"asked": [url for url in asked if url != path.as_uri()]}

    return opened


LOOK = """() => { const all = [...document.querySelectorAll("*")]; return {
  text: document.body.textContent,
  tags: all.map((e) => e.localName),
  handlers: all.flatMap((e) => e.getAttributeNames().filter((name) => name.startsWith("on"))),
  links: all.flatMap((e) => ["href", "src", "action", "xlink:href"].map((n) => e.getAttribute(n)))
    .filter((link) => link !== null && !link.startsWith("#") && !link.startsWith("data:image/")),
}; }"""
ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "link", "input", "button"}


@pytest.mark.parametrize("name", hostile.REPORTS)
def test_a_text_stays_text_in_a_browser(name, folder, look):
    page = look(folder / name)
    assert "owned" not in page["title"].replace(FILE, "")
    assert page["text"].count(OWNED[:25]) >= 2  # in `compare` as a name, with quotes of its own
    assert not ACTIVE & set(page["tags"]) and page["handlers"] == page["links"] == []
    assert page["tags"].count("img") == (1 if name.startswith("report/") else 0)  # the figure
    assert page["asked"] == page["said"] == []


@pytest.mark.parametrize("name", hostile.REPORTS)
def test_what_is_not_escaped_does_not_run_either(name, folder, look, tmp_path):
    """The policy in the file; without it the same script runs, so these tests can fail."""
    text = (folder / name).read_text(encoding="utf-8")
    remote = "<img src='http://localhost:9/x.png'>"
    (tmp_path / "with.html").write_text(text.replace("</body>", f"{OWNED}{remote}</body>"))
    page = look(tmp_path / "with.html")
    assert page["title"] != "owned" and page["failed"] == ["csp"]
    assert sum("Content Security Policy" in line for line in page["said"]) == 2
    bare = text.replace("Content-Security-Policy", "nothing").replace("</body>", f"{OWNED}</body>")
    (tmp_path / "without.html").write_text(bare)
    assert look(tmp_path / "without.html")["title"] == "owned"


# Folders of a language model


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def own_code(folder: Path, sprung: Path) -> None:
    for name in ("config", "tokenizer_config"):
        auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M",
                "AutoTokenizer": ["evil.T", "evil.T"]}  # fmt: skip
        change(folder / f"{name}.json", auto_map=auto, model_type="evil", tokenizer_class="Evil")
    (folder / "evil.py").write_text(f"open({str(sprung)!r}, 'w')\n")


def pickled_shards(folder: Path, sprung: Path) -> None:
    """An index in safetensors' name that points to a pickle, here and above the folder."""
    (folder / "model.safetensors").unlink()
    for name in (folder / "shard.bin", folder.parent / "shard.bin"):
        name.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    shards = {"lm_head.weight": "shard.bin", "model.embed_tokens.weight": "../shard.bin"}
    index = {"metadata": {"total_size": 8}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def pickled_adapter(folder: Path, sprung: Path) -> None:
    """An adapter beside the model, which transformers would load of itself."""
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    adapter = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
               "base_model_name_or_path": str(folder)}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(adapter))


def template(folder: Path, sprung: Path) -> None:
    """A chat template that looks for `open` behind the classes of Python."""
    text = "{{ cycler.__init__.__globals__.__builtins__.open('" + str(sprung) + "', 'w') }}"
    (folder / "chat_template.jinja").write_text(text)


def cut_off(folder: Path, sprung: Path) -> None:
    """No trap: half of the weights, as a broken download leaves them."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


@pytest.fixture(scope="module")
def good_model(tmp_path_factory) -> Path:
    pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
    pytest.importorskip("peft", reason="peft is not installed (extra lm)")
    from tiny_lm import SIZE, tiny_llama_folder

    return tiny_llama_folder(tmp_path_factory.mktemp("lm") / "model", **SIZE)


@pytest.mark.parametrize("set_trap", [own_code, pickled_shards, pickled_adapter, template, cut_off])
def test_no_code_in_the_folder_of_a_model_runs(
    set_trap: Callable, good_model, tmp_path, monkeypatch, capsys
):
    """Nor is anybody asked whether it may: transformers does where it is not told."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(good_model, "model")
    set_trap(tmp_path / "model", tmp_path / "sprung")
    messages = [{"role": role, "content": "x"} for role in ("user", "assistant")]
    for name in ("train", "val"):
        Path(f"{name}.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 99))
    line = "select train.jsonl --val val.jsonl --model model --passes 1 -o out"
    status, err = cli.main(line.split()), capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and err.startswith("bdtheory: error: ") and "; needed " in err, err
    assert sys.stdin.read(2) == "y\n"
    assert not (tmp_path / "sprung").exists() and not Path("out").exists()


# Names in archives, and links


def contents(folder: Path) -> dict[str, bytes]:
    """Every file and link below a folder."""
    found = (p for p in folder.rglob("*") if p.is_symlink() or p.is_file())
    return {p.relative_to(folder).as_posix(): os.readlink(p).encode() if p.is_symlink() else
            p.read_bytes() for p in found}  # fmt: skip


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """A folder with a table, an earlier result `out`, and outside of it a file and a folder."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    write_csv("t.csv", ["a", "b", "y"], [[k % 5, k % 3, k % 7] for k in range(12)])
    assert cli.main(SELECT) == 0
    (tmp_path / "outside/kept.csv").write_text("kept")
    return tmp_path / "inside"


SELECT = ["select", "t.csv", "--val", "t.csv", "--target", "y", "-o", "out"]


def test_names_in_an_archive_are_no_paths(table):
    """Members are read, by name, and never extracted; a theta of that name is a theta."""
    with zipfile.ZipFile("out/selection/arrays.npz") as file:
        members = {name: file.read(name) for name in file.namelist()}
    evil = ["../../evil.npy", "/tmp/evil-of-bdtheory.npy", "theta/../../../evil.npy"]
    for path in ("out/selection/arrays.npz", "t.npz"):
        with zipfile.ZipFile(path, "w") as file:
            for name in [*members, *evil]:
                file.writestr(name, members.get(name, members["weights.npy"]))
            if path == "t.npz":
                for name, value in (("X", np.eye(2)), ("y", np.ones(2))):
                    with file.open(f"{name}.npy", "w") as member:
                        np.save(member, value)
    before = contents(table.parent)
    assert "../../../evil" in bdt.Selection.load("out/selection").theta
    assert read_table("t.npz").X.tolist() == [[1, 0], [0, 1]]
    assert contents(table.parent) == before and not Path(evil[1]).exists()


@pytest.mark.parametrize("link", ["weights.csv", "config.json", "selection/arrays.npz"])
def test_a_link_in_an_earlier_result_is_replaced_not_followed(link, table):
    place = table.parent / "outside" / Path(link).name
    shutil.move(Path("out") / link, place)
    (Path("out") / link).symlink_to(place)
    before = contents(place.parent)
    bdt.Selection.load("out/selection")  # reading follows a link, as everywhere
    assert cli.main([*SELECT, "--method", "bmo"]) == 0
    assert contents(place.parent) == before and not (Path("out") / link).is_symlink()


@pytest.mark.parametrize("to", ["../../outside", "../../outside/kept.csv", "nowhere"])
def test_a_link_of_somebody_else_keeps_a_folder_from_being_replaced(to, table, capsys):
    Path("out/mine").symlink_to(to)
    before = contents(table.parent)
    assert cli.main(SELECT) == 2
    assert "out holds other files, such as mine; needed" in capsys.readouterr().err
    assert contents(table.parent) == before


def test_what_a_result_says_of_its_files_removes_none_outside(table):
    change(Path("out/config.json"), files=["../../outside/kept.csv", "/etc/hosts", "config.json"])
    assert cli.main(SELECT) == 2  # its own files are not in that list
    for path in Path("out").rglob("*.*"):
        if path.name != "config.json":
            path.unlink()
    assert cli.main(SELECT) == 0
    assert contents(table.parent / "outside") == {"kept.csv": b"kept"}


def test_an_output_that_is_a_link_is_written_where_it_points(table):
    """As a shell's `>` does; what is there is asked about as elsewhere."""
    Path("link").symlink_to(table.parent / "outside")
    assert cli.main([*SELECT[:-1], "link"]) == 2
    assert contents(table.parent / "outside") == {"kept.csv": b"kept"}
    (table.parent / "outside/kept.csv").unlink()
    assert cli.main([*SELECT[:-1], "link"]) == 0
    assert Path("link").is_symlink() and (table.parent / "outside/weights.csv").is_file()

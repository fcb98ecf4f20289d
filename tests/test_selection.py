"""Saved and loaded selections are equal; a broken folder is one clear error, never code."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from strategies import arrays

import bdtheory as bdt


def fitted(kind):
    train, val = arrays(0, 12, 3, 6, 0 if kind == "ridge" else 3)
    if kind == "torch":
        train, val = (tuple(map(torch.tensor, pair)) for pair in (train, val))
    model = bdt.Ridge(0.1) if kind == "ridge" else bdt.Logistic(0.1)
    return bdt.learn_weights(
        bdt.Problem(model, train=train, val=val, test=val), bdt.Implicit(max_iterations=5)
    )


@pytest.mark.parametrize("kind", ["ridge", "multinomial", "torch"])
def test_round_trip(tmp_path, kind):
    selection = fitted(kind)
    loaded = bdt.Selection.load(selection.save(tmp_path / "run"))
    assert loaded == selection
    assert type(loaded.theta) is type(selection.theta)
    assert loaded.status is selection.status and loaded.test_loss == selection.test_loss
    np.testing.assert_array_equal(loaded.history["val_loss"], selection.history["val_loss"])


def test_different_selections_are_not_equal(tmp_path):
    one, other = fitted("ridge"), fitted("ridge")
    other.weights = other.weights[::-1].copy()
    assert one != other
    assert one != "a selection"


def test_saving_replaces_an_older_selection_and_nothing_else(tmp_path):
    selection = fitted("ridge")
    selection.save(tmp_path / "run")
    selection.save(tmp_path / "run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]  # no temporary folder left
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(FileExistsError, match="needed an empty or new folder"):
        selection.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "x"


def test_a_number_that_was_changed_is_seen_by_the_digest(tmp_path):
    selection = fitted("ridge")
    file = selection.save(tmp_path / "run") / "selection.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts))  # another layout, the same content
    assert bdt.Selection.load(tmp_path / "run") == selection
    file.write_text(json.dumps(facts | {"val_loss": facts["val_loss"] / 2}))
    with pytest.raises(ValueError, match=r"selection\.json is not what was saved"):
        bdt.Selection.load(tmp_path / "run")
    del facts["digest"]  # as versions before it wrote
    file.write_text(json.dumps(facts))
    assert bdt.Selection.load(tmp_path / "run") == selection


def test_an_interrupt_amid_an_archive_stays_one(tmp_path, monkeypatch):
    close = zipfile._ZipWriteFile.close

    def cut(member):
        monkeypatch.setattr(zipfile._ZipWriteFile, "close", close)
        raise KeyboardInterrupt

    selection = fitted("ridge")
    selection.save(tmp_path / "run")
    monkeypatch.setattr(zipfile._ZipWriteFile, "close", cut)
    with pytest.raises(KeyboardInterrupt):  # zipfile makes a ValueError of it
        selection.save(tmp_path / "run")
    assert bdt.Selection.load(tmp_path / "run") == selection
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_no_pickle_is_read(tmp_path):
    folder = fitted("ridge").save(tmp_path / "run")
    np.savez(folder / "arrays.npz", weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a saved selection"):
        bdt.Selection.load(folder)


@pytest.mark.parametrize("damage", ["no folder", "no arrays", "bad json", "missing key", "status"])
def test_a_broken_folder_is_one_clear_error(tmp_path, damage):
    folder = fitted("ridge").save(tmp_path / "run")
    facts = json.loads((folder / "selection.json").read_text())
    if damage == "no folder":
        folder = tmp_path / "elsewhere"
    elif damage == "no arrays":
        (folder / "arrays.npz").unlink()
    elif damage == "bad json":
        (folder / "selection.json").write_text("{")
    else:
        facts.pop("val_loss") if damage == "missing key" else facts.update(status="fine")
        del facts["digest"]
        (folder / "selection.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError) as error:
        bdt.Selection.load(folder)
    message = str(error.value)
    assert "needed a folder with selection.json" in message and "try" in message

"""Rows from files: what is read is what was written, and every bad file is refused in one line."""

import datetime
import json
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdtheory.rows import read_rows, write_rows

NO_ARROW = 'Parquet needs pyarrow: pip install "bdtheory[lm]"'
GOOD = '{"a": 1}\n'


def as_file(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def complaint(source, read=read_rows):
    """The message of the ValueError; one line that says got, needed and try."""
    with pytest.raises(ValueError) as caught:
        read(source)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for part in (": got ", "; needed ", "; try "):
        assert message.count(part) >= 1, message
    return message


BAD_LINES = {
    # name: (content of a .jsonl file, line, further text)
    "no JSON": (
        GOOD + "\nquestion,response\n",
        3,
        "no JSON (Expecting value) at 'question,response'",
    ),
    "single quotes": (GOOD + "{'a': 1}\n", 2, "at \"'a': 1}\""),
    "cut off": (GOOD + '{"a": ', 2, "at the end of the line"),
    "text cut off": (GOOD + '{"a": "b', 2, "Unterminated string"),
    "long": (GOOD + "x" * 1000, 2, "'" + "x" * 40 + "'..."),
    "two objects": (GOOD * 2 + '{"a": 1} {"b": 2}\n', 3, "more after the row, '{\"b\": 2}'"),
    "an array": (GOOD + "[1, 2]\n", 2, "'[1, 2]' of type list"),
    "a number": (GOOD + "\n\n5\n", 4, "'5' of type int"),
    "null": ("null\n", 1, "'None' of type NoneType"),
    "NaN": (GOOD + '{"a": NaN}\n', 2, "the number NaN, which is not finite"),
    "infinite": (GOOD + '{"a": [{"b": -Infinity}]}\n', 2, "the number -Infinity"),
    "overflow": (GOOD + '{"a": 1e999}\n', 2, "the number 1e999"),
    "key twice": (GOOD + '{"a": 1, "b": 2, "a": 1}\n', 2, "the key 'a' twice"),
    "inner key twice": ('{"a": [{"c": 1, "c": 2}]}\n', 1, "the key 'c' twice"),
    "Latin-1": (GOOD.encode() + '{"a": "é"}\n'.encode("latin-1"), 2, "not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "not UTF-8"),
    "half a pair": (GOOD + r'{"a": "\ud800"}', 2, "half of a surrogate pair"),
    "half a pair in a key": (GOOD + r'{"\uDC00": 1}', 2, "half of a surrogate pair"),
    "many digits": (GOOD + '{"a": ' + "1" * 5000 + "}\n", 2, "JSON that Python does not read"),
    "a blank of Unicode": (GOOD + "\u2003\n", 2, "no JSON"),
    "deep": (GOOD + "[" * 100_000, 2, "JSON that Python does not read"),
}


@pytest.mark.parametrize("case", BAD_LINES)
@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_bad_lines(tmp_path, case, ending):
    content, line, text = BAD_LINES[case]
    path = as_file(tmp_path, "data" + ending, content)
    message = complaint(path)
    assert message.startswith(f"{path}, line {line}: got ")
    assert text in message


BAD_ARRAYS = {
    # name: (content of a .json file, line or None, further text)
    "no object": ('[\n{"a": 1},\n\n\n5]', 5, "'5' of type int"),
    "NaN": ('[{"a": 1},\n{"a":\nNaN}]', 2, "the number NaN"),
    "no JSON": ('\n[{"a": 1},\n{"a":\nyes}]', 4, "at 'yes}]'"),
    "no comma": ('[{"a": 1}\n{"a": 2}]', 2, "',' or ']'"),
    "comma at the end": ('[{"a": 1},\n]', 2, "no JSON"),
    "no end": ('[{"a": 1}\n\n', 2, "the end of the file"),
    "two arrays": ('[{"a": 1}]\n[{"a": 1}]', None, "more after the array"),
    "empty": ("[\n]\n", None, "no rows"),
    "only a comma": ("[,]", 1, "no JSON"),
    "key twice": ('[{"a": 1},\n{"a": 1, "a": 2}]', 2, "the key 'a' twice"),
    "Latin-1": ('[{"a":\n"é"}]'.encode("latin-1"), 2, "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path, case):
    content, line, text = BAD_ARRAYS[case]
    path = as_file(tmp_path, "data.json", content)
    message = complaint(path)
    assert text in message
    assert message.startswith(f"{path}: " if line is None else f"{path}, line {line}: ")


def test_bad_places(tmp_path):
    assert "no such file" in complaint(tmp_path / "none.jsonl")
    assert "ends in '.csv'" in complaint(as_file(tmp_path, "data.csv", GOOD))
    assert "ends in ''" in complaint("owner/name")  # of a data set elsewhere
    assert "an empty file" in complaint(as_file(tmp_path, "empty.jsonl", ""))
    assert "no rows" in complaint(as_file(tmp_path, "blank.jsonl", "\n \r\n\t\n"))
    assert "no rows" in complaint(as_file(tmp_path, "bom.jsonl", b"\xef\xbb\xbf\n"))
    (tmp_path / "folder.jsonl").mkdir()
    assert "a folder" in complaint(tmp_path / "folder.jsonl")


def test_bad_objects():
    assert "no rows" in complaint([])
    assert "got int" in complaint(5)
    assert "got bytes" in complaint(b"a.jsonl")
    assert "one dict" in complaint({"prompt": ["a"], "completion": ["b"]})
    assert "the rows, row 1: got '7' of type int" in complaint([{"a": 1}, 7])
    assert "row 0" in complaint([{1: "a"}])


def test_a_bad_byte_far_into_the_file(tmp_path):
    lines = [b'{"a": "b"}'] * 30_000
    lines[23_456] = b'{"a": "\xff"}'
    assert ", line 23457: " in complaint(as_file(tmp_path, "data.jsonl", b"\n".join(lines)))


@pytest.mark.parametrize(
    "content",
    [
        '{"a": 1, "b": "x"}\n{"b": null, "c": [true]}\n',
        '\ufeff\n\r\n  {"a": 1, "b": "x"}  \r\n\n{"b": null, "c": [true]}',
        '[{"a": 1, "b": "x"}, {"b": null, "c": [true]}]',
        '\ufeff \n [\n{"a":\n1, "b": "x"}\n\n,{"b": null, "c": [true]}\n]\n \n',
    ],
    ids=["lines", "blank lines", "array", "array on lines"],
)
def test_the_same_rows_in_other_writing(tmp_path, content):
    rows = read_rows(as_file(tmp_path, "data.json", content))
    assert rows == [{"a": 1, "b": "x"}, {"b": None, "c": [True]}]
    assert [list(row) for row in rows] == [["a", "b"], ["b", "c"]]


def test_an_array_is_for_json_only(tmp_path):
    assert "of type list" in complaint(as_file(tmp_path, "data.jsonl", '[{"a": 1}]'))


def test_written_text_is_known(tmp_path):
    path = tmp_path / "out.jsonl"
    write_rows(path, [{"b": "é\u2028\n", "a": [1, 0.1, 1e-7, None, {"d": True}]}, {}])
    text = '{"b": "é\u2028\\n", "a": [1, 0.1, 1e-07, null, {"d": true}]}\n{}\n'
    assert path.read_bytes() == text.encode("utf-8")
    write_rows(path, [])
    assert path.read_bytes() == b""


texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\u2029\x85\r\n\0")
)
cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(rows=st.lists(st.dictionaries(texts, cells, max_size=4), min_size=1, max_size=6))
def test_json_lines_round_trip(tmp_path_factory, rows):
    """Also types, the columns' order, and -0.0: repr tells them apart."""
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write_rows(path, rows)
    content = path.read_bytes()
    assert content.count(b"\n") == len(rows)
    back = read_rows(path)
    assert repr(back) == repr(rows)
    write_rows(path, back)
    assert path.read_bytes() == content
    path.with_suffix(".json").write_text(json.dumps(rows), encoding="utf-8")
    assert repr(read_rows(path.with_suffix(".json"))) == repr(rows)


def test_a_list_is_copied():
    row = {"a": 1}
    rows = read_rows([row, row])
    rows[0]["weight"] = 0.5
    assert row == rows[1] == {"a": 1}


@pytest.mark.parametrize(
    "value, text",
    [
        (float("nan"), "Out of range"),
        (datetime.date(2024, 1, 2), "date"),
        (b"a", "bytes"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_json_cannot_hold(tmp_path, value, text):
    path = tmp_path / "out.jsonl"
    message = complaint(path, lambda p: write_rows(p, [{"a": 1}, {"a": [value]}]))
    assert message.startswith(f"{path}, line 2: ") and text in message
    assert not path.exists()


def test_another_ending_is_not_written(tmp_path):
    assert "'.txt'" in complaint(tmp_path / "out.txt", lambda p: write_rows(p, [{"a": 1}]))


def test_parquet_keeps_columns_that_the_first_row_has_not(tmp_path):
    pytest.importorskip("pyarrow", reason=NO_ARROW)
    rows = [
        {"id": 3, "messages": [{"role": "user", "content": "é\u2028"}]},
        {"weight": 0.1, "id": None, "messages": []},
    ]
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_rows(first, rows)
    write_rows(second, rows)
    assert first.read_bytes() == second.read_bytes()
    assert read_rows(first) == [{"weight": None} | rows[0], rows[1]]
    assert list(read_rows(first)[0]) == ["id", "messages", "weight"]


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "prompt": texts,
                "n": st.none() | st.integers(-(2**63), 2**63 - 1),
                "x": st.floats(allow_nan=False),
                "inner": st.lists(st.fixed_dictionaries({"role": texts, "ok": st.booleans()})),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_parquet_round_trip(tmp_path_factory, rows):
    pytest.importorskip("pyarrow", reason=NO_ARROW)
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    write_rows(path, rows)
    # As text, in which -0.0 is not 0.0; the fields of a struct have one order for all rows.
    both = (json.dumps(found, sort_keys=True) for found in (read_rows(path), rows))
    assert next(both) == next(both)


def test_a_folder_name_makes_no_column(tmp_path):
    pytest.importorskip("pyarrow", reason=NO_ARROW)
    (tmp_path / "year=2020").mkdir()
    write_rows(tmp_path / "year=2020" / "a.parquet", [{"a": 1}])
    assert read_rows(tmp_path / "year=2020" / "a.parquet") == [{"a": 1}]


def test_parquet_keeps_the_types_of_the_file_that_was_read(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pytest.importorskip("pandas", reason="nanoseconds need pandas")
    table = arrow.table(
        {
            "i": arrow.array([1, None, 3], arrow.int32()),
            "f": arrow.array([0.1, 0.2, 0.3], arrow.float32()),
            "big": arrow.array([2**63 + 5] * 3, arrow.uint64()),
            "ns": arrow.array([1001, 2, 3], arrow.timestamp("ns")),
            "map": arrow.array([[("k", 1)]] * 3, arrow.map_(arrow.string(), arrow.int64())),
            "word": arrow.array(["x", "y", "x"]).dictionary_encode(),
            "cost": arrow.array([Decimal("1.20")] * 3, arrow.decimal128(10, 2)),
        }
    ).replace_schema_metadata({b"by": b"me"})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    rows = [row | {"weight": 0.5} for row in read_rows(tmp_path / "a.parquet")]
    write_rows(tmp_path / "b.parquet", rows[1:], like=tmp_path / "a.parquet")
    again = pyarrow.parquet.read_table(tmp_path / "b.parquet")
    assert again.column("weight").to_pylist() == [0.5, 0.5]
    again = again.drop_columns(["weight"])
    assert again.schema.types == table.schema.types
    assert again.to_pylist() == table.slice(1).to_pylist()  # a dictionary may get another order
    assert again.schema.metadata[b"by"] == b"me"


def test_bad_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason=NO_ARROW)
    import pyarrow.parquet

    assert "unreadable Parquet" in complaint(as_file(tmp_path, "a.parquet", GOOD))
    twice = tmp_path / "twice.parquet"
    table = arrow.Table.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"])
    pyarrow.parquet.write_table(table, twice)
    assert "the column 'a' twice" in complaint(twice)
    pyarrow.parquet.write_table(arrow.table({"a": arrow.array([], "int64")}), twice)
    assert "no rows" in complaint(twice)
    mixed = [{"a": 1}, {"a": "x"}]
    assert "cannot hold" in complaint(tmp_path / "c.parquet", lambda p: write_rows(p, mixed))
    empty = [{"a": {}}]  # a struct without fields
    assert "cannot hold" in complaint(tmp_path / "c.parquet", lambda p: write_rows(p, empty))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = as_file(tmp_path, "a.parquet", "PAR1")
    for act in (read_rows, lambda p: write_rows(p, [{"a": 1}])):
        with pytest.raises(ImportError, match=r'pip install "bdtheory\[lm\]"'):
            act(path)


def test_a_dataset_of_hugging_face(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets", reason='needs datasets: pip install "bdtheory[lm]"')
    rows = [{"question": "2 + 2?", "response": "4", "tags": ["sum", None]}] * 2
    data = datasets.Dataset.from_list(rows)
    assert read_rows(data) == rows
    data.to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == rows
    data.to_json(tmp_path / "a.jsonl")
    assert read_rows(tmp_path / "a.jsonl") == rows
    message = complaint(datasets.DatasetDict(train=data, test=data))
    assert "a DatasetDict with the splits 'train', 'test'" in message
    assert "data['train']" in message
    assert "row 0: got '2 + 2?' of type str" in complaint(data.to_pandas()["question"])

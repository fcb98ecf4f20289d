"""Files: what is read is what was written, and every bad input is refused in one line."""

import gzip
import os
import pickle
import time

import numpy as np
import pytest

from bdtheory.tasks import Table, align, read_table, write_csv
from bdtheory.tasks.files import read_csv, read_npz

GOOD = "a,b,y\n1,2,0\n3,4,1\n"


def as_file(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def complaint(path, target="y", **options):
    """The message of the ValueError; one line that says got, needed and try."""
    with pytest.raises(ValueError) as caught:
        read_table(path, target, **options)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert "\n" not in message
    assert "\r" not in message
    assert str(path) in message
    for part in (": got ", "; needed ", "; try "):
        assert message.count(part) >= 1, message
    return message


BAD_CSV = {
    # name: (content, column or None, row or None, further text, options)
    "empty file": ("", None, None, "an empty file", {}),
    "blank lines only": ("\n\n", None, None, "blank lines only", {}),
    "header only": ("a,b,y\n", None, None, "a header only", {}),
    "header and blank lines": ("a,b,y\n\n\n", None, None, "a header only", {}),
    "column twice": ("a,b,a,y\n1,2,3,4\n", "a", 1, "that name twice", {}),
    "column without a name": ("a,,y\n1,2,3\n", None, 1, "no name for column 2", {}),
    "unknown target": (GOOD, "labl", 1, "one of 'a', 'b', 'y'", {"target": "labl"}),
    "unknown id": (GOOD, "id", 1, "no such column", {"id_column": "id"}),
    "unknown group": (GOOD, "g", 1, "no such column", {"group_column": "g"}),
    "unknown feature": (GOOD, "c", 1, "no such column", {"columns": ["a", "c"]}),
    "feature twice": (GOOD, "a", 1, "two roles", {"columns": ["a", "a"]}),
    "target as id": (GOOD, "y", 1, "two roles", {"id_column": "y"}),
    "target as feature": (GOOD, "y", 1, "two roles", {"columns": ["a", "y"]}),
    "no features": ("y\n1\n2\n", None, 1, "no feature column", {}),
    "semicolons": ("a;b;y\n1;2;3\n", "y", 1, "separated by commas?", {}),
    "text among numbers": ("a,b,y\n1,2,0\n3,four,1\n", "b", 3, "'four'", {}),
    "unit in a cell": ("a,b,y\n1,2 kg,0\n", "b", 2, "'2 kg'", {}),
    "thousands with _": ("a,b,y\n1_000,2,0\n", "a", 2, "'1_000'", {}),
    "nan": ("a,b,y\n1,2,0\n1,nan,0\n", "b", 3, "'nan'", {}),
    "inf": ("a,b,y\n1,2,0\n-inf,2,0\n", "a", 3, "'-inf'", {}),
    "overflow": ("a,b,y\n1,2,0\n1e999,2,0\n", "a", 3, "'1e999'", {}),
    "inf and -inf": ("a,b,y\ninf,-inf,0\n", "a", 2, "'inf'", {}),
    "empty cell": ("a,b,y\n1,2,0\n\n1,,0\n", "b", 4, "an empty cell", {}),
    "cell of spaces": ("a,b,y\n1,  ,0\n", "b", 2, "an empty cell", {}),
    "short row": ("a,b,y\n1,2,0\n1,2\n", None, 3, "got 2 cells; needed 3", {}),
    "long row": ("a,b,y\n1,2,0,5\n", None, 2, "got 4 cells; needed 3", {}),
    "after a cell of two lines": ('a,b,y\n1,2,"u\nv"\n1,x,w\n', "b", 4, "'x'", {}),
    "line break in a cell": ('a,b,y\n1,"x\ny",0\n', "b", 2, "'x\\ny'", {}),
    "quote not closed": ('a,b,y\n1,2,0\n1,"2,0\n', None, 3, "unexpected end", {}),
    "cell too large": ("a,b,y\n1," + "1" * 200_000 + ",0\n", None, 2, "field larger", {}),
    "long text": ("a,b,y\n1," + "z" * 1000 + ",0\n", "b", 2, "'" + "z" * 40 + "'", {}),
    "empty target": ("a,b,y\n1,2,0\n1,2,\n", "y", 3, "an empty cell", {}),
    "nan target": ("a,b,y\n1,2,0.5\n1,2,nan\n", "y", 3, "'nan'", {}),
    "mixed target": ("a,b,y\n1,2,5\n1,2,6\n1,2,six\n", "y", 4, "'six'", {}),
    "nan among labels": ("a,b,y\n1,2,u\n1,2,v\n1,2,nan\n", "y", 4, "'nan'", {}),
    "empty group": ("a,b,y\n1,s,0\n2,,1\n", "b", 3, "an empty cell", {"group_column": "b"}),
    "blank group": ("a,b,y\n1,s,0\n2,  ,1\n", "b", 3, "an empty cell", {"group_column": "b"}),
    "Latin-1": ("a,b,y\n1,2,0\n1,2,\xe9\n".encode("latin-1"), None, 3, "UTF-8", {}),
    "UTF-16": (GOOD.encode("utf-16"), None, 1, "binary", {}),
    "an archive": (b"PK\x03\x04 and so on", None, 1, "binary content", {}),
    "compressed": (gzip.compress(GOOD.encode()), None, 1, "binary", {}),
    "zero bytes": (b"a,b,y\n1,2,\0\n", None, 1, "binary content", {}),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv(tmp_path, case):
    content, column, row, text, options = BAD_CSV[case]
    message = complaint(as_file(tmp_path, "data.csv", content), **options)
    assert text in message
    assert (f", column {column!r}" in message) == (column is not None)
    assert (f", row {row}:" in message) == (row is not None)
    assert len(message) < 400


def test_a_bad_line_far_into_the_file(tmp_path):
    """Text is decoded ahead in blocks: the row of the bad byte still has to be right."""
    lines = [b"a,b,y"] + [b"1,2,0"] * 30_000
    lines[23_456] = b"1,2,\xff"
    message = complaint(as_file(tmp_path, "data.csv", b"\n".join(lines)))
    assert ", row 23457:" in message


def test_closest_column_is_suggested(tmp_path):
    path = as_file(tmp_path, "data.csv", "age,income,label\n1,2,0\n")
    assert "; try 'label'" in complaint(path, "lable")
    assert "; try 'income'" in complaint(path, "incme")


def test_bad_places(tmp_path):
    assert "no such file" in complaint(tmp_path / "none.csv")
    assert "no such file" in complaint(tmp_path / "none.npz")
    (tmp_path / "folder.csv").mkdir()
    assert "a folder" in complaint(tmp_path / "folder.csv")
    assert "ends in '.txt'" in complaint(as_file(tmp_path, "data.txt", GOOD))
    assert "ends in ''" in complaint(as_file(tmp_path, "data", GOOD))
    assert "no target" in complaint(as_file(tmp_path, "data.csv", GOOD), None)


def test_one_line_whatever_the_names(tmp_path):
    path = as_file(tmp_path, "two\nlines.csv", 'a,"b\nc",y\n1,x,0\n')
    with pytest.raises(ValueError) as caught:
        read_table(path, "y")
    assert "\n" not in str(caught.value)
    assert r"lines.csv, column 'b\nc', row 3: got 'x'" in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    path = as_file(tmp_path, "data.csv", GOOD)
    path.chmod(0)
    assert "permission" in complaint(path)


def npz(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


X, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
BAD_NPZ = {
    "no X": ({"y": y}, "X", None, "no such array"),
    "no y": ({"X": X}, "y", None, "no such array"),
    "flat X": ({"X": X[:, 0], "y": y}, "X", None, "shape (3,)"),
    "no rows": ({"X": X[:0], "y": y[:0]}, "X", None, "shape (0, 2)"),
    "no columns": ({"X": X[:, :0], "y": y}, "X", None, "shape (3, 0)"),
    "y of two columns": ({"X": X, "y": X}, "y", None, "shape (3, 2)"),
    "short y": ({"X": X, "y": y[:2]}, "y", None, "needed (3,)"),
    "short groups": ({"X": X, "y": y, "groups": y[:2]}, "groups", None, "needed (3,)"),
    "short id": ({"X": X, "y": y, "id": y[:2]}, "id", None, "needed (3,)"),
    "complex X": ({"X": X + 1j, "y": y}, "X", None, "complex128"),
    "text X": ({"X": X.astype(str), "y": y}, "X", None, "dtype <U32"),
    "bytes y": ({"X": X, "y": np.array([b"a", b"b", b"a"])}, "y", None, "dtype |S1"),
    "nan in X": ({"X": np.where(X == 5, np.nan, X), "y": y}, "x1", 2, "got nan"),
    "inf in y": ({"X": X, "y": np.array([0, np.inf, 0])}, "y", 1, "got inf"),
    "nan group": ({"X": X, "y": y, "groups": np.array([0, 1, np.nan])}, "groups", 2, "got nan"),
    "empty group": ({"X": X, "y": y, "groups": np.array(["a", "", "b"])}, "groups", 1, "empty"),
    "empty label": ({"X": X, "y": np.array(["a", "", "b"])}, "y", 1, "empty cell"),
    "pickled y": ({"X": X, "y": np.array([None, {}, 1], dtype=object)}, None, None, "unreadable"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(tmp_path, case):
    arrays, column, row, text = BAD_NPZ[case]
    message = complaint(npz(tmp_path, **arrays), None)
    assert text in message
    assert (f", column {column!r}" in message) == (column is not None)
    assert (f", row {row}:" in message) == (row is not None)


class Trap:
    """Unpickling it makes the file whose name it holds."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_is_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    objects = np.array([Trap(str(sprung))] * 3, dtype=object)
    complaint(npz(tmp_path, X=X, y=objects), None)
    complaint(as_file(tmp_path, "raw.npz", pickle.dumps(Trap(str(sprung)))), None)
    assert not sprung.exists()
    # An array of another name is never read at all.
    assert len(read_table(npz(tmp_path, X=X, y=y, other=objects))) == 3
    assert not sprung.exists()


def test_npz_that_is_not_one(tmp_path):
    assert "no NumPy archive" in complaint(as_file(tmp_path, "text.npz", GOOD), None)
    np.save(tmp_path / "single.npy", X)
    single = as_file(tmp_path, "single.npz", (tmp_path / "single.npy").read_bytes())
    assert "no NumPy archive" in complaint(single, None)
    assert "an empty file" in complaint(as_file(tmp_path, "empty.npz", b""), None)
    content = npz(tmp_path, X=np.ones((500, 20)), y=np.zeros(500)).read_bytes()
    assert "no NumPy archive" in complaint(as_file(tmp_path, "cut.npz", content[:5000]), None)
    broken = content[:3000] + b"\xff" * 8 + content[3008:]
    assert "unreadable" in complaint(as_file(tmp_path, "broken.npz", broken), None)


def test_npz_options(tmp_path):
    path = npz(tmp_path, X=X, y=y, z=y + 5)
    assert read_table(path, "z").y.tolist() == [5, 6, 5]
    assert "same array twice" in complaint(path, "X")
    assert "needed a .csv file" in complaint(path, None, id_column="id")


# What is read


def test_csv_roles_and_types(tmp_path):
    content = "id,site,b,a,y\nr1,north,1.5,-2e3,u\n\nr2, south , 2,+.5,v\n"
    table = read_table(
        as_file(tmp_path, "data.CSV", content), "y", id_column="id", group_column="site"
    )
    assert table.X.dtype == np.float64
    assert table.X.tolist() == [[1.5, -2000.0], [2.0, 0.5]]
    assert table.columns == ("b", "a")
    assert table.y.tolist() == ["u", "v"]
    assert table.ids == ["r1", "r2"]
    assert table.groups == ["north", "south"]
    assert len(table) == 2


def test_csv_chosen_columns(tmp_path):
    """Columns that are not asked for need not be numbers."""
    path = as_file(tmp_path, "data.csv", "note,a,b,y\nx,1,2,0\n,3,4,1\n")
    table = read_table(path, "y", columns=["b", "a"])
    assert table.columns == ("b", "a")
    assert table.X.tolist() == [[2.0, 1.0], [4.0, 3.0]]


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (["1", "-2", "+3"], np.int64),
        (["1", "2.0", "3"], np.float64),
        (["1e3", "2", "3"], np.float64),
        (["1" + "0" * 30, "2", "3"], np.float64),
        (["yes", "no", "maybe"], np.str_),
        (["1_0", "2_0", "3_0"], np.str_),
    ],
)
def test_csv_target_types(tmp_path, cells, dtype):
    table = read_csv(as_file(tmp_path, "t.csv", "a,y\n" + "".join(f"0,{c}\n" for c in cells)), "y")
    assert table.y.dtype.type is dtype
    assert table.y.tolist() == [c if dtype is np.str_ else float(c) for c in cells]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),  # byte order mark, as spreadsheets write it
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.rstrip("\n").encode(),
        GOOD.replace(",", " , ").encode(),
        b'"a","b","y"\n"1","2","0"\n"3","4","1"\n',
        b"\n" + GOOD.encode(),
    ],
    ids=["BOM", "CRLF", "no last line end", "spaces", "quoted", "blank first line"],
)
def test_csv_dialects(tmp_path, content):
    table = read_table(as_file(tmp_path, "data.csv", content), "y")
    assert table.columns == ("a", "b")
    assert table.X.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert table.y.tolist() == [0, 1]


def test_csv_text_beyond_ascii(tmp_path):
    path = as_file(tmp_path, "data.csv", "größe,y\n1,naïve\n2,日本\n")
    table = read_table(path, "y")
    assert table.columns == ("größe",)
    assert table.y.tolist() == ["naïve", "日本"]


def test_npz_round_trip(tmp_path):
    labels = np.array(["u", "v", "u"])
    path = npz(tmp_path, X=X.astype(np.float32), y=labels, groups=np.array([3, 3, 4]), id=labels)
    table = read_table(path)
    assert table.X.dtype == np.float64
    assert table.X.tolist() == X.tolist()
    assert table.y.tolist() == ["u", "v", "u"]
    assert table.columns == ("x0", "x1")
    assert table.groups == ["3", "3", "4"]
    assert table.ids == ["u", "v", "u"]
    assert read_npz(npz(tmp_path, X=X, y=y > 0)).y.tolist() == [0, 1, 0]
    assert read_npz(npz(tmp_path, X=X, y=X[:, 0])).y.dtype == np.float64


# Tables together


def table(columns, X, path="second.csv"):
    return Table(np.asarray(X, dtype=float), np.zeros(len(X)), tuple(columns), path=path)


def test_align_orders_by_name():
    like = table("abc", [[0.0, 0.0, 0.0]])
    got = align(table("cab", [[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]]), like)
    assert got.columns == ("a", "b", "c")
    assert got.X.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("columns", "column", "text"),
    [("ab", "c", "no such column"), ("abcd", "d", "a column too many"), ("abd", "c", "no such")],
)
def test_align_names_the_odd_column(columns, column, text):
    like = table("abc", [[0.0, 0.0, 0.0]], path="first.csv")
    with pytest.raises(ValueError, match=text) as caught:
        align(table(columns, [list(range(len(columns)))]), like)
    message = str(caught.value)
    assert message.startswith(f"second.csv, column {column!r}, row 1: got ")
    assert "first.csv" in message
    assert "\n" not in message


# Writing


def test_csv_round_trip_is_exact(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3)) * 10.0 ** rng.integers(-300, 300, (50, 3))
    names = [f'label "{k}", with\nlines\rof {k}' for k in range(50)]
    path = tmp_path / "out.csv"
    write_csv(path, ["a", "b, c", "d", "y"], [[*v, n] for v, n in zip(values, names, strict=True)])
    table = read_table(path, "y")
    assert np.array_equal(table.X, values)
    assert table.y.tolist() == names
    assert table.columns == ("a", "b, c", "d")


def test_csv_bytes(tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, ["a", "b"], [[0.1, None], [np.float64(1e-300), np.int64(3)], [True, "x"]])
    assert path.read_bytes() == b"a,b\n0.1,\n1e-300,3\nTrue,x\n"


def test_write_is_all_or_nothing(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")

    def rows():
        yield [1]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_csv(path, ["a"], rows())
    with pytest.raises(ValueError, match=r"row 3: got 2 cells; needed 1; try"):
        write_csv(path, ["a"], [[1], [1, 2]])
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.csv"]
    write_csv(path, ["a"], [[1]])
    assert path.read_text() == "a\n1\n"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_write_refuses_bad_places(tmp_path):
    for place, text in ((tmp_path, "something else"), (tmp_path / "no" / "a.csv", "a folder that")):
        with pytest.raises(ValueError, match=text) as caught:
            write_csv(place, ["a"], [[1]])
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_write_through_a_link(tmp_path):
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_csv(tmp_path / "link.csv", ["a"], [[1]])
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "a\n1\n"


def test_reading_is_quick(tmp_path):
    """100,000 x 20 takes about 2 s; a tenth of it here, with room for a busy machine."""
    path = tmp_path / "big.csv"
    line = ",".join(["0.123456789012345"] * 20) + ",1\n"
    path.write_text(",".join(f"x{k}" for k in range(20)) + ",y\n" + line * 10_000)
    start = time.process_time()
    assert read_table(path, "y").X.shape == (10_000, 20)
    assert time.process_time() - start < 2.0

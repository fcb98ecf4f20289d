"""Tables from .csv and .npz files by the name's ending, and tables to .csv files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..csv_rows import write_csv
from ..storage import File, fail
from .csv_table import read_csv
from .npz_table import read_npz
from .table import Table, align

__all__ = ["Table", "align", "read_csv", "read_npz", "read_table", "write_csv"]


def read_table(
    path: File,
    target: str | None = None,
    *,
    id_column: str | None = None,
    group_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Table:
    """The table in a .csv file (`read_csv`) or in a .npz file (`read_npz`), by the name's ending.

    Parameters
    ----------
    path : the file.
    target : .csv: the name of the target column. .npz: the name of the target array, "y" if None.
    id_column, group_column, columns : for a .csv file, see `read_csv`.

    Raises ValueError, in one line, for anything that is not such a table.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(f"{folder}/a.csv", ["x", "label"], [[0.5, "yes"], [2, "no"]])
    ...     table = read_table(f"{folder}/a.csv", target="label")
    >>> table.X.tolist(), table.y.tolist(), table.columns
    ([[0.5], [2.0]], ['yes', 'no'], ('x',))
    """
    kind = Path(path).suffix.lower()
    if os.path.isdir(path):
        fail(path, "a folder", "a .csv or .npz file", "one of the files in it")
    if kind not in (".csv", ".npz"):
        fail(path, f"a name that ends in {kind!r}", "a .csv or .npz file", "another format")
    if kind == ".npz":
        named = {"id_column": id_column, "group_column": group_column, "columns": columns}
        given = [name for name, value in named.items() if value is not None]
        if given:
            remedy = "arrays named X, y, id and groups"
            fail(path, f"the option {given[0]}", "a .csv file for that", remedy)
        return read_npz(path, "y" if target is None else target)
    if target is None:
        fail(path, "no target", "the name of the target column", 'target="y"')
    return read_csv(path, target, id_column=id_column, group_column=group_column, columns=columns)

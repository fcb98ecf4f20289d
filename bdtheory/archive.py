"""What is read from files that somebody else may have made: no code runs, and memory has a bound.

A NumPy archive may declare arrays of any size, compress zeros a thousandfold, or hold pickles. Each
array is held to its header before it is read.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

UNPACKED = 100  # times its own size: an archive of arrays that takes more memory is refused,
ROOM = 2**25  # bytes: unless it is less than this


def read_json(path: Path) -> Any:
    """The JSON in a file. Raises OSError or ValueError where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None


def read_arrays(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Those of the named arrays (None: all) that a NumPy archive has. Nothing is unpickled.

    Each array is held to what its header declares, and all of them to a memory of `UNPACKED` times
    the size of the file, before it is read. Raises ValueError or OSError for any other file.
    """
    found, room = {}, max(ROOM, UNPACKED * os.path.getsize(path))
    try:
        with ZipFile(path) as archive, warnings.catch_warnings(action="ignore"):
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if names is None or key in names:
                    with archive.open(info) as member:
                        if (room := room - _memory(member, info.file_size)) < 0:
                            raise ValueError(f"it unpacks to more than {UNPACKED} times its size")
                        member.seek(0)
                        found[key] = np.lib.format.read_array(member, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # zipfile, its codecs and NumPy's header each have their own
        raise ValueError(str(error) or type(error).__name__) from error
    return found


def _memory(member: Any, size: int) -> int:
    """Bytes that an array takes as numbers of 8 bytes, or as texts of 64 a row; by its header."""
    version = np.lib.format.read_magic(member)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"an array in version {version} of NumPy's format")
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("Python objects, which are never unpickled")
    count = math.prod(shape)
    if count * dtype.itemsize != size - member.tell() or min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape} in {size} bytes")
    return max(size, 8 * count, 64 * (shape[0] if shape else 1))

"""Files and folders that are complete or absent, and the one way to complain about a file.

Every complaint is a ValueError of one line: file, column, row; what was got, what was needed, what
to try.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from zipfile import BadZipFile

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

File = str | os.PathLike[str]

# What reading a damaged or foreign file can raise.
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError,
    BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def draft_file(place: Path) -> Iterator[Path]:
    """An empty file beside `place` that takes its place if the block succeeds, else is removed.

    It has the ending of `place`. Raises OSError where nothing can be written, or where something
    else than a plain file is: a folder, a device.

    Source: the way of POSIX rename(2), which replaces a file in one step.
    """
    if place.exists() and not place.is_file():
        raise FileExistsError(
            f"{place} is not a plain file; needed a free name, or a file to replace; try another"
        )
    _sweep(place, place.parent)
    draft, handle = _draft_of(place, place.parent), None
    try:
        handle = _begun(draft, Path.touch)
        yield draft
        _flush(draft)
        os.replace(draft, place)
    except OSError as error:
        if is_full(error):
            error.filename = str(place)
        raise
    finally:
        draft.unlink(missing_ok=True)
        _release(handle)


@contextmanager
def draft_folder(place: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `place` if the block succeeds, else is removed.

    Folders above it that do not exist are made then. Raises OSError where nothing can be written.
    A process that is killed between the two renames leaves the old folder under another name,
    from where `recover` puts it back.
    """
    place = place.resolve()
    tidy(place)
    above = next(parent for parent in place.parents if parent.exists())
    draft, handle = _draft_of(place, above), None
    old = _as("old", draft)
    try:
        handle = _begun(draft, Path.mkdir)
        yield draft
        _flush(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(old)
        draft.rename(place)
    except OSError as error:
        if is_full(error):
            error.filename = str(place)
        raise
    finally:
        _clear(draft, old, place)
        _release(handle)


def _clear(draft: Path, old: Path, place: Path) -> None:
    """Remove both, unless the old one is needed at the place. An interrupt waits for that."""
    try:
        if old.exists() and not place.exists():  # the second rename failed: undo the first
            old.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    except KeyboardInterrupt:
        _clear(draft, old, place)
        raise


def discard(folder: Path) -> None:
    """Remove a folder: under its name it is there as a whole, or not at all."""
    draft = _draft_of(folder, folder.parent)
    try:
        folder.rename(draft)
    except OSError:  # not there, or not to be renamed
        draft = folder
    _clear(draft, draft, folder.parent)


def tidy(place: Path) -> None:
    """`recover`, and remove what else a killed process left of its work on the folder."""
    place = place.resolve()
    recover(place)
    _sweep(place, *place.parents)  # it may have found fewer of them


def recover(place: Path) -> None:
    """Put a folder back, or one above it, that a process was about to replace when it was killed.

    Does nothing while that process lives. The replacement is undone, not completed: the run that
    was killed has not ended.
    """
    place = place.resolve()
    missing = [path for path in (place, *place.parents) if not path.exists()]
    for old in _left(missing[-1], "old", [missing[-1].parent]) if missing else ():
        draft = _as("draft", old)
        if not draft.exists() or _release(_lock(draft)):
            with suppress(OSError):  # another process was faster
                old.rename(missing[-1])


def sha256(path: File) -> str:
    """The checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full(error: BaseException) -> bool:
    """Whether there is no room left: on the disk, or in what this user or process may write."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error came of: closing what it cut short may raise one of its own.

    zipfile does so in the midst of an archive, for one.
    """
    while not isinstance(error, KeyboardInterrupt):
        if (before := error.__cause__ or error.__context__) is None:
            return None
        error = before
    return error


# Drafts are .draft-XXXXXXXX-NAME, and what they replace is meanwhile .old-XXXXXXXX-NAME. A process
# has a lock on its draft, which the system takes from it however it ends. So a draft that can be
# locked is nobody's, and the next run of the same output removes it. Where there are no locks
# (Windows, some network file systems) nothing is removed. Drafts are flushed to the disk before
# they are renamed: after a power failure the name stands for the old files or for the new ones,
# whole. Which of them is left to the file system: the renames themselves are not flushed.


def _draft_of(place: Path, above: Path) -> Path:
    return above / f".draft-{secrets.token_hex(4)}-{place.name}"


def _as(kind: str, path: Path) -> Path:
    """The name of another kind beside a draft, or beside what it replaces."""
    return path.with_name(f".{kind}-{path.name.split('-', 1)[1]}")


def _left(place: Path, kind: str, folders: Iterable[Path]) -> list[Path]:
    """Drafts of the place, or what they replace, in these folders."""
    pattern = f".{kind}-{'[0-9a-f]' * 8}-{glob.escape(place.name)}"
    return [found for folder in folders for found in folder.glob(pattern)]


def _begun(draft: Path, make: Callable[[Path], None]) -> int | None:
    """Make the draft and lock it; again, if another process swept it away before it was locked."""
    handle = None
    while not draft.exists():
        _release(handle)
        make(draft)
        handle = _lock(draft, wait=True)
    return handle


def _lock(path: Path, wait: bool = False) -> int | None:
    """A handle with the lock on a path; None where another has it, or where there are no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _release(handle: int | None) -> bool:
    """Give the lock back; whether there was one."""
    if handle is not None:
        os.close(handle)
    return handle is not None


def _sweep(place: Path, *folders: Path) -> None:
    """Remove what killed processes left of their work on the place."""
    for draft in _left(place, "draft", folders):
        if (handle := _lock(draft)) is not None:
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)
            _release(handle)
    for old in _left(place, "old", [place.parent]):
        if place.exists():  # asked after `old` was seen: the replacement took place
            shutil.rmtree(old, ignore_errors=True)


def _flush(draft: Path) -> None:
    """The file, or the folder with all that is in it, from memory to the disk."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    for path in (*draft.rglob("*"), draft):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def readable(path: File, kinds: str, content: str) -> None:
    """A ValueError unless the path is a plain file that is not empty and may be read.

    kinds, content : what is needed, as "a .csv or .npz file" with "a table with rows of data".
    """
    if os.path.isdir(path):
        fail(path, "a folder", kinds, "one of the files in it")
    if not os.path.isfile(path):
        fail(path, "no such file", kinds, "the full path")
    if not os.access(path, os.R_OK):
        fail(path, "a file that may not be read", "permission to read it", "chmod")
    if os.path.getsize(path) == 0:
        fail(path, "an empty file", content, "the file it was made from")


def fail(
    path: File,
    got: str,
    needed: str,
    try_: str,
    *,
    column: str | None = None,
    row: int | None = None,
) -> NoReturn:
    """A ValueError in one line: file, column and row; got, needed, try."""
    where = os.fspath(path) or "the table"
    where += "" if column is None else f", column {clipped(column)}"
    where += "" if row is None else f", row {row}"
    raise ValueError(" ".join(f"{where}: got {got}; needed {needed}; try {try_}".split()))


def reason(error: Exception) -> str:
    """What an error says, in one short line, for another one that goes up."""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def printable(text: str) -> str:
    r"""A text for a terminal: line ends and other controls as escapes.

    Examples
    --------
    >>> print(printable("a\x1b[2J\nb"))
    a\x1b[2J\nb
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def clipped(text: str, size: int = 40) -> str:
    """A text in quotes for an error, its beginning where it is long.

    Examples
    --------
    >>> clipped("a"), clipped("7" * 100, 4)
    ("'a'", "'7777' and 96 more")
    """
    more = f" and {len(text) - size} more" if len(text) > size else ""
    return f"{text[:size]!r}{more}"

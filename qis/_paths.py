"""Paths that a user gives for files to write: what names no file is refused, not made a file of."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Final

from qis.errors import InputError, QISError, StorageError

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|\?|[^\\/]*\?)|file:", re.IGNORECASE)
"""``file:…``, ``s3://…``, ``store.db?mode=…`` with a scheme; not ``C:\\…``, whose scheme has one
letter."""


@contextmanager
def opening(path: str | PathLike[str], what: str) -> Iterator[None]:
    """Whatever the disk refuses in this block is a `StorageError` that names the file.

    Parameters
    ----------
    path
        The file, as the user gave it.
    what
        What cannot be done: ``"read"``, ``"write"``.

    """
    try:
        yield
    except QISError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot {what} {str(path)!r:.200}: {error.strerror or error}", field="path"
        ) from error
    except ValueError as error:  # a null character in the name
        raise InputError(f"path is {str(path)!r:.200}: {error}", field="path") from error


def file_path(given: str | PathLike[str], *, field: str = "path", without: str = "") -> Path:
    """The path of a file to write, existing or not.

    Parameters
    ----------
    given
        As the user gave it. sqlite's ``":memory:"`` and URIs would become files of these names.
    field
        What the argument is called.
    without
        What to take instead where no file is wanted: ``"a qis.MemoryStore"``.

    Raises
    ------
    InputError
        If it is no path, empty, ``":memory:"``, a URI or a folder, or has a NUL in it.

    """
    return _checked(given, field, "file", without, _what_is_wrong(given) or _folder(given))


def folder_path(given: str | PathLike[str], *, field: str = "path", without: str = "") -> Path:
    """The path of a folder, existing or not.

    Parameters
    ----------
    given
        As the user gave it.
    field
        What the argument is called.
    without
        What to take instead where no folder is wanted.

    Raises
    ------
    InputError
        If it is no path, empty, ``":memory:"`` or a URI, or has a NUL in it.

    """
    return _checked(given, field, "folder", without, _what_is_wrong(given))


def _checked(given: Any, field: str, kind: str, without: str, wrong: str) -> Path:
    if not wrong:
        return Path(given)
    advice = f"; without a {kind}, take {without}" if without else ""
    raise InputError(
        f"{field} is {given!r:.80}, {wrong}: give the path of a {kind}{advice}",
        field=field,
        actual=given,
    )


def _what_is_wrong(given: object) -> str:
    if not isinstance(given, str | PathLike):
        return "which is no path"
    path = os.fspath(given)
    if not isinstance(path, str):
        return "which is no text"
    if not path.strip() or "\0" in path:
        return "which is empty or has a null character in it"
    if path.strip().lower() == ":memory:":
        return "sqlite's word for 'no file', which would become a name in this folder"
    return "a URI, which would become a name in this folder" if _URI.match(path) else ""


def _folder(given: str | PathLike[str]) -> str:
    path = os.fspath(given)
    separators = tuple(filter(None, (os.sep, os.altsep)))
    if path.endswith(separators) or Path(path).is_dir():
        return "which is a folder"
    return ""

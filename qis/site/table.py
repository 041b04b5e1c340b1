"""A table of a site's TOML file: typed values, and errors that name file, table and key."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from qis._toml import read_toml
from qis.errors import (
    ConfigurationError,
    InputError,
    KeyFileError,
    MissingExtraError,
    PeerError,
    QISError,
    StorageError,
)

Value = TypeVar("Value")
_LONGEST: Final = 1_000
"""Most characters of a text, which is a name or a path and has to fit into a message."""
_WORDS: Final = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class TomlTable:
    """One table of the file. Creating it refuses unknown keys.

    Parameters
    ----------
    file
        The file; relative paths are relative to its folder.
    name
        The table's name in brackets; empty for the keys before the first table.
    content
        The parsed content.
    known
        The keys that are allowed.

    Raises
    ------
    ConfigurationError
        If it is no table or has another key.

    """

    def __init__(self, file: Path, name: str, content: Any, known: Collection[str]) -> None:
        self._file = file
        self._name = name
        if not isinstance(content, Mapping):
            raise self.complaint(name, f"is written as a table: [{name}]")
        self._content = content
        for key in content:
            if key not in known:
                raise self.complaint(key, f"is unknown; there are {', '.join(known)}", known)

    def __contains__(self, key: object) -> bool:
        return key in self._content

    def table(self, key: str, known: Collection[str]) -> "TomlTable":
        """Return a table within this one; an empty one if it is missing."""
        return TomlTable(self._file, key, self._content.get(key, {}), known)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty. Without a default the key is required."""
        found = self._of(key, str, default)
        if not found or len(found) > _LONGEST or "\0" in found:
            raise self.complaint(
                key, f"is empty, longer than {_LONGEST} characters, or has a NUL", _LONGEST
            )
        return found

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """Return one of several allowed texts. Without a default the key is required."""
        found = self.text(key, default)
        if found not in options:
            raise self.complaint(key, f"is {found!r:.60}; it is one of {', '.join(options)}")
        return found

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number. Without a default the key is required."""
        return self._of(key, int, default)

    def real(self, key: str, default: float | None = None) -> float:
        """Return a number, whole or not. Without a default the key is required."""
        if type(self._content.get(key)) is int:
            return float(self.whole(key))
        return self._of(key, float, default)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false, as the file says, else the default."""
        return self._of(key, bool, default)

    def items(self, key: str, *kinds: type) -> list[Any]:
        """Return a list whose items are of the given types; empty if it is missing."""
        found = self._content.get(key, [])
        if not isinstance(found, list) or not all(type(item) in kinds for item in found):
            words = " or ".join(_WORDS[kind] for kind in kinds)
            raise self.complaint(key, f"is a list, each item {words}; it is {found!r:.60}")
        return found

    def path(self, key: str, default: str | None = None) -> Path:
        """Return a path; a relative one is relative to the file's folder."""
        return self.beside(self.text(key, default))

    def beside(self, name: str) -> Path:
        """Resolve a name relative to the file's folder."""
        return self._file.parent / name

    def complaint(self, key: str, what: str, limit: Any = None) -> ConfigurationError:
        """Make the error that says where in the file something is wrong."""
        where = f"[{self._name}] {key}" if self._name and key != self._name else key
        return ConfigurationError(f"{self._file}: {where} {what}", field=key, limit=limit)

    @contextmanager
    def located(self, key: str = "") -> Iterator[None]:
        """Add file, table and key to errors that are raised while the values are used.

        Errors of key files, missing extras and the disk keep their class; all others become
        `ConfigurationError`.
        """
        where = " ".join(filter(None, (self._name and f"[{self._name}]", key)))
        try:
            yield
        except QISError as error:
            if not isinstance(error, InputError | PeerError | StorageError):
                raise
            kept = isinstance(error, KeyFileError | MissingExtraError | StorageError)
            raise (type(error) if kept else ConfigurationError)(
                f"{self._file}, {where}: {error}",
                field=error.field,
                actual=error.actual,
                limit=error.limit,
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self._file}, {where}: {str(error.filename)!r:.200}: {error.strerror}",
                field=key,
            ) from error

    def _of(self, key: str, kind: type[Value], default: Value | None) -> Value:
        found = self._content.get(key, default)
        if found is None:
            raise self.complaint(key, "is missing")
        if type(found) is not kind:
            raise self.complaint(key, f"is {_WORDS[kind]}, not {found!r:.60}")
        return found


def read(file: Path, known: Collection[str]) -> TomlTable:
    """Read a TOML file and return its outermost table.

    Raises
    ------
    ConfigurationError
        If it is missing, not TOML, or has an unknown key.
    StorageError
        If it exists and cannot be read.

    """
    return TomlTable(file, "", read_toml(file), known)

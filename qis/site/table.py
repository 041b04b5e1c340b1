"""A table of a site's TOML file: typed values out, and complaints that name file, table and key."""

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
"""Most characters of a text: a name or a path, which has to fit into a message."""
_WORDS: Final = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class TomlTable:
    """One table; a key that it does not know is refused when it is made.

    Parameters
    ----------
    file
        The file; relative paths are relative to its folder.
    name
        As in the file's brackets; empty for what stands before all tables.
    content
        What the file says there.
    known
        The keys that it may have.

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
        """A table within this one; empty if it is missing."""
        return TomlTable(self._file, key, self._content.get(key, {}), known)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; needed if there is no default."""
        found = self._of(key, str, default)
        if not found or len(found) > _LONGEST or "\0" in found:
            raise self.complaint(
                key, f"is empty, longer than {_LONGEST} characters, or has a NUL", _LONGEST
            )
        return found

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """One of several texts."""
        found = self.text(key, default)
        if found not in options:
            raise self.complaint(key, f"is {found!r:.60}; it is one of {', '.join(options)}")
        return found

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        return self._of(key, int, default)

    def real(self, key: str, default: float | None = None) -> float:
        """A number, whole or not."""
        if type(self._content.get(key)) is int:
            return float(self.whole(key))
        return self._of(key, float, default)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return self._of(key, bool, default)

    def items(self, key: str, *kinds: type) -> list[Any]:
        """A list whose items are of some types; empty if it is missing."""
        found = self._content.get(key, [])
        if not isinstance(found, list) or not all(type(item) in kinds for item in found):
            words = " or ".join(_WORDS[kind] for kind in kinds)
            raise self.complaint(key, f"is a list, each item {words}; it is {found!r:.60}")
        return found

    def path(self, key: str, default: str | None = None) -> Path:
        """A path, relative to the file's folder unless it is absolute."""
        return self.beside(self.text(key, default))

    def beside(self, name: str) -> Path:
        """The path that a name in the file stands for."""
        return self._file.parent / name

    def complaint(self, key: str, what: str, limit: Any = None) -> ConfigurationError:
        """The error that says where something is wrong."""
        where = f"[{self._name}] {key}" if self._name and key != self._name else key
        return ConfigurationError(f"{self._file}: {where} {what}", field=key, limit=limit)

    @contextmanager
    def located(self, key: str = "") -> Iterator[None]:
        """Let an error of what is built from the values say where they are.

        Errors of keys, extras and the disk keep their class; all others are of the file.
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
    """The outermost table of a TOML file.

    Raises
    ------
    ConfigurationError
        If it is missing, not TOML, or has an unknown key.
    StorageError
        If it is there, and the disk does not give it.

    """
    return TomlTable(file, "", read_toml(file), known)

"""The only reader of TOML: any file gives one dictionary, or one error that names line or key.

The standard parser leaves more to be caught than its own error: nesting ends in `RecursionError`
(by brackets while it parses, by dotted keys later, when the value is shown), long numbers in
`ValueError`. TOML promises 64 bits and depth costs nothing legitimate, so both have limits here.
"""

import errno
import json
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from qis.errors import ConfigurationError, StorageError

LARGEST: Final = 8 * 2**20
"""Most bytes of a file: a roster of 10,000 sites has 2 MB."""
DEEPEST: Final = 16
"""Most tables and lists within each other."""
_INT64: Final = range(-(2**63), 2**63)


def read_toml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a TOML file as a dictionary.

    Raises
    ------
    ConfigurationError
        If it is no TOML file within the limits; the message names the file and the line or key.
    StorageError
        If it is there, and the disk does not give it.

    """
    return parse_toml(path, read_bytes(path))


def read_bytes(path: str | PathLike[str]) -> bytes:
    """A file's content, of at most `LARGEST` bytes.

    Raises
    ------
    ConfigurationError
        If it is missing, no file, or larger.
    StorageError
        If it is there, and the disk does not give it.

    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ConfigurationError(f"{path}: {error.strerror}", field="path") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigurationError(
                f"{str(path)!r:.200}: {error.strerror}", field="path"
            ) from None
        raise StorageError(f"{path}: {error.strerror}", field="path") from error
    except ValueError as error:  # a NUL in the name
        raise ConfigurationError(
            f"{str(path)!r:.200} is no file's name: {error}", field="path"
        ) from None
    if len(content) > LARGEST:
        raise ConfigurationError(
            f"{path} has more than {LARGEST} bytes, which is no configuration",
            field="path",
            limit=LARGEST,
        )
    return content


def toml_of(values: Mapping[str, Any]) -> str:
    """Lines of TOML for texts, numbers, truth values, lists and maps; `None` is left out."""
    return "".join(
        f"{name} = {_written(value)}\n" for name, value in values.items() if value is not None
    )


def _written(value: Any) -> str:
    if isinstance(value, str):
        # JSON's texts are TOML's, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, Mapping):
        given = {name: each for name, each in value.items() if each is not None}
        return f"{{{', '.join(f'{name} = {_written(each)}' for name, each in given.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value)  # numbers and truth values are written alike


def parse_toml(path: str | PathLike[str], content: bytes) -> dict[str, Any]:
    """Parse the bytes of a TOML file as a dictionary.

    Raises
    ------
    ConfigurationError
        If they are no TOML within the limits; the message names the file and the line or key.

    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path} is not a TOML file: line {line} is not UTF-8; save it as UTF-8", field="path"
        ) from None
    except ValueError as error:  # tomllib's own, and that of int() for thousands of digits
        raise ConfigurationError(f"{path} is not a TOML file: {error}", field="path") from None
    except RecursionError:
        raise ConfigurationError(
            f"{path} is not a TOML file that can be used: it nests too deeply",
            field="path",
            limit=DEEPEST,
        ) from None
    _require_plain(path, table)
    return table


def _require_plain(path: str | PathLike[str], table: dict[str, Any]) -> None:
    """Refuse what cannot even be shown in an error: deep nesting, and numbers beyond 64 bits."""
    level: list[tuple[str, Any]] = list(table.items())
    for _ in range(DEEPEST):
        below: list[tuple[str, Any]] = []
        for key, value in level:
            if isinstance(value, dict):
                below.extend((f"{key}.{name}"[:80], inner) for name, inner in value.items())
            elif isinstance(value, list):
                below.extend((key, inner) for inner in value)
            elif type(value) is int and value not in _INT64:
                raise ConfigurationError(
                    f"{path}: {key!r:.90} is a number beyond 64 bits",
                    field=key,
                    limit=(_INT64[0], _INT64[-1]),
                )
        level = below
        if not level:
            return
    raise ConfigurationError(
        f"{path}: {level[0][0]!r:.90} nests more than {DEEPEST} tables and lists",
        field="path",
        limit=DEEPEST,
    )

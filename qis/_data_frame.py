"""Columns of results as a data frame of pandas, polars or pyarrow, whichever the caller uses."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from qis._given import shown
from qis.errors import InputError, MissingExtraError

BACKENDS: Final = ("pandas", "polars", "pyarrow")


def data_frame(columns: Mapping[str, Sequence[Any]], backend: object) -> Any:
    """Build a data frame: None becomes the library's own missing value, whole numbers stay whole.

    Parameters
    ----------
    columns
        Equally long columns of plain Python values, by name.
    backend
        "pandas", "polars" or "pyarrow".

    Raises
    ------
    InputError
        If the backend is another.
    MissingExtraError
        If the library is not installed.

    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise InputError(
            f"backend is {shown(backend)}; it must be one of {', '.join(BACKENDS)}",
            field="backend",
            actual=backend,
            limit=BACKENDS,
        )
    try:
        library = import_module(backend)
    except ImportError as error:
        others = " or ".join(f"backend={name!r}" for name in BACKENDS if name != backend)
        raise MissingExtraError(
            f"{backend} is not installed: pip install {backend}, or give {others}", field="backend"
        ) from error
    lists = {name: list(values) for name, values in columns.items()}
    if backend == "polars":
        return library.DataFrame(lists, strict=False)
    if backend == "pyarrow":
        return library.table(lists)
    # Left to itself pandas makes floats of whole numbers where one is missing.
    return library.DataFrame(
        {
            name: library.array(values, dtype="Int64") if _are_whole(values) else values
            for name, values in lists.items()
        }
    )


def _are_whole(values: Sequence[Any]) -> bool:
    """True if there are whole numbers and nothing else, with gaps among them."""
    kinds = {type(value) for value in values}
    return kinds == {int, type(None)}

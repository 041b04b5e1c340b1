"""Ids of terms as people write them."""

from qis._given import as_int, hint, shown
from qis.errors import InputError


def as_id(given: object) -> str:
    """Return an id of a term as a text: texts of any make as they are, whole numbers in digits.

    Raises
    ------
    InputError
        If it is neither.

    """
    if type(given) is str:
        return given
    if isinstance(given, str):
        return str(given)
    number = as_int(given)
    if number is None:
        raise InputError(
            f"a term's id is a text or a whole number, not {shown(given)}{hint(given)}",
            field="features",
            actual=given,
        )
    return str(number)


def short_id(identifier: str) -> str:
    """``HP:0000001`` from ``http://purl.obolibrary.org/obo/HP_0000001``; others as they are."""
    last = identifier.rsplit("/", 1)[-1]
    return last.replace("_", ":", 1) if identifier.startswith("http") else identifier

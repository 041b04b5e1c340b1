"""The lines of text that travel: one normal form, nothing that nobody sees, a size in bytes."""

import re
import unicodedata
from typing import Final

from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes._characters import WHITE_SPACE, joiner_without_use, refused_in

_SPACES: Final = re.compile(f"[{WHITE_SPACE}]+")


def normal_text(text: object, field: str, limit: int) -> str:
    """`text` in NFC with white space folded to single spaces.

    Control characters could forge log lines; bidirectional overrides could show a clinician another
    order of the arms than the one that was signed; invisible ones would let one site count as
    several cohorts that look alike. See `qis.outcomes._characters`.

    Raises
    ------
    InputError
        If it is not a string, or holds a character that no packet may hold.
    OutcomeTooLargeError
        If it takes more than `limit` bytes of UTF-8.

    """
    if type(text) is not str:
        raise InputError(f"{field} must be a string, not {type(text).__name__}", field=field)
    # Before anything else, so that the work on hostile or mistaken input is bounded.
    if len(text) > 16 * limit:
        _refuse_size(field, len(text), limit)
    if text.isascii() and text.isprintable():
        folded = " ".join(text.split())
    else:
        folded = unicodedata.normalize("NFC", _SPACES.sub(" ", text).strip(" "))
        refused = refused_in(folded) or joiner_without_use(folded)
        if refused is not None:
            raise InputError(
                f"{field} holds the character U+{ord(refused):04X}, which is seen nowhere or "
                "differently from place to place: leave it out (control, invisible, bidirectional "
                "and private-use characters are refused, those newer than Unicode 14.0, and "
                "joiners where they change nothing)",
                field=field,
                actual=refused,
            )
    size = len(folded.encode())
    if size > limit:
        _refuse_size(field, size, limit)
    return folded


def _refuse_size(field: str, size: int, limit: int) -> None:
    raise OutcomeTooLargeError(
        f"{field} takes {size} bytes of UTF-8; the limit is {limit}: shorten it",
        field=field,
        actual=size,
        limit=limit,
    )

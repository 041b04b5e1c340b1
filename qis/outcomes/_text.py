"""Text that travels: normalised, without invisible characters, and limited in bytes."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NoReturn

from qis.errors import InputError, OutcomeTooLargeError
from qis.outcomes._characters import WHITE_SPACE, joiner_without_use, refused_in

_SPACES: Final = re.compile(f"[{WHITE_SPACE}]+")
_OTHER_SPACE: Final = re.compile(f"[{WHITE_SPACE.replace(' ', '')}]")


def normal_text(text: object, field: str, limit: int) -> str:
    """Return `text` in NFC, with white space folded to single spaces.

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
        if not isinstance(text, str):
            raise InputError(f"{field} must be a string, not {type(text).__name__}", field=field)
        text = str.__str__(text)  # numpy's strings, and texts of enumerations
    return _normal(text, field, limit)


@lru_cache(maxsize=1_024)
def _normal(text: str, field: str, limit: int) -> str:
    """The cached part of `normal_text`: the same question comes with each packet of a study."""
    # This comes first, so that work on hostile or mistaken input is bounded.
    if len(text) > 16 * limit:
        _refuse_size(field, len(text), limit)
    if text.isascii() and text.isprintable():
        folded = " ".join(text.split())
    else:
        folded = unicodedata.normalize("NFC", _SPACES.sub(" ", text).strip(" "))
        refused = refused_in(folded) or joiner_without_use(folded)
        if refused is not None:
            _refuse_character(refused, field)
    size = len(folded.encode())
    if size > limit:
        _refuse_size(field, size, limit)
    return folded


def check_normal(texts: Sequence[str], field: str) -> list[int]:
    """Check that texts are in normal form, and return their sizes in bytes of UTF-8.

    All are checked at once, so that many short texts cost no more than one long text.

    Raises
    ------
    InputError
        If one is not in its normal form, or holds a character that no packet may hold.

    """
    joined = "\n".join(texts)
    lines = joined.replace("\n", "")
    if len(lines) != len(joined) - len(texts) + 1:
        _refuse_character("\n", field)
    if lines.isascii() and lines.isprintable():
        lengths = list(map(len, texts))
    else:
        refused = refused_in(lines) or joiner_without_use(joined)
        if refused is not None:
            _refuse_character(refused, field)
        # A line feed composes with nothing: each text is in NFC if all together are.
        if not unicodedata.is_normalized("NFC", joined):
            raise InputError(f"{field} holds a text that is not in NFC", field=field)
        lengths = list(map(len, map(str.encode, texts)))
    spaced = [text for text in texts if " " in text] if " " in lines else ()
    if _OTHER_SPACE.search(lines) or any(
        text[0] == " " or text[-1] == " " or "  " in text for text in spaced
    ):
        raise InputError(f"{field} holds white space that is not folded", field=field)
    return lengths


def _refuse_character(refused: str, field: str) -> NoReturn:
    raise InputError(
        f"{field} holds the character U+{ord(refused):04X}, which is seen nowhere or "
        "differently on different systems: leave it out (control, invisible, bidirectional "
        "and private-use characters are refused, those newer than Unicode 14.0, and "
        "joiners where they change nothing)",
        field=field,
        actual=refused,
    )


def _refuse_size(field: str, size: int, limit: int) -> None:
    raise OutcomeTooLargeError(
        f"{field} takes {size} bytes of UTF-8; the limit is {limit}: shorten it",
        field=field,
        actual=size,
        limit=limit,
    )

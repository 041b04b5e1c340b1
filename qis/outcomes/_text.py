"""The two lines of text that travel: one normal form, no control characters, a size in bytes."""

import unicodedata

from qis.errors import InputError, OutcomeTooLargeError

# Control characters could forge log lines; bidirectional overrides could show a clinician another
# order of the arms than the one that was signed. Surrogates cannot be encoded, and private use
# means nothing to a stranger. What is merely unassigned passes: a newer Unicode than the
# receiver's may have assigned it, and text in the newer NFC is in the older one too.
_REFUSED = frozenset({"Cc", "Cs", "Co"})
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def normal_text(text: object, field: str, limit: int) -> str:
    """`text` in NFC with white space folded to single spaces.

    Raises
    ------
    InputError
        If it is not a string or holds a control, bidirectional, private-use or non-character.
    OutcomeTooLargeError
        If it takes more than `limit` bytes of UTF-8.

    """
    if type(text) is not str:
        raise InputError(f"{field} must be a string, not {type(text).__name__}", field=field)
    # Before anything else, so that the work on hostile or mistaken input is bounded.
    if len(text) > 16 * limit:
        _refuse_size(field, len(text), limit)
    folded = " ".join(text.split())
    if not folded.isascii() or not folded.isprintable():
        folded = unicodedata.normalize("NFC", folded)
        for character in folded:
            if (
                unicodedata.category(character) in _REFUSED
                or character in _BIDIRECTIONAL
                or _is_noncharacter(ord(character))
            ):
                raise InputError(
                    f"{field} holds the character U+{ord(character):04X}; "
                    "control, bidirectional, private-use and non-characters are refused",
                    field=field,
                    actual=character,
                )
    size = len(folded.encode())
    if size > limit:
        _refuse_size(field, size, limit)
    return folded


def _is_noncharacter(code: int) -> bool:
    """Whether Unicode promises never to assign it (The Unicode Standard, section 23.7)."""
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def _refuse_size(field: str, size: int, limit: int) -> None:
    raise OutcomeTooLargeError(
        f"{field} takes {size} bytes of UTF-8; the limit is {limit}: shorten it",
        field=field,
        actual=size,
        limit=limit,
    )

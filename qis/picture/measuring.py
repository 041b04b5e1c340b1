"""How wide text is, roughly: nobody here knows the font that will be used."""

from typing import Final
from unicodedata import combining, east_asian_width

_NARROW: Final = frozenset("ijlI|'.,:;! ")
_SLIM: Final = frozenset('tfr()[]{}-/"')
_BROAD: Final = frozenset("mwMW%@")
_SAFE: Final = 1.06
"""Fonts differ by about so much; a gap is better than text over text."""


def text_width(text: str, size: float = 12.0, *, is_bold: bool = False) -> float:
    """Width in pixels of a line of text in an ordinary sans-serif font."""
    return size * sum(map(_width, text)) * _SAFE * (1.07 if is_bold else 1.0)


def cut(text: str, width: float, size: float = 12.0, *, is_bold: bool = False) -> str:
    """The text, or as much of its beginning as fits into `width` pixels, with an ellipsis."""
    if text_width(text, size, is_bold=is_bold) <= width:
        return text
    kept = len(text)
    while kept and text_width(f"{text[:kept]}…", size, is_bold=is_bold) > width:
        kept -= 1
    return f"{text[:kept].rstrip()}…"


def _width(letter: str) -> float:
    if combining(letter):
        return 0.0
    if east_asian_width(letter) in "WF":
        return 1.0
    if letter in _NARROW:
        return 0.28
    if letter in _SLIM:
        return 0.36
    if letter in _BROAD:
        return 0.88
    return 0.68 if letter.isupper() else 0.56

"""What a picture consists of. Lengths are in pixels of 1/96 inch; y grows downwards."""

from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import category

Point = tuple[float, float]

INK: Final = "#222222"
GREY: Final = "#999999"
_UNPRINTABLE: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[Point, ...]
    colour: str = INK
    width: float = 1.0
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    colour: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text.

    Parameters
    ----------
    x, y
        The start, middle or end of its baseline, by `anchor`.
    text
        Shown as it is, whatever it contains.
    whole
        What `text` was cut from, if it was; a tooltip where there are tooltips.

    """

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: float = 12.0
    is_bold: bool = False
    colour: str = INK
    whole: str = ""


Element = Line | Area | Dot | Words


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis: what is between two pixels, in units of the data.

    Parameters
    ----------
    left, right
        Its ends in pixels.
    low, high
        Its ends in data: logarithms for ratios, log odds for proportions.

    """

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """The pixel of a value; one beyond an end, or infinite, is drawn at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def value(self, x: float) -> float:
        """The value at a pixel, which may lie beyond the ends."""
        return self.low + (x - self.left) / (self.right - self.left) * (self.high - self.low)


_JOINERS: Final = "\u200c\u200d"


def printable(text: str) -> str:
    """The text without control characters: XML has none, and some would turn what follows round.

    The two joiners stay, without which some scripts cannot be written.
    """
    return "".join(
        "\ufffd" if category(c) in _UNPRINTABLE and c not in _JOINERS else c for c in text
    )

"""What a claim is, its verdicts, and how numbers are written in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from _case_record import Record

HOLDS: Final = "holds"
PARTLY: Final = "holds partly"
NOT: Final = "does not hold"
UNKNOWN: Final = "cannot tell"
VERDICTS: Final = (HOLDS, PARTLY, NOT, UNKNOWN)


@dataclass(frozen=True)
class Claim:
    """One claim.

    Parameters
    ----------
    words
        What the article says, in our words.
    part
        The part of `claims.py` that measures it; empty if nothing does.
    figure
        The figure in a sentence, of a record.
    judge
        The verdict of a record, or the one argued for in `why`.
    why
        Why so, and for "cannot tell" what would decide.

    """

    words: str
    part: str
    figure: Callable[[Record], str]
    judge: Callable[[Record], str] | str
    why: str

    def verdict(self, record: Record) -> str:
        """One of `VERDICTS`; empty if its part was not run."""
        if self.part and self.part not in record.parts:
            return ""
        found = self.judge if isinstance(self.judge, str) else self.judge(record)
        if found not in VERDICTS:
            raise ValueError(f"{found!r} is no verdict")
        return found

    def said(self, record: Record) -> str:
        """The figure, or that its part was not run."""
        if self.part and self.part not in record.parts:
            return f"not run ({self.part})"
        return self.figure(record)


def three(value: float) -> str:
    """Three decimals without the leading zero."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed(value: float) -> str:
    """The same with its sign."""
    return three(value).replace("-", "−") if value < 0 else "+" + three(value)


def percent(value: float) -> str:
    """In per cent."""
    return f"{100 * value:.3g} %"

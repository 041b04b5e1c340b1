"""Texts that look as if they named a patient: record numbers, dates of birth, addresses of people.

A question and a cohort travel in every packet, and nobody reads them before they leave. What looks
like an identifier is warned of and not refused, since a trial's number looks like one too. A year
alone, a registry's number (NCT01234567) and a number of people are no identifiers: a warning on
each of them would be turned off.
"""

import re
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qis._gate import checked
from qis.outcomes import Outcome

Patterns = Mapping[str, re.Pattern[str]]
"""What is looked for, in words → its pattern."""

_MONTH: Final = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATES: Final = (
    r"(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|"
    rf"\d{{1,2}}\.? {_MONTH}\.? \d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
)

PATTERNS: Final[Patterns] = MappingProxyType(
    {
        "a full date": re.compile(rf"(?<![\d.]){_DATES}(?![\d.])", re.IGNORECASE),
        "a record number": re.compile(
            r"\b(?:mrn|pid|patient|pat|case|record|rec|admission|visit|fall|akte)"
            r"(?:[ -]?(?:id|no|nr|number))?[ .:#-]{0,2}\d{3,}\b",
            re.IGNORECASE,
        ),
        "a long number": re.compile(r"(?<![\w.,:-])\d{7,}(?![\w.,])"),
        "a social security or health service number": re.compile(
            r"\b(?:\d{3}-\d{2}-\d{4}|\d{3} \d{3} \d{4}|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z])\b"
        ),
        "a number of few people": re.compile(
            r"\bn ?= ?(?:\d|10)\b|\((?:\d|10)(?: of |/)\d+\)|"
            r"(?<!least )(?<!most )(?<!than )(?<![\w.,<>=≥≤-])(?<![<>=≥≤] )(?:[1-9]|10) "
            r"(?:patients?|people|persons?|cases?|deaths?|survivors?|women|men|children)\b",
            re.IGNORECASE,
        ),
        "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"),
    }
)
"""The default patterns."""


class IdentifierWarning(UserWarning):
    """A text that is to leave looks as if it named a patient.

    Examples
    --------
    >>> import warnings
    >>> from qis.disclosure import IdentifierWarning
    >>> warnings.simplefilter("error", IdentifierWarning)  # refuse instead of warning

    """


@checked
def identifiers_in(text: str, patterns: Patterns = PATTERNS) -> list[str]:
    """Name the patterns that a text matches.

    Parameters
    ----------
    text
        A question or a cohort.
    patterns
        What to look for; by default full dates, numbers of records, seven digits or more, social
        security and health service numbers, numbers of up to ten people, and e-mail addresses.

    Returns
    -------
    The names, without what was found, so that they can be logged.

    Examples
    --------
    >>> identifiers_in("beta blocker vs none | MRN 48213")
    ['a record number']
    >>> identifiers_in("cohort 2019 | NCT01234567 | 847 people")
    []

    """
    return [name for name, pattern in patterns.items() if pattern.search(text)]


def sentences(outcome: Outcome, patterns: Patterns) -> list[str]:
    """Tell in words which of an outcome's texts look like identifiers, without quoting them."""
    texts = {"question": outcome.question, "cohort": outcome.cohort}
    return [
        f"the {field} looks as if it held {name}, and travels in the packet"
        for field, text in texts.items()
        for name in identifiers_in(text, patterns)
    ]


def warn_of_identifiers(outcome: Outcome, patterns: Patterns) -> None:
    """Give an `IdentifierWarning` for each text that looks like an identifier."""
    for sentence in sentences(outcome, patterns):
        warnings.warn(sentence, IdentifierWarning, stacklevel=4)

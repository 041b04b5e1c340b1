"""What an outsider could learn from an outcome, in words, for whoever decides about its release."""

from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from qis.disclosure.any_formula import as_effect
from qis.disclosure.attacks import findings
from qis.disclosure.finding import Finding
from qis.disclosure.inversion import readable
from qis.disclosure.margins import Margins
from qis.disclosure.membership import membership_sentences
from qis.disclosure.models import ATTACK, read, tables_of
from qis.disclosure.reconstruction import certain_records, records_that_fit
from qis.disclosure.unsearched import not_searched
from qis.outcomes import (
    Anchor,
    Counts,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
)

_RECONSTRUCTED: Final = 30
"""People up to whom whole records are reconstructed."""
_LISTED: Final = 12
"""Reconstructed records that are listed."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What an outsider could learn from an outcome, in words.

    Parameters
    ----------
    refusal
        Why the preset refuses the outcome; empty if it does not.
    learns
        One sentence for everything that the known attacks find.

    Examples
    --------
    >>> import qis
    >>> few = qis.Counts(question="a | b", events=3, total=40, control_events=9, control_total=41)
    >>> preview = qis.Disclosure.preset("cms").preview(few)
    >>> bool(preview.refusal), len(preview.learns) > 0
    (True, True)

    """

    refusal: str
    learns: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """BLAKE3-256 of the words, for the record of an approval."""
        return blake3("\n".join((self.refusal, *self.learns)).encode()).digest()

    def __str__(self) -> str:
        head = f"Kept back: {self.refusal}" if self.refusal else "May be released."
        return "\n".join((head, "An outsider could learn:", *(f"- {line}" for line in self.learns)))

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415  for people only

        head, learn, *lines = str(self).splitlines()
        points = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in lines)
        return f"<p>{escape(head)}</p><p>{escape(learn)}</p><ul>{points}</ul>"


def learnt_from(outcome: Outcome, *, below: int) -> list[str]:
    """Tell what the known attacks find in an outcome, one sentence for each finding.

    Parameters
    ----------
    outcome
        The outcome that is to be released.
    below
        Search estimates for tables with a cell of 1 to `below` − 1.

    """
    found = dict.fromkeys([*findings(outcome, below=below), *readable(outcome, limit=below)])
    curve = as_effect(outcome) if isinstance(outcome, LikelihoodProfile) else None
    if curve is not None:
        found |= dict.fromkeys([*findings(curve, below=below), *readable(curve, limit=below)])
    return [
        *(finding.sentence for finding in found),
        *(_of_model(outcome, below) if isinstance(outcome, QuadraticLikelihood) else ()),
        *_whatever_its_numbers(outcome),
        *(f"not searched: {what}" for what in not_searched(outcome, limit=below)),
        *membership_sentences(outcome),
    ]


def learnt_from_noise(outcome: Outcome) -> tuple[str, ...]:
    """Tell what can be learnt from an outcome whose counts had calibrated noise added."""
    protection = outcome.protection if isinstance(outcome, LikelihoodProfile) else ""
    return (
        f"no count of people, since none in it is a true one ({protection})",
        "whether a person is in the data, with odds changed by a factor of at most exp(epsilon), "
        "and of exp(the sum) by all releases paid from the budget together",
    )


def _of_model(outcome: QuadraticLikelihood, below: int) -> list[str]:
    """Tell which tables of yes/no columns can be read, and which of their groups are small."""
    lines = []
    for table in tables_of(outcome):
        columns = ", ".join(table.names)
        lines.append(f"every group of people by one and by two of these columns: {columns}")
        lines += [
            Finding(ATTACK, cell, people).sentence
            for cell, people in table.cells()
            if 0 < people < below
        ]
        lines += _records(table)
    reading = read(outcome, limit=below)
    if reading.small is not None:
        lines.append(reading.small.sentence)
    return lines


def _records(table: Margins) -> list[str]:
    """Tell whose whole records follow, where there are few people."""
    tables = records_that_fit(table) if table.people <= _RECONSTRUCTED else None
    if not tables:
        return []
    lines = [f"{len(tables)} tables of whole records of all {table.people} people fit"]
    certain = certain_records(tables)
    for pattern, people in list(certain.items())[:_LISTED]:
        words = ", ".join(
            name if bit else f"not {name}" for name, bit in zip(table.names, pattern, strict=True)
        )
        lines.append(f"reconstructed: {people} or more with {words}")
    return lines


def _whatever_its_numbers(outcome: Outcome) -> list[str]:
    if isinstance(outcome, LikelihoodProfile):
        return ["nine points fix the curve: with few events, all of the likelihood that they made"]
    if isinstance(outcome, Counts):
        full = outcome.person_time is None and outcome.events == outcome.total
        return ["everybody in the treated arm had the event"] if full else []
    if isinstance(outcome, Anchor):
        return ["the coefficients: if they were fitted to this site's own patients, their counts"]
    if isinstance(outcome, Moments):
        return ["mean and variance of the values in each arm, exactly"]
    return []

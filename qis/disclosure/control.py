"""The gate: an outcome leaves the site only if no rule keeps it back."""

from dataclasses import dataclass
from os import PathLike
from typing import Final, NoReturn, Self

from blake3 import blake3

from qis.disclosure.attacks import findings
from qis.disclosure.ledger import Emission, EmissionLedger, Subjects
from qis.disclosure.membership import membership_sentences
from qis.disclosure.presets import PRESETS, Preset
from qis.errors import DisclosureError, InputError
from qis.outcomes import (
    Anchor,
    Counts,
    Derived,
    Effect,
    LikelihoodProfile,
    Moments,
    Outcome,
    QuadraticLikelihood,
    Record,
    Retraction,
    Suppressed,
)

_WITHOUT_PATIENTS: Final = (Anchor, Derived, Retraction, Suppressed)
_WAYS_OUT: Final = (
    "Ways out: publish qis.Suppressed, so that others know; wait for more people; pool with "
    "another site before the release; or, in a closed roster under an agreement, a lower preset. "
    "A coarser profile or a rounded estimate is no protection."
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an outsider could learn from an outcome, in words.

    Parameters
    ----------
    refusal
        Why the preset keeps it back; empty if it does not.
    learns
        One sentence for everything that the known attacks find.

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


class Disclosure:
    """Rules that every outcome passes before it leaves, and the memory of what has left.

    Not promised: anonymity. The rules refuse what is known to reveal people; nobody can list what
    an outsider knows already.

    Parameters
    ----------
    rules
        The thresholds.
    ledger
        What was released before. One in memory forgets when the process ends.

    """

    def __init__(self, rules: Preset, *, ledger: EmissionLedger | None = None) -> None:
        self.rules = rules
        self.ledger = EmissionLedger() if ledger is None else ledger

    @classmethod
    def preset(cls, name: str, *, ledger: str | PathLike[str] | None = None) -> Self:
        """The rules of that name: "cms", "acro", "ohdsi", "datashield", "nhs" or "none".

        Parameters
        ----------
        name
            See `qis.disclosure.PRESETS` for thresholds and sources.
        ledger
            File of the emission ledger; `None`: in memory.

        """
        if name not in PRESETS:
            raise InputError(
                f"no preset {name!r:.40}; there are {', '.join(PRESETS)}",
                field="preset",
                actual=name,
                limit=tuple(PRESETS),
            )
        return cls(PRESETS[name], ledger=EmissionLedger(ledger))

    def check(self, outcome: Outcome, *, subjects: Subjects | None = None) -> None:
        """Raise unless the outcome may be released.

        Parameters
        ----------
        outcome
            What is to leave the site.
        subjects
            Whom it is made from (`qis.disclosure.subject_hashes`), to see 1 to 10 people added,
            removed or changed since any former release. Without, the numbers of people are
            compared, which misses one who left when another came.

        Raises
        ------
        DisclosureError
            If a rule keeps it back; `field` names the rule.

        """
        if self.rules.is_off or isinstance(outcome, _WITHOUT_PATIENTS):
            return
        self._check_people(outcome, subjects)
        self._check_cells(outcome)
        self._check_matrix(outcome)
        self._check_rounding(outcome)
        self._check_differences(Emission.of(outcome, subjects, at=0.0))

    def release(self, outcome: Outcome, *, now: float, subjects: Subjects | None = None) -> None:
        """Check, and note the release on disk before it is made.

        Raises
        ------
        DisclosureError
            If a rule keeps it back.
        StorageError
            If it cannot be noted; then it must not be made.

        """
        self.check(outcome, subjects=subjects)
        if not isinstance(outcome, _WITHOUT_PATIENTS):
            self.ledger.note(Emission.of(outcome, subjects, at=now))

    def or_suppressed(self, outcome: Outcome, *, subjects: Subjects | None = None) -> Outcome:
        """The outcome if it may be released, else `Suppressed` in its place.

        Suppression by the number of events selects on the outcome and biases what the others
        pool; rules on the number of people do not.
        """
        try:
            self.check(outcome, subjects=subjects)
        except DisclosureError:
            return Suppressed(
                study_id=outcome.study_id, question=outcome.question, cohort=outcome.cohort
            )
        return outcome

    def preview(self, outcome: Outcome, *, subjects: Subjects | None = None) -> Preview:
        """Run the known attacks on an outcome, and say what they find; refuses nothing."""
        try:
            self.check(outcome, subjects=subjects)
        except DisclosureError as error:
            refusal = str(error)
        else:
            refusal = ""
        found = findings(outcome, below=max(self.rules.minimum_cell, 11))
        learns = [finding.sentence for finding in dict.fromkeys(found)]
        learns += _general(outcome)
        learns += membership_sentences(outcome)
        learns += self._compared(Emission.of(outcome, subjects, at=0.0))
        return Preview(refusal, tuple(learns))

    def _check_people(self, outcome: Outcome, subjects: Subjects | None) -> None:
        n = getattr(outcome, "n", None)
        if subjects is not None:
            if n is not None and n != len(subjects):
                raise InputError(
                    f"the outcome has {n} people, subjects has {len(subjects)}", field="subjects"
                )
            n = len(subjects)
        if isinstance(outcome, Record):
            self._refuse("record", "what a Record holds cannot be checked", None)
        if n is None:
            self._refuse("minimum_n", "the number of people is unknown: give n", None)
        if n < self.rules.minimum_cell:
            self._refuse("minimum_n", f"it is made from {n} people", n)

    def _check_cells(self, outcome: Outcome) -> None:
        for finding in findings(outcome, below=self.rules.minimum_cell):
            if 0 < finding.people < self.rules.minimum_cell:
                shown = finding.attack in ("written", "by subtraction")
                rule = "minimum_cell" if shown else "implied_cell"
                self._refuse(rule, finding.sentence, finding.people)
        if isinstance(outcome, Moments) and 0.0 in (outcome.squares, outcome.control_squares):
            self._refuse("no_variation", "everybody in an arm has the same value", 0)

    def _check_matrix(self, outcome: Outcome) -> None:
        if isinstance(outcome, QuadraticLikelihood):
            size = len(outcome.diagonal)
            least = self.rules.people_per_coefficient * size
            if outcome.n < least:
                self._refuse(
                    "people_per_coefficient",
                    f"{outcome.n} people for {size} coefficients, at least {least} are needed",
                    outcome.n,
                    least,
                )

    def _check_rounding(self, outcome: Outcome) -> None:
        base = self.rules.rounding
        for finding in findings(outcome, below=1) if base > 1 else ():
            if finding.attack == "written" and finding.people % base:
                self._refuse("rounding", f"{finding.sentence} is no multiple of {base}", base, base)

    def _check_differences(self, new: Emission) -> None:
        for former in self.ledger.of_study(new.study_id):
            if former.digest == new.digest:
                continue
            difference = new.difference(former)
            if difference is None:
                if former.cohort == new.cohort:
                    self._compare_numbers(new, former)
                continue
            if former.cohort != new.cohort and not new.overlaps(former):
                continue
            for name, count in difference._asdict().items():
                if 0 < count < self.rules.minimum_cell:
                    self._refuse(
                        "difference",
                        f"it differs by {count} people {name} from what was released for cohort "
                        f"{former.cohort!r}, so subtraction shows them",
                        count,
                    )

    def _compare_numbers(self, new: Emission, former: Emission) -> None:
        if new.n is None or former.n is None:
            self._refuse("difference", "by how many people it differs is unknown", None)
        apart = abs(new.n - former.n)
        if apart == 0 and new.kind != former.kind:
            return  # another summary of the same people, as far as can be told
        if apart < self.rules.minimum_cell:
            self._refuse(
                "difference",
                f"{former.n} people were released, now {new.n}, and who they are was not told "
                "(subjects=)",
                apart,
            )

    def _compared(self, new: Emission) -> list[str]:
        """In words, by whom it differs from what was released before."""
        lines = []
        for former in self.ledger.of_study(new.study_id):
            difference = new.difference(former)
            if difference is not None and (new.overlaps(former) or former.cohort == new.cohort):
                lines.append(
                    f"by comparing with the release for cohort {former.cohort!r}, what "
                    f"{difference.added} added, {difference.removed} removed and "
                    f"{difference.changed} changed people have in sum"
                )
        return lines

    def _refuse(self, rule: str, what: str, actual: object, limit: int | None = None) -> NoReturn:
        least = self.rules.minimum_cell if limit is None else limit
        raise DisclosureError(
            f"{self.rules.name}, rule {rule}: {what}; the limit is {least} "
            f"({self.rules.source}). {_WAYS_OUT}",
            field=rule,
            actual=actual,
            limit=least,
        )


def _general(outcome: Outcome) -> list[str]:
    """What a kind of outcome reveals whatever its numbers."""
    if isinstance(outcome, LikelihoodProfile):
        return ["nine points fix the curve: with few events, all of the likelihood that they made"]
    if isinstance(outcome, Counts):
        full = outcome.person_time is None and outcome.events == outcome.total
        return ["everybody in the treated arm had the event"] if full else []
    if isinstance(outcome, Moments):
        return ["mean and variance of the values in each arm, exactly"]
    if isinstance(outcome, Effect) and outcome.n is None:
        return ["no table can be searched for without n; who knows n can"]
    return []

"""The gate: an outcome leaves the site only if no rule keeps it back."""

from os import PathLike
from typing import Any, Final, Self

from qis.about import Interest
from qis.disclosure.about_rules import check_people_behind, check_secret
from qis.disclosure.attacks import findings
from qis.disclosure.differences import check_differences, compared
from qis.disclosure.ledger import Emission, EmissionLedger, Subjects
from qis.disclosure.presets import PRESETS, Preset
from qis.disclosure.preview import Preview, learnt_from
from qis.disclosure.refusal import refuse
from qis.errors import DisclosureError, InputError
from qis.fingerprint.scheme import Scheme
from qis.outcomes import (
    Anchor,
    Derived,
    Moments,
    Outcome,
    QuadraticLikelihood,
    Record,
    Retraction,
    Suppressed,
)

_WITHOUT_PATIENTS: Final = (Anchor, Derived, Retraction, Suppressed)
_ABOUT_NOBODY: Final = (Anchor, Derived, Retraction)


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
        new = Emission.of(outcome, subjects, at=0.0)
        check_differences(self.rules, new, self.ledger.of_study(outcome.study_id))

    def check_about(
        self,
        outcome: Outcome,
        scheme: Scheme[Any],
        *,
        people: int | None = None,
        leaves_machine: bool,
    ) -> None:
        """Raise unless the fingerprint that goes with an outcome may be released.

        A fingerprint is no less about people than the outcome is: it is made from their features.

        Parameters
        ----------
        outcome
            What it goes with.
        scheme
            What it is made with.
        people
            How many people's features it is made from; 0: nobody's, it describes the study or a
            disease. Default: the people of the outcome, and nobody for an `Anchor`, a `Derived`
            or a `Retraction`. A `Suppressed` or a `Record` says how many.
        leaves_machine
            Whether the transport carries it beyond this machine.

        Raises
        ------
        DisclosureError
            If it is made from too few people, or without a scheme secret and would leave the
            machine.

        """
        if self.rules.is_off:
            return
        if people is None:
            people = 0 if isinstance(outcome, _ABOUT_NOBODY) else getattr(outcome, "n", None)
        check_people_behind(self.rules, "fingerprint", people)
        if leaves_machine:
            check_secret(self.rules, "fingerprint", scheme)

    def check_interest(
        self,
        interest: Interest,
        scheme: Scheme[Any],
        *,
        people: int | None = None,
        leaves_machine: bool,
    ) -> None:
        """Raise unless an interest may be registered at other nodes.

        Parameters
        ----------
        interest
            What is to be registered: its routing keys, and its sketch if it is shared. One of
            studies only says nothing about people.
        scheme, leaves_machine
            As for `check_about`. On this machine nothing is registered elsewhere.
        people
            How many people's features it is made from; 0: nobody's, it describes a study or a
            disease.

        Raises
        ------
        DisclosureError
            As `check_about`, and if the number of people is not told.

        """
        silent = not interest.routing_keys and not interest.share_sketch
        if self.rules.is_off or silent or not leaves_machine:
            return
        check_people_behind(self.rules, "interest", people)
        check_secret(self.rules, "interest", scheme)

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
        learns = learnt_from(outcome, below=max(self.rules.minimum_cell, 11))
        new = Emission.of(outcome, subjects, at=0.0)
        learns += compared(new, self.ledger.of_study(outcome.study_id))
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
            refuse(self.rules, "record", "what a Record holds cannot be checked", None)
        if n is None:
            refuse(self.rules, "minimum_n", "the number of people is unknown: give n", None)
        if n < self.rules.minimum_cell:
            refuse(self.rules, "minimum_n", f"it is made from {n} people", n)

    def _check_cells(self, outcome: Outcome) -> None:
        for finding in findings(outcome, below=self.rules.minimum_cell):
            if 0 < finding.people < self.rules.minimum_cell:
                shown = finding.attack in ("written", "by subtraction")
                rule = "minimum_cell" if shown else "implied_cell"
                refuse(self.rules, rule, finding.sentence, finding.people)
        if isinstance(outcome, Moments) and 0.0 in (outcome.squares, outcome.control_squares):
            refuse(self.rules, "no_variation", "everybody in an arm has the same value", 0)

    def _check_matrix(self, outcome: Outcome) -> None:
        if isinstance(outcome, QuadraticLikelihood):
            size = len(outcome.diagonal)
            least = self.rules.people_per_coefficient * size
            if outcome.n < least:
                refuse(
                    self.rules,
                    "people_per_coefficient",
                    f"{outcome.n} people for {size} coefficients, at least {least} are needed",
                    outcome.n,
                    limit=least,
                )

    def _check_rounding(self, outcome: Outcome) -> None:
        base = self.rules.rounding
        for finding in findings(outcome, below=1) if base > 1 else ():
            if finding.attack == "written" and finding.people % base:
                what = f"{finding.sentence} is no multiple of {base}"
                refuse(self.rules, "rounding", what, base, limit=base)

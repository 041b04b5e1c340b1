"""The gate: an outcome leaves the site only if no rule keeps it back."""

from collections.abc import Iterable
from datetime import date
from os import PathLike
from typing import Final, Self

from qis._gate import checked
from qis.account import Account
from qis.disclosure.about_gate import AboutGate
from qis.disclosure.answers import check_answers, not_searched_together, told_by_answers
from qis.disclosure.any_formula import with_people
from qis.disclosure.budget import PrivacyBudget
from qis.disclosure.dates import check_date, days_of
from qis.disclosure.differences import check_differences, compared
from qis.disclosure.identifiers import (
    PATTERNS,
    Patterns,
    sentences,
    warn_of_identifiers,
)
from qis.disclosure.ledger import Emission, EmissionLedger, Subjects
from qis.disclosure.outcome_rules import check_outcome
from qis.disclosure.presets import PRESETS, Preset
from qis.disclosure.preview import Preview, learnt_from, learnt_from_noise
from qis.disclosure.refusal import refuse
from qis.disclosure.unsearched import not_searched
from qis.errors import DisclosureError, InputError
from qis.evidence.roster import Roster
from qis.outcomes import Anchor, Derived, Outcome, Retraction, Suppressed

_WITHOUT_PATIENTS: Final = (Anchor, Derived, Retraction, Suppressed)


class Disclosure(AboutGate):
    """Disclosure rules that every outcome must pass, with the record of what was released.

    Anonymity is not promised. The rules refuse what is known to reveal people; nobody can list all
    that an outsider knows already.

    Parameters
    ----------
    rules
        The thresholds.
    ledger
        Record of former releases. By default it is in memory, and forgotten when the process
        ends.
    budget
        Privacy budget. Outcomes that were paid from it (`qis.disclosure.private_counts`) pass
        whatever the thresholds are.
    agreement
        Name of the agreement by which the parties chose lower thresholds, for the record. It is
        valid with a closed roster only (`check_roster`).
    release_dates
        Days (UTC) on which rounded totals may move, if the preset rounds: the night on which one
        moves tells the exact total. Declare them beforehand, far apart; on other days a new version
        of what was released is refused, and a first release is not.
    identifiers
        Patterns of texts that are warned of in question and cohort
        (`qis.disclosure.identifiers.PATTERNS`); an empty mapping turns it off.

    Examples
    --------
    >>> import qis
    >>> disclosure = qis.Disclosure.preset("cms")
    >>> small = qis.Counts(question="q", events=3, total=40)
    >>> disclosure.preview(small).refusal != ""  # 3 people of 40 are too few to be shown
    True

    """

    @checked
    def __init__(
        self,
        rules: Preset,
        *,
        ledger: EmissionLedger | None = None,
        budget: PrivacyBudget | None = None,
        agreement: str = "",
        release_dates: Iterable[date] = (),
        identifiers: Patterns = PATTERNS,
    ) -> None:
        super().__init__(rules, budget)
        self.ledger = EmissionLedger() if ledger is None else ledger
        self.agreement = agreement
        self.release_dates = days_of(release_dates)
        self.identifiers = identifiers

    @classmethod
    @checked
    def preset(
        cls,
        name: str,
        *,
        ledger: Account | str | PathLike[str] | None = None,
        budget: PrivacyBudget | None = None,
        agreement: str = "",
        roster: Roster | None = None,
        release_dates: Iterable[date] = (),
    ) -> Self:
        """Build it from a preset: "cms", "acro", "ohdsi", "datashield", "nhs" or "none".

        Parameters
        ----------
        name
            See `qis.disclosure.PRESETS` for thresholds and sources.
        ledger
            Account of the emission ledger, or its path; `None` keeps it in memory. A loop with an
            outbox on disk takes it over into the account of its key.
        budget
            Privacy budget. Outcomes that were paid from it pass whatever the thresholds are.
        agreement, roster
            The agreement that allows these rules, and the roster of its parties.
        release_dates
            Days (UTC) on which rounded totals may move, if the preset rounds.

        Raises
        ------
        InputError
            If there is no such preset, or an agreement without a roster.
        DisclosureError
            If the roster is open: nobody knows who the parties are.

        """
        if name not in PRESETS:
            raise InputError(
                f"name is {name!r:.40}, no preset; there are {', '.join(PRESETS)}",
                field="name",
                actual=name,
                limit=tuple(PRESETS),
            )
        gate = cls(
            PRESETS[name],
            ledger=EmissionLedger(ledger),
            budget=budget,
            agreement=agreement,
            release_dates=release_dates,
        )
        if agreement and roster is None:
            raise InputError("an agreement needs the roster of its parties", field="roster")
        if roster is not None:
            gate.check_roster(roster)
        return gate

    @checked
    def check_roster(self, roster: Roster) -> None:
        """Raise `DisclosureError` if the rules rest on an agreement and the roster is open.

        To be called with each roster that is put into force.
        """
        if self.agreement and roster.is_open:
            refuse(
                self.rules,
                "agreement",
                f"{self.agreement!r} binds its parties, and an open roster lets everybody in",
                None,
                ways_out="a roster that lists the parties' keys, or the preset for the public",
            )

    # Part of its public face, though they are in a file of their own.
    check_about = AboutGate.check_about
    check_interest = AboutGate.check_interest

    def close(self) -> None:
        """Close the files of ledger and budget; idempotent."""
        self.ledger.close()
        if self.budget is not None:
            self.budget.close()

    def move_to(self, account: Account) -> None:
        """Keep ledger and budget in this account, which takes over what they hold already."""
        self.ledger.move_to(account)
        if self.budget is not None:
            self.budget.move_to(account)

    @checked
    def check(self, outcome: Outcome, *, subjects: Subjects | None = None) -> None:
        """Raise `DisclosureError` if the outcome must not be released.

        Parameters
        ----------
        outcome
            The outcome that is to leave the site.
        subjects
            Hashes of the people it is made from (`qis.disclosure.subject_hashes`). With them, a few
            people added, removed or changed since any former release are found. Without them only
            numbers of people are compared, which misses one who left when another came.

        Raises
        ------
        DisclosureError
            If a rule keeps it back; `field` names the rule.

        Examples
        --------
        >>> import qis
        >>> small = qis.Counts(question="a | c", events=3, total=20)
        >>> try:
        ...     qis.Disclosure.preset("cms").check(small)
        ... except qis.DisclosureError as refusal:
        ...     print(str(refusal)[:23])
        cms, rule minimum_cell:

        """
        if self.rules.is_off or isinstance(outcome, _WITHOUT_PATIENTS) or self._is_paid(outcome):
            return
        check_outcome(self.rules, outcome, subjects)
        new = Emission.of(outcome, subjects, at=0.0)
        formers = self.ledger.of_question(new)
        check_differences(self.rules, new, formers)
        check_answers(self.rules, outcome, new, formers)

    @checked
    def release(self, outcome: Outcome, *, now: float, subjects: Subjects | None = None) -> None:
        """Check an outcome, and write the release to the ledger before it is made.

        An `IdentifierWarning` tells if question or cohort look as if they named a patient.

        Raises
        ------
        DisclosureError
            If a rule keeps it back, or a rounded total would move on a day that is not declared.
        StorageError
            If the ledger cannot be written; then the release must not be made.

        """
        if isinstance(outcome, _WITHOUT_PATIENTS) or self._is_paid(outcome):
            return
        warn_of_identifiers(outcome, self.identifiers)
        new = Emission.of(outcome, subjects, at=now)
        with self.ledger.writing():
            self.check(outcome, subjects=subjects)
            check_date(self.rules, new, self.ledger.of_study(outcome.study_id), self.release_dates)
            self.ledger.note(new)

    @checked
    def or_suppressed(self, outcome: Outcome, *, subjects: Subjects | None = None) -> Outcome:
        """Return the outcome if it may be released, and a `Suppressed` instead if not.

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

    @checked
    def preview(self, outcome: Outcome, *, subjects: Subjects | None = None) -> Preview:
        """Run the known attacks on an outcome, and tell what they find. It refuses nothing."""
        try:
            self.check(outcome, subjects=subjects)
        except DisclosureError as error:
            refusal = str(error)
        else:
            refusal = ""
        if self._is_paid(outcome):
            return Preview(refusal, learnt_from_noise(outcome))
        learns = sentences(outcome, self.identifiers)
        whole = with_people(outcome, subjects)
        learns += learnt_from(whole, below=max(self.rules.minimum_cell, 11))
        new = Emission.of(outcome, subjects, at=0.0)
        formers = self.ledger.of_question(new)
        learns += [*compared(new, formers), *told_by_answers(outcome, new, formers)]
        untold = not_searched_together(outcome, new, formers)
        learns += [f"not searched: {what}" for what in untold]
        return Preview(refusal, tuple(learns))

    @checked
    def not_searched(
        self, outcome: Outcome, *, subjects: Subjects | None = None
    ) -> tuple[str, ...]:
        """Tell what the rules do not search in an outcome, for the audit log; as a rule nothing.

        Neither in the outcome nor in what it says together with what left before. With something
        not searched an outcome passes if it is of many people only.
        """
        if self.rules.is_off or isinstance(outcome, _WITHOUT_PATIENTS) or self._is_paid(outcome):
            return ()
        new = Emission.of(outcome, subjects, at=0.0)
        alone = not_searched(with_people(outcome, subjects), limit=self.rules.minimum_cell)
        return (*alone, *not_searched_together(outcome, new, self.ledger.of_question(new)))

    def __repr__(self) -> str:
        extras = [
            f"{name}={value!r}"
            for name, value in (("budget", self.budget), ("agreement", self.agreement))
            if value
        ]
        return f"<Disclosure {', '.join((self.rules.name, repr(self.ledger), *extras))}>"

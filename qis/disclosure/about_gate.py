"""The part of the gate that looks at what an outcome is about: fingerprints and interests."""

from typing import Any, Final

from qis._gate import checked
from qis.about import Interest
from qis.disclosure.about_rules import check_people_behind, check_secret
from qis.disclosure.budget import PrivacyBudget
from qis.disclosure.presets import Preset
from qis.fingerprint.scheme import Scheme
from qis.outcomes import Outcome, Record, Suppressed

_OF_UNTOLD: Final = (Record, Suppressed)


class AboutGate:
    """Rules on fingerprints and interests, which are made from the features of people.

    Parameters
    ----------
    rules
        The thresholds.
    budget
        Privacy budget, if there is one.

    """

    def __init__(self, rules: Preset, budget: PrivacyBudget | None) -> None:
        self.rules = rules
        self.budget = budget

    @checked
    def check_about(
        self,
        outcome: Outcome,
        scheme: Scheme[Any],
        *,
        people: int | None = None,
        leaves_machine: bool,
    ) -> None:
        """Raise `DisclosureError` if the fingerprint of an outcome must not be released.

        A fingerprint is about people as the outcome is, since it is made from their features. As a
        rule they are the same people, and then `check` has counted them.

        Parameters
        ----------
        outcome
            The outcome that the fingerprint describes.
        scheme
            The scheme that made the fingerprint.
        people
            Number of people whose features it is made from; 0 if it describes the study or a
            disease and nobody's features. By default the people of the outcome. It must be given
            where those are too few or not known: with a `Suppressed`, a `Record`, or counts with
            calibrated noise.
        leaves_machine
            True if the transport carries it beyond this machine.

        Raises
        ------
        DisclosureError
            If it is made from too few people, or without a scheme secret and would leave the
            machine.

        """
        if self.rules.is_off:
            return
        if people is not None or isinstance(outcome, _OF_UNTOLD) or self._is_paid(outcome):
            check_people_behind(self.rules, "fingerprint", people)
        if leaves_machine:
            check_secret(self.rules, "fingerprint", scheme)

    @checked
    def check_interest(
        self,
        interest: Interest,
        scheme: Scheme[Any],
        *,
        people: int | None = None,
        leaves_machine: bool,
    ) -> None:
        """Raise `DisclosureError` if an interest must not be registered at other nodes.

        Parameters
        ----------
        interest
            The interest. Its routing keys are registered, and its sketch if that is shared. An
            interest in studies only says nothing about people.
        scheme
            The scheme that made its fingerprint.
        people
            Number of people whose features it is made from; 0 if it describes a study or a disease
            and nobody's features.
        leaves_machine
            True if the transport goes beyond this machine; else nothing is registered elsewhere.

        Raises
        ------
        DisclosureError
            If it is made from too few people or their number is not given, or it is made without a
            scheme secret.

        """
        silent = not interest.routing_keys and not interest.share_sketch
        if self.rules.is_off or silent or not leaves_machine:
            return
        check_people_behind(self.rules, "interest", people)
        check_secret(self.rules, "interest", scheme)

    def _is_paid(self, outcome: Outcome) -> bool:
        return self.budget is not None and self.budget.covers(outcome)

"""Rules on fingerprints and interests: one patient's terms are a disclosure.

A sketch travels with every packet, and an interest's keys are registered at other nodes. Of an
unkeyed term sketch everybody can read the terms, of an unkeyed SimHash most (docs/fingerprints.md);
with a secret only those can who have it. So two questions are asked: of how many people, and
readable by whom.
"""

from typing import Any, Final

from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse
from qis.fingerprint.scheme import Scheme

_FEW: Final = (
    "make it from the features of more people; describe the study or the disease instead of "
    "patients, and say so with people=0; or, with the patients' consent in a closed roster under "
    "an agreement, a lower preset"
)
_UNKEYED: Final = (
    "make the scheme with secret=, 32 random bytes that the consortium shares; or, where the "
    "features may be known to everybody, dataclasses.replace(preset, keyed_schemes=False)"
)


def check_people_behind(rules: Preset, what: str, people: int | None) -> None:
    """Raise `DisclosureError` unless a fingerprint or an interest is of enough people or nobody."""
    if people is None:
        found = f"of how many people the {what} is made was not told: give people="
        refuse(rules, what, found, None, ways_out=_FEW)
    if 0 < people < rules.minimum_cell:
        found = f"the {what} is made from the features of {people} people"
        refuse(rules, what, found, people, ways_out=_FEW)


def check_secret(rules: Preset, what: str, scheme: Scheme[Any]) -> None:
    """Raise `DisclosureError` unless only those who share a secret can read it."""
    if rules.keyed_schemes and not scheme.is_keyed:
        found = (
            f"the {what} would leave this machine, and its scheme has no secret, so that anybody "
            "can test guesses of the features"
        )
        refuse(rules, "secret", found, None, limit=32, ways_out=_UNKEYED)

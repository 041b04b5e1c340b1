"""Rules on fingerprints and interests: one patient's terms are a disclosure.

A sketch travels with every packet, and an interest's keys are registered at other nodes. Anybody
can read the terms from a term sketch without a secret, and most of them from a SimHash without one
(docs/fingerprints.md); with a secret, only those who have it can. So there are two rules: one on
the number of people behind a fingerprint, one on who can read it.
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
    """Raise `DisclosureError` if a fingerprint or an interest is made from too few people.

    0 means that it describes nobody, and passes; `None`, that nobody told, and is refused.
    """
    if people is None:
        found = f"of how many people the {what} is made was not told: give people="
        refuse(rules, what, found, None, ways_out=_FEW)
    if 0 < people < rules.minimum_cell:
        found = f"the {what} is made from the features of {people} people"
        refuse(rules, what, found, people, ways_out=_FEW)


def check_secret(rules: Preset, what: str, scheme: Scheme[Any]) -> None:
    """Raise `DisclosureError` if the preset asks for a scheme secret and there is none."""
    if rules.keyed_schemes and not scheme.is_keyed:
        found = (
            f"the {what} would leave this machine, and its scheme has no secret, so that anybody "
            "can test guesses of the features"
        )
        refuse(rules, "secret", found, None, limit=32, ways_out=_UNKEYED)

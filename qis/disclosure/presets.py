"""Presets: thresholds that authorities and networks have set, with their sources."""

from dataclasses import dataclass
from typing import Final

from qis._given import instance, real_number, truth_value, whole_number

LARGEST_CELL: Final = 1_000
"""The largest `Preset.minimum_cell`: all smaller cells are searched for one by one."""
_LARGEST: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Thresholds of disclosure control.

    Parameters
    ----------
    name
        Its key in `PRESETS`.
    minimum_cell
        Smallest count of people above zero that may be written in an outcome or follow from it,
        at most 1,000.
        Also the smallest number of people of an outcome, and the number of people by which two
        releases must differ. 0 turns all rules off.
    rounding
        Every count that is written must be a multiple of this.
    people_per_coefficient
        Smallest number of people for each coefficient of a matrix.
    keyed_schemes
        True if fingerprints and interests that leave the machine need a scheme with a secret.
    dominance_p
        In means, all people but the two with the largest values must have at least this part of
        the largest value in sum (the p % rule); 0 turns it off.
    dominance_two
        Largest share of the sum that the two largest values may have (the n, k rule with n = 2); 1
        turns it off. Both are ACRO's, with its defaults, under all presets.
    source
        Who set the cell threshold.

    Examples
    --------
    >>> from qis.disclosure import PRESETS, Preset
    >>> PRESETS["cms"].minimum_cell
    11
    >>> Preset(name="ours", minimum_cell=20, source="our data protection officer").rounding
    1

    """

    name: str
    minimum_cell: int
    rounding: int = 1
    people_per_coefficient: int = 5
    keyed_schemes: bool = True
    dominance_p: float = 0.1
    dominance_two: float = 0.9
    source: str

    def __post_init__(self) -> None:
        for field, low, high in (
            ("minimum_cell", 0, LARGEST_CELL),
            ("rounding", 1, _LARGEST),
            ("people_per_coefficient", 0, _LARGEST),
        ):
            number = whole_number(getattr(self, field), field, low, high)
            object.__setattr__(self, field, number)
        for field in ("name", "source"):
            instance(getattr(self, field), field, str)
        truth_value(self.keyed_schemes, "keyed_schemes")
        for field in ("dominance_p", "dominance_two"):
            share = real_number(getattr(self, field), field, 0.0, 1.0)
            object.__setattr__(self, field, share)

    @property
    def is_off(self) -> bool:
        """True if nothing is checked."""
        return self.minimum_cell == 0


_ALL: Final = (
    Preset(
        name="cms",
        minimum_cell=11,
        source="CMS cell size suppression policy (ResDAC): no cell of 1 to 10, shown or derivable",
    ),
    Preset(
        name="acro",
        minimum_cell=10,
        source="ACRO / SACRO (UK safe-research facilities): default threshold of 10",
    ),
    Preset(
        name="ohdsi",
        minimum_cell=5,
        source="OHDSI network studies: minimum cell count 5 by default in their packages",
    ),
    Preset(
        name="datashield",
        minimum_cell=3,
        source="DataSHIELD: nfilter.tab = 3",
    ),
    Preset(
        name="nhs",
        minimum_cell=8,
        rounding=5,
        source="NHS Digital, Hospital Episode Statistics: 1 to 7 suppressed, others rounded to 5",
    ),
    Preset(
        name="none",
        minimum_cell=0,
        people_per_coefficient=0,
        keyed_schemes=False,
        source="nobody: for data that are public already, or under an agreement; say so and log it",
    ),
)

PRESETS: Final = {preset.name: preset for preset in _ALL}
"""Every preset of disclosure control, by its name."""

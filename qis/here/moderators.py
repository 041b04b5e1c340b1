"""How alike sites are by their declared moderators, and the columns that slopes belong to.

Each moderator's similarity is one whose part above chance is positive semidefinite: for numbers
``1 - |x - y|`` over the range, at chance ½, since ``½ - |x - y|`` is half the integral of
``sign(x - t) sign(y - t)``; for m categories equality, at chance 1/m. Weighted means keep that, so
that the result may be raised to any power (`qis.here.kernel`). A value that is not known is as like
any other as chance makes it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qis.here.kernel import Likeness
from qis.outcomes import Outcome
from qis.outcomes.moderators import MISSING, STEPS, Moderator

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]


def likeness_of_moderators(moderators: Sequence[Moderator], codes: Codes) -> Likeness | None:
    """How alike k sites are; `None` if no moderator has a weight.

    Parameters
    ----------
    moderators
        As the study declares them.
    codes
        Shape (k, q): a row for each site.

    """
    total = sum(moderator.weight for moderator in moderators)
    if total == 0.0:
        return None
    above, chance = np.zeros((len(codes), len(codes))), 0.0
    for moderator, column in zip(moderators, codes.T, strict=True):
        part = moderator.weight / total
        least = 0.5 if moderator.is_number else 1.0 / len(moderator.categories)
        if moderator.is_number:
            x = column / STEPS
            alike = 1.0 - 2.0 * np.abs(x[:, np.newaxis] - x)
        else:
            alike = ((column[:, np.newaxis] == column) - least) / (1.0 - least)
        unknown = column == MISSING
        alike[unknown] = 0.0
        alike[:, unknown] = 0.0
        above += part * (1.0 - least) * alike
        chance += part * least
    above /= 1.0 - chance
    # Where values are not known, less is left of a site's likeness to itself, which stays whole.
    np.fill_diagonal(above, 1.0)
    return Likeness(above_chance=above, chance=chance)


def codes_of(moderators: Sequence[Moderator], outcomes: Sequence[Outcome]) -> bytes:
    """The codes of one site: those of its first outcome that has as many as are declared.

    What others send is not known to fit: other lengths and codes that are none are not known.
    """
    for outcome in outcomes:
        codes = outcome.moderators
        fits = len(codes) == len(moderators) and all(
            code == MISSING or code < moderator.number_of_codes
            for code, moderator in zip(codes, moderators, strict=True)
        )
        if codes and fits:
            return codes
    return bytes([MISSING] * len(moderators))


def columns_of(
    moderators: Sequence[Moderator], codes: Codes, *, all_of_them: bool = False
) -> Floats:
    """Columns for slopes, in standard deviations of an even spread, centred; shape (k, r).

    Parameters
    ----------
    moderators
        As the study declares them.
    codes
        Shape (k, q): a row for each site.
    all_of_them
        True for every moderator, false for those with `slope`.

    """
    columns = []
    for moderator, column in zip(moderators, codes.T, strict=True):
        if not (moderator.slope or all_of_them):
            continue
        known = column != MISSING
        if moderator.is_number:
            columns.append(np.where(known, (column / STEPS - 0.5) * 12.0**0.5, 0.0))
            continue
        least = 1.0 / len(moderator.categories)
        spread = (least * (1.0 - least)) ** 0.5
        columns += [
            np.where(known, ((column == code) - least) / spread, 0.0)
            for code in range(len(moderator.categories))
        ]
    return np.array(columns).T.reshape(len(codes), -1)

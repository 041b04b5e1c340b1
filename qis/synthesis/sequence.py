"""An interval that may be looked at as often as one likes: the normal-mixture confidence sequence.

A 95 % interval holds its coverage for one look planned in advance. Who recomputes it with each
packet that arrives sees it exclude the truth sooner or later. A confidence sequence covers at all
looks together; it pays with about half as much width again, or more.

Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021, section 3.2 (two-sided normal mixture).
It holds for estimates that are normal about one common effect with known standard errors, whose
order of arrival does not depend on what they say. It does not hold for random effects, nor after
an estimate that was used has been withdrawn.
"""

import math
from typing import Final

from qis._gate import checked
from qis.errors import InputError
from qis.synthesis._sites import check_level, check_number, check_scale

_STEPS: Final = 100


@checked
def anytime_interval(
    estimate: float, standard_error: float, *, mixing_scale: float, level: float = 0.95
) -> tuple[float, float]:
    """The confidence sequence's interval at one look.

    Parameters
    ----------
    estimate, standard_error
        The fixed-effect synthesis of all that has arrived (`inverse_variance` with tau2="FE").
    mixing_scale
        Standard deviation of the mixing distribution, in the units of the estimate; to be chosen
        before the first look and the same at all of them. Large values suit early looks, small
        ones late looks; see `mixing_scale_for`.
    level
        Probability that the intervals at all looks cover together.

    Returns
    -------
    (lower, upper)
        ``estimate ± se² sqrt((I + r) log((I + r) / (r alpha²)))`` where ``I = 1 / se²`` and
        ``r = 1 / mixing_scale²``.

    Raises
    ------
    InputError
        If a number is not finite or not positive, or the level outside (0, 1).

    Examples
    --------
    >>> from qis.synthesis import anytime_interval
    >>> low, high = anytime_interval(-0.3, 0.1, mixing_scale=0.5)
    >>> low < -0.3 - 1.96 * 0.1 and high > -0.3 + 1.96 * 0.1
    True

    """
    centre = check_number(estimate, "estimate")
    error = check_scale(standard_error, "standard_error")
    scale = check_scale(mixing_scale, "mixing_scale")
    alpha = 1.0 - check_level(level)
    ratio = scale / error
    if not 1e-100 < ratio < 1e100:
        raise InputError(
            f"mixing_scale {scale:g} does not go with a standard error of {error:g}; it should be "
            "of the size of the effects that matter",
            field="mixing_scale",
            actual=scale,
            limit=(error * 1e-100, error * 1e100),
        )
    # In units of the standard error: I = 1, r = 1 / ratio².
    spread = 1.0 + ratio**-2
    half = error * math.sqrt(spread * (math.log1p(ratio * ratio) - 2.0 * math.log(alpha)))
    return centre - half, centre + half


@checked
def mixing_scale_for(standard_error: float, *, level: float = 0.95) -> float:
    """The `mixing_scale` that makes the interval narrowest once this standard error is reached.

    Parameters
    ----------
    standard_error
        Standard error of the synthesis at which the width matters most, planned in advance.
    level
        Probability that the intervals at all looks cover together, in (0, 1).

    Examples
    --------
    >>> from qis.synthesis import mixing_scale_for
    >>> mixing_scale_for(0.1) > 0.0
    True

    """
    error = check_scale(standard_error, "standard_error")
    target = 1.0 - 2.0 * math.log(1.0 - check_level(level))
    x = target + math.log(target)  # solve x - log x = target for x = 1 + I / r > 1
    for _ in range(_STEPS):
        x -= (x - math.log(x) - target) / (1.0 - 1.0 / x)
    return error * math.sqrt(x - 1.0)

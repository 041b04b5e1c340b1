"""Quantiles and tails: the normal ones from the standard library, the others from scipy."""

import math
from statistics import NormalDist
from typing import Any, Final

from qis.errors import MissingExtraError

NORMAL: Final = NormalDist()


def _distributions() -> Any:
    try:
        from scipy import special  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError as error:
        raise MissingExtraError(
            "quantiles of the t and chi-squared distributions need scipy: "
            'pip install "qis-protocol[stats]"',
            field="stats",
        ) from error
    return special


def normal_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return NORMAL.inv_cdf(probability)


def normal_two_sided_p(z: float) -> float:
    """Two-sided p-value of a standard normal z, without loss in the tail."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def t_quantile(probability: float, df: int) -> float:
    """The quantile of Student's t."""
    return float(_distributions().stdtrit(df, probability))


def t_two_sided_p(t: float, df: int) -> float:
    """Two-sided p-value of Student's t."""
    return 2.0 * float(_distributions().stdtr(df, -abs(t)))


def chi2_quantile(probability: float, df: int) -> float:
    """The quantile of the chi-squared distribution."""
    return float(_distributions().chdtri(df, 1.0 - probability))


def chi2_tail(value: float, df: int) -> float:
    """P(chi-squared ≥ value)."""
    return float(_distributions().chdtrc(df, value))

"""Egger's test of whether the imprecise sites say something else than the precise ones.

Egger, Davey Smith, Schneider & Minder 1997, in the form of Sterne & Egger 2005: a weighted
regression of the estimates on their standard errors, whose slope is tested with k - 2 degrees of
freedom. A slope has many causes besides unpublished results; with fewer than ten sites the test
has hardly any power.
"""

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from qis._gate import checked
from qis.errors import InputError
from qis.picture.html import HasTable
from qis.synthesis._quantiles import t_two_sided_p
from qis.synthesis._sites import check_sites, total


@dataclass(frozen=True, slots=True, kw_only=True)
class EggerTest(HasTable):
    """The result of `egger_test`.

    Parameters
    ----------
    slope
        Change of the estimate per unit of its standard error.
    standard_error
        Standard error of `slope`, with the residual variance estimated.
    limit
        The estimate as the standard error goes to zero.
    df
        Degrees of freedom, k - 2.

    Examples
    --------
    >>> from qis.synthesis import egger_test
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> 0.0 < egger_test(estimates, standard_errors).pval < 1.0
    True

    """

    slope: float
    standard_error: float
    limit: float
    df: int

    @property
    def t(self) -> float:
        """`slope` over its standard error."""
        return self.slope / self.standard_error

    @property
    def pval(self) -> float:
        """Two-sided p-value of a slope of zero."""
        return t_two_sided_p(self.t, self.df)


@checked
def egger_test(estimates: ArrayLike, standard_errors: ArrayLike) -> EggerTest:
    """Test whether the estimates depend on their standard errors.

    Parameters
    ----------
    estimates, standard_errors
        Shape (k,), one of each a site, three sites or more; logarithms for ratio measures.

    Raises
    ------
    InputError
        With fewer than three sites, if all standard errors are equal, or if the estimates lie on
        one line exactly.

    Examples
    --------
    >>> from qis.synthesis import egger_test
    >>> estimates, standard_errors = [0.1, 0.3, -0.2, 0.4, 0.2], [0.1, 0.2, 0.15, 0.3, 0.25]
    >>> egger_test(estimates, standard_errors).df
    3

    """
    sites = check_sites(estimates, standard_errors)
    if sites.k < 3:
        raise InputError(
            f"Egger's test needs three sites or more; there are {sites.k}",
            field="estimates",
            actual=sites.k,
            limit=3,
        )
    y, x = sites.estimates, sites.variances**0.5
    weights = 1.0 / sites.variances
    sum1 = total(weights)
    x_mean, y_mean = total(weights * x) / sum1, total(weights * y) / sum1
    dx, dy = x - x_mean, y - y_mean
    sxx = total(weights * dx * dx)
    # sxx / k is the squared relative spread of the standard errors: under 1e-10 they are equal.
    if sxx <= 1e-20 * sites.k:
        raise InputError(
            "all standard errors are equal, so no trend over them can be seen",
            field="standard_errors",
            actual=float(x[0]) * sites.scale,
        )
    slope = total(weights * dx * dy) / sxx
    residual = total(weights * (dy - slope * dx) ** 2) / (sites.k - 2)
    if residual == 0.0:
        raise InputError("the estimates lie on one line exactly", field="estimates")
    return EggerTest(
        slope=slope,
        standard_error=math.sqrt(residual / sxx),
        limit=(y_mean - slope * x_mean) * sites.scale,
        df=sites.k - 2,
    )

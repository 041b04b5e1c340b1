"""Do sites differ by more than chance? The likelihood-ratio statistic, its p-value and I².

Q is twice the sum of the sites' largest log-likelihoods less the largest sum. For normal estimates
that is Cochran's Q; for whole likelihoods it needs no estimate and no correction, so sites without
a finite estimate count too. Sites without information do not: they are no degree of freedom.

I² (Higgins & Thompson 2002) is a share of the scatter of estimates, so that every site must have a
finite one. Neither says how much sites differ: tau and the prediction interval do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from blake3 import blake3

from qis._given import byte_string, several
from qis.errors import InputError
from qis.outcomes import Moments, Outcome
from qis.picture.html import HasTable
from qis.synthesis._pooled_curve import maximum_of
from qis.synthesis._quantiles import chi2_tail
from qis.synthesis._simulated_q import DRAWS, arms_of, simulated_p
from qis.synthesis.currency import Likelihood, Poolable, check_poolable, is_informative

_FEWEST_PEOPLE: Final = 50
"""Means of fewer people than this in an arm do not make Q chi-squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heterogeneity(HasTable):
    """How much the sites of a synthesis differ, beside what chance alone would do.

    Parameters
    ----------
    q
        Likelihood-ratio statistic, not negative; `None` with fewer than two informative sites.
    df
        Degrees of freedom: the informative sites less one.
    p_value
        Probability of a Q as large or larger if all sites had one effect; `None` where it cannot be
        told, for the reason `no_p_value`.
    method
        "chi-squared", or "monte carlo" where some arm of some site expects fewer than 5 events (or
        people without an event): the share of simulated values, the one seen included.
    draws
        How many were simulated; 0 by chi-squared. The draws are seeded by the outcomes, so that all
        who hold them get the same p, whatever the sites are called.
    i2
        I² in per cent, 0 to 100: how much of the scatter is not chance; `None` for the reason
        `no_i2`.

    Examples
    --------
    >>> import qis
    >>> named = {"question": "q", "measure": "OR", "standard_error": 0.2}
    >>> effects = [qis.Effect(**named, estimate=x) for x in (0.1, 0.9)]
    >>> found = qis.synthesise(effects, model="fixed").heterogeneity
    >>> found.df, round(found.q, 1), round(found.p_value, 3)
    (1, 8.0, 0.005)

    """

    q: float | None
    df: int
    p_value: float | None
    method: Literal["chi-squared", "monte carlo"] = "chi-squared"
    draws: int = 0
    i2: float | None = None
    no_p_value: str = ""
    no_i2: str = ""

    def __str__(self) -> str:
        if self.q is None:
            return f"Heterogeneity: cannot be told, {self.no_p_value}."
        if self.p_value is None:
            p = f"no p-value ({self.no_p_value})"
        else:
            how = f" (by {self.draws:,} simulations)" if self.draws else ""
            p = f"p {'< 0.001' if self.p_value < 0.001 else f'= {self.p_value:.3f}'}{how}"
        i2 = f"no I² ({self.no_i2})" if self.i2 is None else f"I² {self.i2:.0f} %"
        return f"Heterogeneity: likelihood-ratio Q {self.q:.2f} on {self.df} df, {p}, {i2}."


def heterogeneity_of(
    sites: Sequence[Poolable | Sequence[Poolable]], *, seed: bytes = b""
) -> Heterogeneity:
    """Compare the sites' own likelihoods with the common one.

    Parameters
    ----------
    sites
        Outcomes of one study and measure, one a site; or several a site, of disjoint people, as a
        sequence. Their order changes nothing.
    seed
        Of the simulation, where one is needed; default: a hash of the outcomes.

    Raises
    ------
    InputError
        If there is no outcome, or one has no log-likelihood.
    IncompatibleEvidenceError
        If studies or measures differ.

    Examples
    --------
    >>> import qis
    >>> tables = [(14, 131, 14, 136), (3, 38, 9, 40), (22, 90, 11, 88)]
    >>> sites = [
    ...     qis.Counts(question="q", events=a, total=n, control_events=c, control_total=m)
    ...     for a, n, c, m in tables
    ... ]
    >>> found = heterogeneity_of(sites)
    >>> round(found.q, 2), found.df, found.method
    (7.07, 2, 'chi-squared')

    """
    seed = byte_string(seed, "seed")
    grouped: list[list[Any]] = [
        [site] if isinstance(site, Outcome) else several(site, "sites", "outcomes")
        for site in several(sites, "sites", "outcomes, or of lists of them")
    ]
    outcomes: list[Poolable] = [outcome for site in grouped for outcome in site]
    check_poolable(outcomes)
    if any(not site for site in grouped):
        raise InputError("a site has no outcome", field="sites")
    says = [[outcome for outcome in site if is_informative(outcome)] for site in grouped]
    # By content, so that neither order nor names change a draw.
    informative = sorted(
        (sorted(site, key=lambda outcome: outcome.encoded()) for site in says if site),
        key=lambda site: [outcome.encoded() for outcome in site],
    )
    df = len(informative) - 1
    if df < 1:
        known = "no site is" if df < 0 else "one site only is"
        reason = f"{known} informative"
        return Heterogeneity(q=None, df=max(df, 0), p_value=None, no_p_value=reason, no_i2=reason)
    parts = [Likelihood.of(site) for site in informative]
    # In units in which numbers are neither large nor small; 1 for all but means.
    origin, unit = Likelihood.sum(parts).frame
    parts = [part.moved(origin, unit) for part in parts]
    own = [maximum_of(part) for part in parts]
    whole = Likelihood.sum(parts)
    theta, _ = maximum_of(whole)
    q = _statistic(parts, own, theta)
    i2, no_i2 = _i2(q, df, [argmax for argmax, _ in own])
    if not math.isfinite(theta):
        reason = "all sites favour ever larger, or ever smaller, values"
        return Heterogeneity(q=q, df=df, p_value=None, i2=i2, no_p_value=reason, no_i2=no_i2)
    if any(_has_few_people(outcome) for site in informative for outcome in site):
        reason = f"a mean is of fewer than {_FEWEST_PEOPLE} people, so that Q is not chi-squared"
        return Heterogeneity(q=q, df=df, p_value=None, i2=i2, no_p_value=reason, no_i2=no_i2)
    counts = not any(isinstance(outcome, Moments) for site in informative for outcome in site)
    if counts and any(arms.expects_few for part in parts for arms in arms_of(part, theta)):
        if not seed:
            encoded = b"".join(outcome.encoded() for site in informative for outcome in site)
            seed = blake3(encoded).digest()
        return Heterogeneity(
            q=q,
            df=df,
            p_value=simulated_p(parts, theta, q, seed),
            method="monte carlo",
            draws=DRAWS,
            i2=i2,
            no_i2=no_i2,
        )
    return Heterogeneity(q=q, df=df, p_value=chi2_tail(q, df), i2=i2, no_i2=no_i2)


def _statistic(
    parts: Sequence[Likelihood], own: Sequence[tuple[float, float]], theta: float
) -> float:
    """Twice the sum of what each site loses by the common value."""
    lost = []
    for part, (_, height) in zip(parts, own, strict=True):
        limit = part.limits[0 if theta < 0.0 else 1]
        at = _at(part, theta) if math.isfinite(theta) else limit
        lost.append(height - at)
    return max(2.0 * math.fsum(lost), 0.0)


def _at(part: Likelihood, theta: float) -> float:
    return float(part.value(np.array([theta]))[0])


def _i2(q: float, df: int, estimates: Sequence[float]) -> tuple[float | None, str]:
    without = sum(not math.isfinite(estimate) for estimate in estimates)
    if without:
        return None, f"{without} of {df + 1} informative sites have no finite estimate"
    return (100.0 * max(q - df, 0.0) / q if q > 0.0 else 0.0), ""


def _has_few_people(outcome: Poolable) -> bool:
    if not isinstance(outcome, Moments):
        return False
    arms = [n for n in (outcome.total, outcome.control_total) if n is not None]
    return min(arms) < _FEWEST_PEOPLE

"""Subgroups of a forest plot: what each says by itself, and whether they differ."""

import math
from typing import TYPE_CHECKING

from qis.synthesis._quantiles import chi2_tail
from qis.synthesis.likelihood_ratio import heterogeneity_of
from qis.synthesis.profiles import PooledProfiles, pool_sites

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qis.synthesis.result import Synthesis
    from qis.synthesis.site_result import SiteResult


def pooled_group(synthesis: "Synthesis", members: "Sequence[SiteResult]") -> PooledProfiles | None:
    """What a subgroup says under the chosen model; `None` of a single site, which is its row."""
    if len(members) < 2 or synthesis.chosen is None:
        return None
    return pool_sites(
        [site.outcomes for site in members],
        measure=synthesis.chosen.measure,
        tau_scale=synthesis.tau_scale if synthesis.model == "random" else None,
        mean_scale=synthesis.mean_scale,
        level=synthesis.level,
    )


def between_groups(synthesis: "Synthesis", members_of: "Mapping[str, Sequence[SiteResult]]") -> str:
    """Whether two subgroups or more differ, in words.

    With a fixed effect in each subgroup this is the likelihood ratio of one effect against one
    for each. With random effects each subgroup has a tau of its own, and the subtotals are
    compared as normal estimates (Borenstein et al. 2009, chapter 19).
    """
    if synthesis.model == "fixed":
        found = heterogeneity_of(
            [[o for site in sites for o in site.outcomes] for sites in members_of.values()]
        )
        if found.q is None:
            return f"Between subgroups: not tested, as {found.no_p_value}."
        how = f" (by {found.draws:,} simulations)" if found.draws else ""
        p = f"no p-value ({found.no_p_value})" if found.p_value is None else _p(found.p_value)
        return f"Between subgroups: likelihood-ratio Q {found.q:.2f} on {found.df} df, {p}{how}."
    pooled = {name: pooled_group(synthesis, sites) for name, sites in members_of.items()}
    estimates: list[float] = []
    weights: list[float] = []
    taus: list[str] = []
    for name, result in pooled.items():
        if result is None:
            return f"Between subgroups: not tested, as {name!r} has one site, which shows no tau."
        if result.estimate is None or not result.standard_error or result.tau is None:
            return f"Between subgroups: not tested, as {name!r} has no estimate."
        estimates.append(result.estimate)
        weights.append(1.0 / result.standard_error**2)
        taus.append(f"{name} {result.tau:.2f}")
    mean = math.fsum(w * y for w, y in zip(weights, estimates, strict=True)) / math.fsum(weights)
    q = math.fsum(w * (y - mean) ** 2 for w, y in zip(weights, estimates, strict=True))
    df = len(estimates) - 1
    return (
        f"Between subgroups: Q {q:.2f} on {df} df, {_p(chi2_tail(q, df))} (subtotals taken as "
        f"normal; tau within: {', '.join(taus)})."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"

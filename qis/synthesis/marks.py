"""Marks on pooled results: what a reader must know before believing a number."""

from enum import StrEnum


class Mark(StrEnum):
    """A reason for caution about a pooled result, each also in words in its `note`.

    Examples
    --------
    >>> from qis.synthesis import Mark
    >>> Mark.EXTRAPOLATED.value
    'extrapolated'

    """

    EXTRAPOLATED = "extrapolated"
    """A pooled value lies where a site's curve was not sampled, and could be wrong by more than a
    hundredth of its standard error for that."""
    INTERPOLATED = "interpolated"
    """So many sites sent profiles that what nine points lose, of one sign at sites that are alike,
    could add up to more than a hundredth of the standard error of all."""
    PRIOR_DOMINATED = "prior_dominated"
    """How sites differ is known from the prior only, and with it the width of the interval."""
    FEW_SITES = "few_sites"
    """Two to four informative sites tell so little of how sites differ that the prior has a large
    share in the width of the interval; `prior_share` says how large."""
    PRIOR_CONTRADICTED = "prior_contradicted"
    """The sites differ more than the prior on tau allows for: with a probability over one quarter
    tau exceeds the prior's 90 % point. `under_twice_the_scale` is the answer under a wider one."""


SENTENCES = {
    Mark.EXTRAPOLATED: (
        "Extrapolated: the sites differ so much that a pooled value lies where a site's curve was "
        "not sampled; ask the sites for Counts, whose likelihood is exact, or use random effects."
    ),
    Mark.INTERPOLATED: (
        "Interpolated: what nine points lose of each site's curve adds up, over so many sites, to "
        "more than a hundredth of the standard error; ask the sites for Counts, whose likelihood "
        "is exact."
    ),
    Mark.PRIOR_DOMINATED: (
        "Prior-dominated: one informative site tells nothing of how sites differ, so the width of "
        "this interval comes from the prior on tau; that site's own is the fixed model's."
    ),
    Mark.FEW_SITES: (
        "Few sites: with {sites} that are informative, {share:.0%} of what is said of how sites "
        "differ, and with it of the interval's width, is the prior on tau."
    ),
    Mark.PRIOR_CONTRADICTED: (
        "The sites differ more than the prior on tau allows for: tau exceeds the prior's 90 % "
        "point, {point:.3g}, with probability {beyond:.0%}."
    ),
}
"""Each mark in words."""

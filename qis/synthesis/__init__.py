"""Synthesis: what the sites' outcomes say together."""

from qis.synthesis.absolute import AbsoluteEffect, absolute_effect
from qis.synthesis.asymmetry import EggerTest, egger_test
from qis.synthesis.bayesian import Marginal, Posterior, bayes
from qis.synthesis.counts_pooling import PooledCounts, mantel_haenszel, peto
from qis.synthesis.gathering import LeftOut
from qis.synthesis.heavy_tailed import HeavyTailed, heavy_tailed
from qis.synthesis.kept import KeptSites
from qis.synthesis.likelihood_ratio import Heterogeneity, heterogeneity_of
from qis.synthesis.marks import Mark
from qis.synthesis.normal_pooling import Pooled, inverse_variance
from qis.synthesis.profiles import PooledProfiles, pool_profiles
from qis.synthesis.quadratics import CombinedQuadratics, combine_quadratics, next_anchor
from qis.synthesis.result import Synthesis
from qis.synthesis.robust import (
    InfluenceTable,
    MedianEstimate,
    SiteInfluence,
    influence,
    weighted_median,
)
from qis.synthesis.sequence import anytime_interval, mixing_scale_for
from qis.synthesis.shrinkage import Shrunken, shrink
from qis.synthesis.site_answer import Quantiles, Similarity, SiteAnswer, SiteWeight
from qis.synthesis.site_result import Reach, SiteResult
from qis.synthesis.synthesising import synthesise
from qis.synthesis.tipping import TippingPoints, tipping_points

__all__ = [
    "AbsoluteEffect",
    "CombinedQuadratics",
    "EggerTest",
    "HeavyTailed",
    "Heterogeneity",
    "InfluenceTable",
    "KeptSites",
    "LeftOut",
    "Marginal",
    "Mark",
    "MedianEstimate",
    "Pooled",
    "PooledCounts",
    "PooledProfiles",
    "Posterior",
    "Quantiles",
    "Reach",
    "Shrunken",
    "Similarity",
    "SiteAnswer",
    "SiteInfluence",
    "SiteResult",
    "SiteWeight",
    "Synthesis",
    "TippingPoints",
    "absolute_effect",
    "anytime_interval",
    "bayes",
    "combine_quadratics",
    "egger_test",
    "heavy_tailed",
    "heterogeneity_of",
    "influence",
    "inverse_variance",
    "mantel_haenszel",
    "mixing_scale_for",
    "next_anchor",
    "peto",
    "pool_profiles",
    "shrink",
    "synthesise",
    "tipping_points",
    "weighted_median",
]

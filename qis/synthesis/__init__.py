"""Synthesis: what the sites' outcomes say together."""

from qis.synthesis.asymmetry import EggerTest, egger_test
from qis.synthesis.bayes import Marginal, Posterior, bayes
from qis.synthesis.inverse_variance import Pooled, inverse_variance

__all__ = [
    "EggerTest",
    "Marginal",
    "Pooled",
    "Posterior",
    "bayes",
    "egger_test",
    "inverse_variance",
]

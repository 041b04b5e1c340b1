"""Models that sites fit together: expansions add up to coefficients, and say how far they are."""

from qis.models.expansion import Expansion
from qis.models.fitted import FittedModel, ModelSite
from qis.models.fitting import fit_model
from qis.models.heterogeneity import CoefficientQ, SiteCoefficient
from qis.models.own import OwnFit
from qis.models.ridge import Ridge, ridge_of
from qis.models.rows import ModelRows, StudyRows

__all__ = [
    "CoefficientQ",
    "Expansion",
    "FittedModel",
    "ModelRows",
    "ModelSite",
    "OwnFit",
    "Ridge",
    "SiteCoefficient",
    "StudyRows",
    "fit_model",
    "ridge_of",
]

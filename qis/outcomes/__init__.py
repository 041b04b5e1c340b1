"""Outcomes: what a site distils from its own data, in one of ten kinds."""

from qis.outcomes._base import Outcome
from qis.outcomes.effect import Effect
from qis.outcomes.measures import MEASURES, Measure, measure_named
from qis.outcomes.study import Study

__all__ = ["MEASURES", "Effect", "Measure", "Outcome", "Study", "measure_named"]

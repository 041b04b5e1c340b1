"""How wide the panels may be on which log-marginals are computed, and where they lie."""

import math
from typing import Final

import numpy as np

from qis.outcomes._means import MeanDifferences, Means
from qis.synthesis.lattice import Panel
from qis.synthesis.together import FactTable

WIDEST: Final = 1
"""Panels are at most two to this power wide where log-likelihoods bend: the likelihoods of counts
have their nearest singularities at a distance of pi."""
_ERRORS: Final = 8.0
"""Nor wider than so many of the smallest standard errors: curves that were sampled at nine
points are cubics piece by piece, which one polynomial over many errors does not follow."""


class Bends:
    """Where the log-likelihoods bend, and so how wide a panel may be.

    A panel is at most twice as wide as the distance to the nearest singularity. That of a mean's
    likelihood is at its centre, off the real line by the standard deviation of one person; those of
    all others are pi off the real line, and none is beyond the span. Rates fall exponentially above
    theirs, where panels stay narrow.

    Parameters
    ----------
    facts
        What is known of each site.
    sharpest
        The most precise site's standard error, or a smallest tau that matters.

    """

    def __init__(self, facts: FactTable, sharpest: float) -> None:
        self._low, self._high = float(facts.spans[:, 0].min()), float(facts.spans[:, 1].max())
        self._lows = self._highs = np.array([])
        widths = []
        for each in facts.rows if "mean" in facts.kinds else ():
            rows = each.likelihood.exact
            if isinstance(rows, Means):
                widths.append((rows.mean, np.sqrt(rows.ss / rows.people)))
            elif isinstance(rows, MeanDifferences):
                arms = np.minimum(rows.ss / rows.people, rows.control_ss / rows.control_people)
                widths.append((rows.difference, np.sqrt(arms)))
        self._have_peaks = bool(widths)
        if widths:
            self._lows = self._highs = np.concatenate([centre for centre, _ in widths])
            self._widths = np.concatenate([width for _, width in widths])
            self._low, self._high = float(self._lows.min()), float(self._highs.max())
        else:
            self._lows, self._highs = np.array([self._low]), np.array([self._high])
            self._widths = np.array([min(math.ldexp(1.0, WIDEST), _ERRORS * sharpest)])
            if "rate" in facts.kinds:
                # A rate's log-likelihood falls as exp(theta) above its span, and is never straight.
                self._lows, self._highs = (
                    np.append(self._lows, self._high),
                    np.append(self._highs, np.inf),
                )
                self._widths = np.append(self._widths, math.ldexp(1.0, WIDEST))

    def _are_resolved(self, panel: Panel) -> bool:
        low, high = panel.ends
        apart = np.maximum(np.maximum(self._lows - high, low - self._highs), 0.0)
        return bool((high - low <= np.maximum(apart, self._widths)).all())

    def first(self) -> Panel:
        """A panel in the middle."""
        return self.about((self._low + self._high) / 2.0)

    def about(self, value: float) -> Panel:
        """A panel with this value in it, not at its upper end."""
        exponent = math.frexp(float(self._widths.max()))[1] + 1
        while not self._are_resolved(found := panel_at(exponent, value)):
            exponent -= 1
        return found

    def widest(self, end: float, side: int) -> Panel:
        """The widest panel on a side of the end of another one."""
        exponent = math.frexp(self._high - self._low + abs(end) + float(self._widths.max()))[1] + 1
        while True:
            index = math.ldexp(end, -exponent)
            if index == math.floor(index):
                found = Panel(exponent, int(index) - (side < 0))
                if self._are_resolved(found):
                    return found
            exponent -= 1

    def are_within(self, panel: Panel, side: int) -> bool:
        """True if there is no peak beyond the panel; only likelihoods of means have several."""
        if not self._have_peaks:
            return True
        low, high = panel.ends
        return high >= self._high if side > 0 else low <= self._low


def panel_at(exponent: int, value: float) -> Panel:
    """The panel of this width with this value in it, not at its upper end."""
    return Panel(exponent, math.floor(math.ldexp(value, -exponent)))

"""About where a sum of very many log-likelihoods is largest, and where it has dropped."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.synthesis.lattice import Panel, mean_matrix
from qis.synthesis.panels import WIDEST, panel_at
from qis.synthesis.totals import SummedMarginals

Floats = NDArray[np.float64]

_LEVEL_FROM: Final = 8.0
"""Beyond the ends by this a curve's bend is over: exp(-8) of it is left."""
_ZOOMS: Final = 2
_POINTS: Final = 257


def rough_crossings(sums: SummedMarginals, spans: Floats, drops: Floats) -> Floats | None:
    """About where the summed log-likelihood is largest, and where it has dropped from there.

    `drops` are 0, for the maximum, and then by turns those below and above it; `None` if it has no
    maximum, or has not dropped so far where curves no longer bend.
    """
    low, high = float(spans[:, 0].min()) - _LEVEL_FROM, float(spans[:, 1].max())
    panels = [panel_at(WIDEST, float(np.median(spans.sum(axis=1))) / 2.0)]
    levels = [sums.level(panels[0])]
    for side in (-1, 1):
        while True:
            at, values = panels[-(side > 0)], levels[-(side > 0)]
            outer, inner = (values[-1], values[-2]) if side > 0 else (values[0], values[1])
            top = max(float(level.max()) for level in levels)
            if outer < inner and outer < top - drops.max() - 1.0:
                break
            if not low < at.ends[0] or not at.ends[1] < high + _LEVEL_FROM:
                return None
            further = Panel(WIDEST, at.offset + side)
            panels.insert(len(panels) if side > 0 else 0, further)
            levels.insert(len(levels) if side > 0 else 0, sums.level(further))
    joined = np.concatenate(levels)
    start, end = panels[0].ends[0], panels[-1].ends[1]

    def heights(theta: Floats) -> Floats:
        found: Floats = mean_matrix(panels, theta) @ joined
        return found

    theta = np.linspace(start, end, _POINTS)
    found = heights(theta)
    for _ in range(_ZOOMS):
        inside = np.flatnonzero(found > found.max() - drops.max() - 1.0)
        ends = theta[max(inside[0] - 1, 0)], theta[min(inside[-1] + 1, _POINTS - 1)]
        theta = np.linspace(*ends, _POINTS)
        found = heights(theta)
    best = int(found.argmax())
    top = found[best]
    sides = found[best::-1], found[best:]
    ways = theta[best::-1], theta[best:]
    # Beside the maximum the values fall.
    crossings = [
        np.interp(drop, top - np.minimum.accumulate(sides[k % 2]), ways[k % 2])
        for k, drop in enumerate(drops[1:].tolist())
    ]
    return np.array([theta[best], *crossings])

"""How a model does on a site's own rows; it is computed at home and stays there."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.models.prediction import is_recalibrated, without_intercept
from qis.models.rows import StudyRows
from qis.outcomes._regression import intercept_of
from qis.picture.html import HasTable

Floats = NDArray[np.float64]

_MOST_STEPS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFit(HasTable):
    """A model beside the rows of one site. Its coefficients were fitted to these rows too.

    Parameters
    ----------
    n
        People.
    intercept
        The site's own, of predictions and where the model has none in common; else 0.
    auc
        Logistic: share of pairs of a person with and one without event in which the first has the
        higher prediction. Cox: the same of pairs whose order is known (Harrell's C). `None` in
        other families, and without a pair.
    observed, expected
        Events (or the sum of responses) that happened and that the model expects; `expected` is
        `None` in Cox's model.
    slope
        Calibration slope: the coefficient of the linear predictor in a regression of its own on
        these rows; 1 is perfect, below it predictions are too extreme. `None` in Cox's model and
        where it has no finite estimate.
    log_loss
        Minus the mean log-likelihood of a person, logistic and Poisson; else `None`.

    """

    n: int
    intercept: float
    auc: float | None
    observed: float
    expected: float | None
    slope: float | None
    log_loss: float | None

    def __str__(self) -> str:
        parts = [f"{self.n} people"]
        if self.auc is not None:
            parts.append(f"AUC {self.auc:.3f}")
        if self.expected is not None:
            parts.append(f"observed {self.observed:.6g}, expected {self.expected:.6g}")
        if self.slope is not None:
            parts.append(f"calibration slope {self.slope:.2f}")
        return "On this site's own rows, which took part in the fit: " + ", ".join(parts) + "."


def own_fit(rows: StudyRows, point: Floats) -> OwnFit:
    """Judge coefficients by a site's own rows."""
    family, y = rows.study.family, rows.y
    if is_recalibrated(rows.study):
        point = without_intercept(rows.study, point)
    eta = rows.design @ point
    exposure = np.ones(rows.n)
    if rows.rows.exposure is not None:
        exposure = np.asarray(rows.rows.exposure, dtype=np.float64)
    intercept = 0.0
    if is_recalibrated(rows.study):
        intercept = _own_intercept(family, eta, y, exposure)
    eta = eta + intercept
    if family == "cox":
        events = np.asarray(rows.rows.events, dtype=np.float64)
        return OwnFit(
            n=rows.n,
            intercept=0.0,
            auc=_concordance(eta, y, events),
            observed=float(events.sum()),
            expected=None,
            slope=None,
            log_loss=None,
        )
    mean = _mean(family, eta, exposure)
    log_loss = None
    if family == "logistic":
        log_loss = float(np.logaddexp(0.0, np.where(y > 0.0, -eta, eta)).mean())
    elif family == "poisson":
        constant = sum(math.lgamma(count + 1.0) for count in y.tolist()) / rows.n
        log_loss = float((mean - y * np.log(mean)).mean()) + constant
    return OwnFit(
        n=rows.n,
        intercept=intercept,
        auc=_area(eta, y) if family == "logistic" else None,
        observed=float(y.sum()),
        expected=float(mean.sum()),
        slope=_slope(family, eta, y, exposure),
        log_loss=log_loss,
    )


def _mean(family: str, eta: Floats, exposure: Floats) -> Floats:
    if family == "logistic":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * eta)))
    if family == "poisson":
        return np.asarray(exposure * np.exp(np.clip(eta, -700.0, 700.0)))
    return eta


def _own_intercept(family: str, eta: Floats, y: Floats, exposure: Floats) -> float:
    if family == "logistic":
        events = float(y.sum())
        if 0.0 < events < len(y):
            return intercept_of(eta, y)
        # Nobody, or everybody: half a person of the other kind, since no finite one fits.
        share = (events + 0.5) / (len(y) + 1.0)
        return math.log(share / (1.0 - share)) - float(eta.mean())
    if family == "poisson":
        total = float((exposure * np.exp(np.clip(eta, -700.0, 700.0))).sum())
        return math.log((float(y.sum()) or 0.5) / total)
    return float((y - eta).mean())


def _area(eta: Floats, labels: Floats) -> float | None:
    cases, rest = np.sort(eta[labels > 0.0]), np.sort(eta[labels == 0.0])
    if not len(cases) or not len(rest):
        return None
    below = np.searchsorted(rest, cases, "left") + np.searchsorted(rest, cases, "right")
    return float(below.mean()) / (2.0 * len(rest))


def _concordance(eta: Floats, times: Floats, events: Floats) -> float | None:
    """Harrell's C: of pairs of which one had the event while the other was still observed."""
    right, pairs = 0.0, 0
    for one in np.flatnonzero(events > 0.0):
        later = (times > times[one]) | ((times == times[one]) & (events == 0.0))
        pairs += int(later.sum())
        right += float((eta[one] > eta[later]).sum()) + 0.5 * float((eta[one] == eta[later]).sum())
    return right / pairs if pairs else None


def _slope(family: str, eta: Floats, y: Floats, exposure: Floats) -> float | None:
    """The coefficient of the linear predictor, beside an intercept, by Newton's method."""
    spread = float(np.ptp(eta))
    if spread <= 1e-9:
        return None
    x = np.column_stack((np.ones(len(eta)), (eta - eta.mean()) / spread))
    at = np.array([float(eta.mean()), spread])
    for _ in range(_MOST_STEPS):
        mean = _mean(family, x @ at, exposure)
        weight = np.ones(len(y))
        if family == "logistic":
            weight = mean * (1.0 - mean)
        elif family == "poisson":
            weight = mean
        information = x.T @ (weight[:, np.newaxis] * x)
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, x.T @ (y - mean))
        largest = float(np.abs(x @ step).max())
        at = at + step * min(1.0, 2.0 / max(largest, 1e-300)) if family != "linear" else at + step
        if largest < 1e-9 * max(1.0, float(np.abs(at).max())):
            return float(at[1]) / spread
    return None

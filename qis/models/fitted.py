"""A model that sites have fitted together, and how far its expansions are from it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import matrix
from qis._data_frame import data_frame
from qis._gate import checked
from qis._given import real_number
from qis.errors import InputError, NoEstimateError
from qis.models.expansion import Expansion
from qis.models.heterogeneity import CoefficientQ, SiteCoefficient, by_site, coefficient_at
from qis.models.own import OwnFit
from qis.models.prediction import predicted
from qis.models.words import explained, summarised
from qis.outcomes import Study
from qis.picture import Picture
from qis.picture.html import grid_of, with_table
from qis.synthesis import LeftOut
from qis.synthesis._quantiles import normal_quantile

Floats = NDArray[np.float64]
ModelCode = Literal["empty", "undetermined", "separated", "converged", "not_converged"]

_ROUNDING: Final = 1e-3
"""Numbers of 16 bits are off by less than this, relative to how far an anchor is."""
FARTHEST: Final = 0.25
"""A site's own standard errors that its anchor may be from the point of a converged model.

Its own, since what its expansion leaves out moves the pooled point by the square of that distance:
measured in pooled ones, small sites spent their answers for a thousandth of a standard error.
"""
LARGEST_STEP: Final = 0.0125
"""Gain in log-likelihood that may be left in a converged model, of all sites together.

The error of the point is up to this times the largest change of a linear predictor by a standard
error, which is below 1: with 0.05 a model of 32 people was called converged 0.02 SE off.
"""


def gain_of(point: Floats, expansion: Expansion) -> float:
    """Gain in log-likelihood that these people promise of moving from their anchor to a point.

    Half the squared length of the move in their own standard errors. A linear model is quadratic,
    so that only the rounding of the numbers is left of the move: less than a thousandth.
    """
    move = point - expansion.anchor
    gain = 0.5 * float(move @ expansion.information @ move)
    return gain * _ROUNDING**2 if expansion.outcome.model == "linear" else gain


@with_table
class ModelSite(NamedTuple):
    """What one site has in a model."""

    name: str
    n: int
    events: int | None
    distance: float
    """How far its anchor is from the pooled coefficients, in its own standard errors."""
    step: float
    """Gain in log-likelihood that its people promise of moving from its anchor to there."""
    without: float | None
    """Standard errors by which the worst coefficient would move without it; `None` if the others
    do not determine the coefficients."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedModel:
    """Coefficients of a model study, and whether they are those of the pooled data.

    Parameters
    ----------
    study
        The study, of kind "model".
    point
        Where the summed expansions (and the prior) are largest, shape (p,): the next anchor of
        every site. `None` if the data do not determine it.
    point_covariance
        Inverse of the summed information (with the prior), shape (p, p).
    information, natural
        Sums of H and of s + H a, without any prior, shapes (p, p) and (p,).
    precision
        Of the ridge, for predictions: on features standardised as the study declares.
    expansions
        What counts, sorted.
    sites
        What each site has in it, sorted by name.
    left_out
        Packets that do not count, with the reason.
    silent
        Names of enrolled sites of which nothing came.
    heterogeneity
        Cochran's Q of each coefficient.
    separation
        Names of coefficients that have no finite estimate, as the data are separated there.
    is_suspected
        True if `separation` is a suspicion: outcomes are told apart almost perfectly, and the next
        step promises as much as is left at all.
    untested
        Names of coefficients of which the sums do not tell whether they are separated.
    undetermined
        Why there is no point, in words; empty if there is one.
    own
        How the model does on this site's own rows, which stay at home; `None` without them.
    level
        Coverage of the intervals.
    digest
        Equal where packets, anchors, roster and study are; empty if outcomes came without packets.

    Examples
    --------
    >>> import qis
    >>> study = qis.Study(
    ...     question="dose | response",
    ...     kind="model",
    ...     family="linear",
    ...     coefficients=("intercept", "dose"),
    ...     purpose="effect",
    ...     residual_variance=1.0,
    ... )
    >>> rows = qis.ModelRows(features=[[0.0], [1.0], [2.0]], responses=[1.0, 3.1, 4.9])
    >>> model = qis.fit_model({"Ulm": rows.for_study(study).answer([0.0, 0.0])}, study=study)
    >>> model
    <FittedModel of 'dose | response', 1 sites, 3 people: converged>
    >>> round(float(model.predict([[3.0]])[0]), 1)
    6.9

    """

    study: Study
    point: Floats | None
    point_covariance: Floats | None
    information: Floats
    natural: Floats
    precision: float | None
    expansions: tuple[Expansion, ...] = field(repr=False)
    sites: tuple[ModelSite, ...]
    left_out: tuple[LeftOut, ...] = field(repr=False)
    silent: tuple[str, ...]
    heterogeneity: tuple[CoefficientQ, ...] = field(repr=False)
    separation: tuple[str, ...]
    is_suspected: bool
    untested: tuple[str, ...]
    undetermined: str
    own: OwnFit | None = None
    level: float = 0.95
    digest: bytes = b""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients, in order."""
        return self.study.coefficients

    @property
    def is_estimable(self) -> bool:
        """True if there is a finite estimate: determined, and not separated without a prior."""
        return self.point is not None and (not self.separation or self.is_penalised)

    @property
    def is_penalised(self) -> bool:
        """True if a prior or a ridge shrinks the coefficients.

        Then intervals are not confidence intervals, since estimates are biased towards zero.
        """
        return bool(self.study.prior) or self.study.purpose == "prediction"

    @property
    def coefficients(self) -> Floats | None:
        """Pooled coefficients, shape (p,); `None` if there is no finite estimate.

        Of predictions, for one declared standard deviation of the feature.
        """
        return self.point if self.is_estimable else None

    @property
    def covariance(self) -> Floats | None:
        """Their covariance, shape (p, p); `None` without estimate."""
        return self.point_covariance if self.is_estimable else None

    @property
    def standard_errors(self) -> Floats | None:
        """Their standard errors, shape (p,); `None` without estimate."""
        if self.covariance is None:
            return None
        errors: Floats = np.sqrt(self.covariance.diagonal())
        return errors

    @property
    def intervals(self) -> Floats | None:
        """Limits of the normal intervals, shape (p, 2); `None` without estimate."""
        errors, point = self.standard_errors, self.coefficients
        if errors is None or point is None:
            return None
        half = normal_quantile(0.5 + 0.5 * self.level) * errors
        return np.column_stack((point - half, point + half))

    @property
    def n(self) -> int:
        """People of all sites that count."""
        return sum(expansion.outcome.n for expansion in self.expansions)

    @property
    def events(self) -> int | None:
        """Events of all sites that count; `None` in linear models."""
        if self.study.family == "linear":
            return None
        return sum(expansion.outcome.events or 0 for expansion in self.expansions)

    @property
    def step(self) -> float | None:
        """Gain in log-likelihood that is expected of moving all anchors to the pooled point.

        With one common anchor half the squared Newton decrement. `None` without point.
        """
        if self.point is None:
            return None
        return math.fsum(site.step for site in self.sites)

    @property
    def distance(self) -> float | None:
        """How far the anchors are from the pooled point together, in pooled standard errors.

        The length of Newton's step: what is left of it to second order, so that the fit is "within
        x SE" of these coefficients. `None` without point.
        """
        return None if self.step is None else math.sqrt(2.0 * self.step)

    @property
    def is_converged(self) -> bool:
        """True if these are the coefficients of the pooled data, as far as the anchors tell.

        No site's anchor is over 0.25 of the site's own standard errors from the pooled point, all
        steps together would gain less than 0.0125 in log-likelihood, and a finite estimate exists.
        """
        if not self.is_estimable or self.step is None:
            return False
        farthest = max((site.distance for site in self.sites), default=0.0)
        return farthest <= FARTHEST and self.step < LARGEST_STEP

    @property
    def log_likelihood(self) -> float | None:
        """Log-likelihood of all sites at the pooled point, to second order; `None` if not told.

        Without prior.
        """
        if self.point is None or not self.expansions:
            return None
        values = [expansion.value(self.point) for expansion in self.expansions]
        return None if None in values else math.fsum(value or 0.0 for value in values)

    @property
    def code(self) -> ModelCode:
        """How far the fit is, in a word for programs."""
        if not self.expansions:
            return "empty"
        if self.point is None:
            return "undetermined"
        if not self.is_estimable:
            return "separated"
        return "converged" if self.is_converged else "not_converged"

    @property
    def state(self) -> str:
        """How far the fit is, in one sentence."""
        match self.code:
            case "empty":
                return "No site's expansion counts."
            case "undetermined":
                return f"Not determined: {self.undetermined}."
            case "separated":
                return (
                    "Separated: the data of all sites together have no finite estimate of "
                    f"{', '.join(self.separation)}. Ways out: leave it out, put levels together, "
                    "or declare a prior in the study (prior='log-F', prior_scale=1, or "
                    "prior='normal')."
                )
            case "converged":
                return "Converged: these are the coefficients of all sites' rows together."
            case "not_converged":
                return (
                    f"Not converged: within {self.distance:.2g} standard errors of the pooled "
                    "fit, to second order; sites go on answering while they have answers left."
                )

    @checked
    def forest(self, name: str) -> tuple[SiteCoefficient, ...]:
        """One coefficient site by site, each with the others as all sites together have them.

        Raises
        ------
        InputError
            If there is no coefficient of this name.
        NoEstimateError
            If the model has no estimate.

        """
        index, point = self._index(name), self._require_point()
        return tuple(
            coefficient_at(index, site, parameters, point)
            for site, parameters in by_site(self.expansions).items()
        )

    @checked
    def forest_plot(
        self, name: str, *, ax: Any = None, unit: str = "", title: str | None = None
    ) -> Picture:
        """Make a forest plot of one coefficient: each site's own, and that of all sites.

        Parameters
        ----------
        name
            The coefficient. Of an intercept the plot shows what is expected of somebody whose
            features are all zero.
        ax
            Axes of matplotlib to draw into. Default: none, as in `qis.Synthesis.forest_plot`.
        unit
            Unit of the response of a linear model.
        title
            Default: question and coefficient.

        Raises
        ------
        InputError
            If there is no coefficient of this name, or an argument is no text.
        NoEstimateError
            If the model has no estimate.
        MissingExtraError
            If `ax` is given and matplotlib is not installed.

        """
        from qis.models.forest import forest_of  # noqa: PLC0415  seldom needed
        from qis.synthesis.forest_picture import forest_picture  # noqa: PLC0415  seldom needed

        picture = forest_picture(forest_of(self, name, title=title, unit=unit))
        if ax is not None:
            picture.draw(ax)
        return picture

    @checked
    def predict(self, features: ArrayLike, *, intercept: float | None = None) -> Floats:
        """Predictions for people: probabilities, rates per unit of exposure, means.

        Of Cox's model the hazard relative to somebody whose features are all zero.

        Parameters
        ----------
        features
            Shape (n, f): the study's features in order (`Study.features`), in their own units,
            without an intercept.
        intercept
            Of the place where they live, where sites have intercepts of their own; default: this
            site's, fitted to its own rows, which are at home.

        Returns
        -------
        float64 of shape (n,).

        Raises
        ------
        NoEstimateError
            If the model has no estimate.
        InputError
            If shapes do not fit, or an intercept is needed and not known.

        """
        rows = matrix(features, "features", booleans=True)
        if intercept is not None:
            intercept = real_number(intercept, "intercept", -1e6, 1e6)
        elif self.own is not None:
            intercept = self.own.intercept
        return predicted(self.study, self._require_point(), rows, intercept)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one row a coefficient: name, estimate, SE, limits, Q of heterogeneity."""
        point, errors, limits = self.coefficients, self.standard_errors, self.intervals
        size = len(self.names)
        none: list[float | None] = [None] * size
        return {
            "coefficient": list(self.names),
            "estimate": none if point is None else point.tolist(),
            "standard_error": none if errors is None else errors.tolist(),
            "lower": none if limits is None else limits[:, 0].tolist(),
            "upper": none if limits is None else limits[:, 1].tolist(),
            "q": [each.q for each in self.heterogeneity] or none,
            "q_df": [each.df for each in self.heterogeneity] or none,
            "q_p": [each.p for each in self.heterogeneity] or none,
        }

    @checked
    def to_frame(self, *, backend: str = "pandas") -> Any:
        """The columns of `to_dict` as a data frame of "pandas", "polars" or "pyarrow".

        Raises
        ------
        InputError
            If the backend is another.
        MissingExtraError
            If the backend is not installed.

        """
        return data_frame(self.to_dict(), backend)

    def summary(self) -> str:
        """The model in words: what it is of, how far it is, each coefficient."""
        return summarised(self)

    def explain(self) -> str:
        """The model site by site: what each has in it, and what does not count and why."""
        return explained(self)

    def seen_from(self, own: OwnFit | None) -> "FittedModel":
        """The same model beside how it does on this site's own rows."""
        return replace(self, own=own)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise InputError(
                f"{name!r:.60} is no coefficient; there are {', '.join(self.names)}", field="name"
            )
        return self.names.index(name)

    def _require_point(self) -> Floats:
        if self.coefficients is None:
            raise NoEstimateError(self.state, field="study")
        return self.coefficients

    def _lines(self) -> Iterator[str]:
        yield from self.summary().splitlines()

    def _repr_html_(self) -> str:
        return grid_of(self.to_dict(), f"{self.study.question}: {self.state}")

    def __repr__(self) -> str:
        return (
            f"<FittedModel of {self.study.question!r}, {len(self.sites)} sites, {self.n} people: "
            f"{self.state.split(':')[0].lower()}>"
        )

"""Meta-regression on a study's declared moderators: `qis.meta_regression`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis._gate import checked
from qis._given import instance
from qis.errors import InputError
from qis.evidence import Review, Roster
from qis.here.evidence import gather_here
from qis.here.moderators import codes_of
from qis.here.regression import Fit, Regressed, fitted, fitted_at
from qis.identity import Issuer
from qis.outcomes import Moderator, Outcome, Study
from qis.outcomes.moderators import MISSING
from qis.packet import Packet
from qis.picture import Picture
from qis.picture.html import HasTable
from qis.synthesis._quantiles import chi2_tail, normal_quantile
from qis.synthesis._sites import check_choice, check_level
from qis.synthesis.common_effect import common_effect
from qis.synthesis.currency import Likelihood, is_informative
from qis.synthesis.profiles import tau_scale_of
from qis.synthesis.tabled import Frame

Floats = NDArray[np.float64]
_INTERCEPT: Final = "intercept"
_LISTED: Final = 5


class Term(NamedTuple):
    """One coefficient.

    Examples
    --------
    >>> from qis.here.meta_regression import Term
    >>> Term("latitude", -0.03, 0.01, (-0.05, -0.01), 0.003).estimate
    -0.03

    """

    name: str
    """The intercept, a moderator, or "moderator: category" against the first category."""
    estimate: float
    """Per unit of the moderator, on the log scale for ratios."""
    standard_error: float
    interval: tuple[float, float]
    p: float
    """Two-sided, of the normal distribution."""


class ModeratorTest(NamedTuple):
    """Whether the effect changes with a moderator; for categories, whether subgroups differ.

    Examples
    --------
    >>> from qis.here.meta_regression import ModeratorTest
    >>> ModeratorTest(statistic=4.0, df=1, p=0.0455).df
    1

    """

    statistic: float
    """Wald's chi-squared."""
    df: int
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaRegression(HasTable):
    """How the effect changes with declared moderators. Made by `qis.meta_regression`.

    Parameters
    ----------
    question, measure, model, method, level
        What was asked.
    terms
        The coefficients, the intercept first.
    tau
        Standard deviation between sites that is left; 0 in the fixed model.
    tests
        By moderator; of categories it is the test of interaction between subgroups.
    sites, left_out
        Names of the sites that count, and of those of which a moderator is not known.

    Examples
    --------
    >>> import qis
    >>> latitude = qis.Moderator(name="latitude", low=0.0, high=60.0)
    >>> study = qis.Study(question="q", measure="OR", model="fixed", moderators=(latitude,))
    >>> sites = [
    ...     qis.Effect(study=study, measure="OR", estimate=y, standard_error=0.1,
    ...                moderators=study.coded({"latitude": x}))
    ...     for x, y in ((0.0, 0.0), (30.0, -0.4), (60.0, -0.8))
    ... ]
    >>> found = qis.meta_regression(sites, study=study)
    >>> [term.name for term in found.terms], round(found.terms[1].estimate, 3)
    (['intercept', 'latitude'], -0.013)

    """

    question: str
    measure: str
    model: str
    method: str
    level: float
    terms: tuple[Term, ...]
    tau: float
    tests: dict[str, ModeratorTest]
    sites: tuple[str, ...]
    left_out: tuple[str, ...]
    _columns: "_Columns" = field(repr=False, compare=False)
    _fit: Fit = field(repr=False, compare=False)
    _own: tuple[tuple[float | None, float | None], ...] = field(repr=False, compare=False)
    _values: tuple[dict[str, float | str | None], ...] = field(repr=False, compare=False)

    @checked
    def predict(self, values: Mapping[str, float | str]) -> Term:
        """The mean effect of sites with these moderators.

        Raises
        ------
        InputError
            If a moderator is missing or out of its limits.

        """
        row = self._columns.row(values)
        return _term("prediction", row, self._fit, self.level)

    @checked
    def bubble_plot(self, moderator: str, *, ax: Any = None) -> Picture:
        """Each site's estimate against a moderator, large where it is precise, and the line.

        Parameters
        ----------
        moderator
            Name of one that is a number; others are held at their mean over the sites, or at their
            first category.
        ax
            Axes of matplotlib to draw in; default: none, the result is a `Picture`.

        Raises
        ------
        InputError
            If there is no such number.

        """
        from qis.here.bubble import bubble_picture  # noqa: PLC0415  it describes this class

        picture = bubble_picture(self, moderator)
        if ax is not None:
            picture.draw(ax)
        return picture


@checked
def meta_regression(
    evidence: Iterable[Packet] | Iterable[Outcome] | Review | Packet | Outcome | Frame,
    *,
    study: Study,
    model: Literal["fixed", "random"] | None = None,
    method: Literal["REML", "ML"] = "REML",
    roster: Roster | None = None,
    names: Mapping[Issuer, str] | Iterable[str] | None = None,
    tau_scale: float | None = None,
    level: float = 0.95,
    now: float | datetime | None = None,
    monitor: bool = False,
) -> MetaRegression:
    """How the effect changes with the moderators that a study declares, over whole likelihoods.

    For normal likelihoods it is metafor's ``rma(mods=)``; sites without events need no correction.
    With few sites, or several moderators, slopes are chance: `qis.for_site` uses moderators more
    safely.

    Parameters
    ----------
    evidence
        What the store has of the study, or packets, outcomes, or a table: see `qis.synthesise`.
    study
        The study with its moderators.
    model
        "fixed": moderators explain all that differs; "random": sites vary about that. Default: the
        study's.
    method
        Of tau in the random model: restricted likelihood, or likelihood.
    roster, names
        With plain packets: who is believed and which keys are one site's, or names of sites.
    tau_scale
        How large tau may plausibly be (looked for up to 20 times that); default: the study's, then
        0.5 where the measure has no units.
    level
        Coverage of the intervals, in (0, 1).
    now
        Unix seconds, or a `datetime` with a zone, by which embargo and validity are judged.
    monitor
        True for a monitoring role, which an embargo does not bind.

    Raises
    ------
    InputError
        If the study declares no moderators, or too few sites are left.
    NoEstimateError
        If no finite coefficients are the most likely ones.
    EmbargoError
        If the study hides its numbers.

    Examples
    --------
    >>> import qis
    >>> latitude = qis.Moderator(name="latitude", low=0.0, high=60.0)
    >>> study = qis.Study(question="q", measure="OR", model="fixed", moderators=(latitude,))
    >>> sites = [
    ...     qis.Effect(study=study, measure="OR", estimate=y, standard_error=0.1,
    ...                moderators=study.coded({"latitude": x}))
    ...     for x, y in ((0.0, 0.0), (30.0, -0.4), (60.0, -0.8))
    ... ]
    >>> round(qis.meta_regression(sites, study=study).predict({"latitude": 60.0}).estimate, 2)
    -0.8

    """
    instance(study, "study", Study, "Study(question=…, moderators=…)")
    level = check_level(level)
    check_choice(method, "method", ("REML", "ML"))
    chosen = model or study.model
    check_choice(chosen, "model", ("fixed", "random"))
    if not study.moderators:
        raise InputError("the study declares no moderators", field="study")
    gathered = gather_here(
        evidence, study=study, roster=roster, names=names, now=now, monitor=monitor
    )
    kept, codes, left_out = [], [], []
    for site in gathered.sites:
        said = [outcome for outcome in site.outcomes if is_informative(outcome)]
        own = codes_of(study.moderators, site.outcomes)
        if said and MISSING not in own:
            kept.append((site.name, said))
            codes.append(own)
        elif said:
            left_out.append(site.name)
    values = [study.decoded(own) for own in codes]
    columns = _Columns.of(study.moderators, values)
    rows = [columns.row(row) for row in values]
    design = np.array(rows).reshape(len(kept), len(columns.names))
    _require_enough(design, columns, left_out)
    sites = Regressed.of([Likelihood.of(said) for _, said in kept])
    if chosen == "fixed":
        fit = fitted_at(sites, design, 0.0)
    else:
        given = study.tau_scale if tau_scale is None else tau_scale
        scale = tau_scale_of(kept[0][1][0].measure, given)
        fit = fitted(sites, design, scale=scale, method=method)
    alone = [common_effect(said, level) for _, said in kept]
    return MetaRegression(
        question=gathered.question,
        measure=kept[0][1][0].measure,
        model=str(chosen),
        method=method,
        level=level,
        terms=tuple(
            _term(name, row, fit, level)
            for name, row in zip(columns.names, np.eye(len(columns.names)), strict=True)
        ),
        tau=fit.tau,
        tests={name: _test(fit, which) for name, which in columns.of_moderators().items()},
        sites=tuple(name for name, _ in kept),
        left_out=tuple(left_out),
        _columns=columns,
        _fit=fit,
        _own=tuple((each.estimate, each.standard_error) for each in alone),
        _values=tuple(values),
    )


def _require_enough(design: Floats, columns: "_Columns", left_out: Sequence[str]) -> None:
    needed = len(columns.names)
    rank = int(np.linalg.matrix_rank(design)) if design.size else 0
    if len(design) <= needed or rank < needed:
        missing = (
            f"; a moderator of {', '.join(left_out[:_LISTED])} is not known" if left_out else ""
        )
        raise InputError(
            f"{len(design)} sites for {needed} coefficients ({', '.join(columns.names)}), of which "
            f"{rank} can be told apart: more sites are needed, or fewer moderators{missing}",
            field="evidence",
            actual=len(design),
            limit=needed + 1,
        )


@dataclass(frozen=True, slots=True)
class _Columns:
    """From values of moderators to a row of the design."""

    moderators: tuple[Moderator, ...]
    categories: dict[str, tuple[str, ...]]
    """Those that occur, in the order in which they are declared."""
    names: tuple[str, ...]

    @classmethod
    def of(cls, moderators: tuple[Moderator, ...], rows: Sequence[Mapping[str, Any]]) -> "_Columns":
        names, categories = [_INTERCEPT], {}
        for moderator in moderators:
            if moderator.is_number:
                names.append(moderator.name)
                continue
            seen = {row[moderator.name] for row in rows}
            known = tuple(each for each in moderator.categories if each in seen)
            categories[moderator.name] = known
            names += [f"{moderator.name}: {each}" for each in known[1:]]
        return cls(moderators, categories, tuple(names))

    def row(self, values: Mapping[str, Any]) -> Floats:
        found = [1.0]
        for moderator in self.moderators:
            value = values.get(moderator.name)
            moderator.code(value)  # checks it
            if value is None:
                raise InputError(f"the moderator {moderator.name!r} is missing", field="values")
            if moderator.is_number:
                found.append(float(value))
                continue
            known = self.categories[moderator.name]
            if value not in known:
                raise InputError(
                    f"no site has {moderator.name} {value!r}: there are {', '.join(known)}",
                    field="values",
                    actual=value,
                    limit=known,
                )
            found += [float(value == each) for each in known[1:]]
        return np.array(found)

    def of_moderators(self) -> dict[str, list[int]]:
        """Numbers of each moderator's columns, of those that have any."""
        found: dict[str, list[int]] = {}
        at = 1
        for moderator in self.moderators:
            count = 1 if moderator.is_number else len(self.categories[moderator.name]) - 1
            if count:
                found[moderator.name] = list(range(at, at + count))
            at += count
        return found


def _term(name: str, row: Floats, fit: Fit, level: float) -> Term:
    estimate = float(row @ fit.coefficients)
    error = float(row @ fit.covariance @ row) ** 0.5
    half = normal_quantile(0.5 + level / 2.0) * error
    p = chi2_tail((estimate / error) ** 2, 1.0)
    return Term(name, estimate, error, (estimate - half, estimate + half), p)


def _test(fit: Fit, which: list[int]) -> ModeratorTest:
    part = fit.coefficients[which]
    statistic = float(part @ np.linalg.solve(fit.covariance[np.ix_(which, which)], part))
    return ModeratorTest(statistic, len(which), chi2_tail(statistic, float(len(which))))

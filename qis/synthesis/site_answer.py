"""The answer for one site: what the evidence of all says of its own effect, and what moved it."""

from dataclasses import dataclass
from math import exp, log
from typing import Any, Final, NamedTuple

from qis._data_frame import data_frame
from qis._gate import checked
from qis._given import truth_value
from qis.outcomes import measure_named
from qis.picture.html import paragraphs_of, with_table
from qis.synthesis.answers import Interval
from qis.synthesis.scale import Scale

DECIDES: Final = 8
"""With fewer sites the data cannot show whether likeness matters: the prior decides."""
_STRONG: Final = 10.0
_SOME: Final = 3.0


@with_table
class Quantiles(NamedTuple):
    """A posterior of the site's own effect, on the log scale for ratios.

    Examples
    --------
    >>> from qis.synthesis import Quantiles
    >>> limits = {"interval": (-1.96, 1.96), "middle_half": (-0.67, 0.67)}
    >>> Quantiles(mean=0.0, sd=1.0, median=0.0, **limits).sd
    1.0

    """

    mean: float
    sd: float
    median: float
    interval: Interval
    """The central interval of the level that was asked for."""
    middle_half: Interval
    """The quartiles."""


@with_table
class SiteWeight(NamedTuple):
    """How much another site counts in the answer.

    Examples
    --------
    >>> from qis.synthesis import SiteWeight
    >>> SiteWeight(name="Ulm", weight=0.2, similarity=0.9).name
    'Ulm'

    """

    name: str
    weight: float
    """By how much the answer moves if what that site found moves by 1, averaged over the posterior.
    It may be slightly negative."""
    similarity: float | None
    """Similarity to the site that asks, in [0, 1]; `None` if it is not known."""


@with_table
class Similarity(NamedTuple):
    """What the data of all sites say on whether like sites have like effects.

    Examples
    --------
    >>> from qis.synthesis import Similarity
    >>> Similarity(bayes_factor=12.0, sites=20, source="sketches").word
    'strong'

    """

    bayes_factor: float | None
    """For some share of likeness in the variance between sites, against none. `None` where there is
    no likeness to judge."""
    sites: int
    """Informative sites, the one that asks included."""
    source: str
    """What likeness was taken from, in words."""

    @property
    def word(self) -> str:
        """One of "strong", "some", "does not say", "against"; "none" if there is no likeness."""
        factor = self.bayes_factor
        if factor is None:
            return "none"
        if factor > _STRONG:
            return "strong"
        if factor > _SOME:
            return "some"
        return "does not say" if factor >= 1.0 / _SOME else "against"

    @property
    def decides(self) -> bool:
        """False below eight sites, where whatever the data say the prior decides."""
        return self.sites >= DECIDES


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SiteAnswer:
    """What the evidence says for one site. Made by `qis.for_site`, and read as `synthesis.here`.

    Parameters
    ----------
    question, measure, level
        What is asked, the measure's name, and the probability inside the intervals.
    answer
        The posterior of the site's own effect, from all evidence and its own.
    alone, alone_interval
        What its own data say alone: where its likelihood is largest (`None` if nowhere or it has no
        data), and the likelihood interval.
    all_alike
        The answer if no site were more like it than another.
    from_others
        What the other sites' data alone say of its effect.
    fit
        How well its own data agree with that: probability of a disagreement as large, in [0, 1];
        `None` without own data.
    similarity
        Evidence for likeness.
    weights
        The five other sites that count most, in descending order.
    own_weight
        How much its own data count, in [0, 1]; what is left is the prior.
    without_largest
        The answer without the first of `weights`; `None` if there is none.
    twice_the_scale
        The answer under twice the prior scale of tau; `None` from eight sites on.
    as_if_patients
        As if so many patients of its own had been seen: its people, times how much narrower the
        answer is than its own data alone (variances); `None` where one of them is not known.
    silent, suppressed
        Enrolled sites of which nothing came; sites that keep an outcome back, the most similar
        first, with their similarity.
    notes
        What is to be known about the numbers, in whole sentences.
    tau_scale, mean_scale
        Scales of the priors, in the measure's units.
    digest
        32 bytes over whose answer it is, the evidence, study, settings and the likeness; empty if
        the evidence was unsigned.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.1, 0.2]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="random")
    >>> own = qis.Effect(study=study, measure="OR", estimate=0.1, standard_error=0.8, n=30)
    >>> here = qis.for_site(table, own, study=study)
    >>> -0.6 < here.answer.mean < 0.0, [weight.name for weight in here.weights]
    (True, ['Ulm', 'Bern'])

    """

    question: str
    measure: str
    level: float
    answer: Quantiles
    alone: float | None
    alone_interval: Interval | None
    all_alike: Quantiles
    from_others: Quantiles
    fit: float | None
    similarity: Similarity
    weights: tuple[SiteWeight, ...]
    own_weight: float
    without_largest: Quantiles | None
    twice_the_scale: Quantiles | None
    as_if_patients: float | None
    silent: tuple[str, ...]
    suppressed: tuple[tuple[str, float | None], ...]
    notes: tuple[str, ...]
    tau_scale: float
    mean_scale: float
    digest: bytes

    @property
    def scale(self) -> Scale:
        """How the measure's values are shown as text."""
        return Scale(measure=self.measure, level=self.level)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one row for each way to answer, in the order in which they are always shown."""
        rows: list[tuple[str, float | None, float | None, float | None]] = [
            _row("answer", self.answer),
            ("own data alone", self.alone, *(self.alone_interval or (None, None))),
            _row("all sites alike", self.all_alike),
            _row("from the others", self.from_others),
        ]
        if self.without_largest is not None:
            rows.append(_row(f"without {self.weights[0].name}", self.without_largest))
        if self.twice_the_scale is not None:
            rows.append(_row("twice the scale of tau", self.twice_the_scale))
        names = ("what", "estimate", "lower", "upper")
        return {
            name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }

    @checked
    def to_frame(self, *, back_transform: bool = False, backend: str = "pandas") -> Any:
        """The columns of `to_dict` as a data frame.

        Parameters
        ----------
        back_transform
            True for ratios and rates instead of their logarithms, proportions in [0, 1].
        backend
            "pandas", "polars" or "pyarrow".

        Raises
        ------
        InputError
            If the backend is another.
        MissingExtraError
            If the backend is not installed.

        """
        columns = self.to_dict()
        if truth_value(back_transform, "back_transform"):
            back = measure_named(self.measure).back
            for name in ("estimate", "lower", "upper"):
                columns[name] = [None if x is None else back(x) for x in columns[name]]
        return data_frame(columns, backend)

    def summary(self) -> str:
        """The answer and everything beside it, in words, always in the same order."""
        from qis.synthesis.site_answer_words import lines_of  # noqa: PLC0415  it describes this class

        return "\n".join(lines_of(self))

    def __repr__(self) -> str:
        numbers = self.scale.numbers(self.answer.median, self.answer.interval)
        return f"<SiteAnswer {self.measure} {numbers}: {self.question!r}>"

    def _repr_html_(self) -> str:
        return paragraphs_of(self.summary())


def _row(what: str, found: Quantiles) -> tuple[str, float, float, float]:
    return what, found.median, *found.interval


def factor_of(log_factor: float | None) -> float | None:
    """A Bayes factor from its logarithm, within what float64 can show."""
    return None if log_factor is None else exp(min(max(log_factor, -_MOST), _MOST))


_MOST: Final = log(1e300)

"""The result of a synthesis: both models' answers, who is in it, who is not, and why."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from qis._data_frame import data_frame
from qis._gate import checked
from qis._given import truth_value
from qis.errors import InputError
from qis.outcomes import Study, measure_named
from qis.picture import Picture
from qis.synthesis.answers import Interval
from qis.synthesis.gathering import LeftOut
from qis.synthesis.kept import KeptSites
from qis.synthesis.likelihood_ratio import Heterogeneity, heterogeneity_of
from qis.synthesis.marks import Mark
from qis.synthesis.profiles import Model, PooledProfiles, pool_sites
from qis.synthesis.scale import Scale
from qis.synthesis.shares import shares
from qis.synthesis.site_answer import SiteAnswer
from qis.synthesis.site_result import Reach, SiteResult
from qis.synthesis.tipping import TippingPoints, missing_sites, tipping_points


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Synthesis:
    """What the evidence of one study says. Made by `synthesise`; equal evidence, equal `digest`.

    Parameters
    ----------
    study_id, question
        Id and question of the study.
    study
        The study itself, where it was given.
    measure
        A name from `qis.outcomes.MEASURES`; `None` if there is nothing to pool.
    model
        Which of the two is the study's; `estimate`, `interval` and so on are this one's.
    method
        "exact-likelihood".
    fixed, random
        Both models' results. `random` is `None` where the measure has units and no scale for tau
        was given, where a derived packet counts, or nothing does.
    tau_scale, mean_scale
        Scale of the random model's prior on tau, and standard deviation of its prior on the mean,
        in the measure's units; with `mean_scale` `None` the latter is flat.
    level
        Coverage of all intervals.
    sites
        Sites that count, sorted by name.
    excluded
        Packets that are not in it, with the reasons.
    silent
        Names of enrolled sites of which nothing came.
    looks
        How many different states of the study's evidence (`digest`) somebody here has looked at,
        this one included.
    confidence_sequence
        Interval for the common effect that may be looked at after every packet (width fixed by
        the measure's scale of tau); `None` where it would not hold.
    no_sequence
        Why there is no confidence sequence, in words; empty if there is one.
    reach
        Numbers of sites, and of pairs of sites, whose evidence came together.
    digest
        Digest of the evidence: 32 bytes over the ids of the packets that count, whether anything
        was withdrawn, method, roster and version. Equal on all nodes with the same evidence.
        Empty, as is `seen_digest`, if the input was unsigned (`is_signed`).
    seen_digest
        Digest of everything seen: 32 bytes over `digest` and each packet that is left out, with the
        reason. It changes when anybody publishes a packet that does not count.
    here_of
        What computes `here`; `None` where no data of this site are known.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> synthesis = qis.synthesise(table, study=study)
    >>> synthesis
    <Synthesis of 2 sites, OR 0.59 [0.37, 0.95]: 'drug vs none | death'>
    >>> synthesis.to_dict()["site"]
    ['Bern', 'Ulm']

    """

    study_id: bytes
    question: str
    study: Study | None
    measure: str | None
    model: Model
    method: str
    fixed: PooledProfiles | None
    random: PooledProfiles | None
    tau_scale: float | None
    mean_scale: float | None
    level: float
    sites: tuple[SiteResult, ...]
    excluded: tuple[LeftOut, ...]
    silent: tuple[str, ...]
    looks: int
    confidence_sequence: Interval | None
    no_sequence: str
    reach: Reach
    digest: bytes
    seen_digest: bytes
    here_of: Callable[[], SiteAnswer] | None = field(default=None, compare=False, repr=False)
    _answers: list[SiteAnswer] = field(default_factory=list, init=False, compare=False, repr=False)
    """`here`, once it was asked for."""
    _differences: list[Heterogeneity] = field(
        default_factory=list, init=False, compare=False, repr=False
    )
    """`heterogeneity`, once it was asked for."""

    @property
    def is_signed(self) -> bool:
        """True if it rests on packets; false of plain outcomes, when it cannot be published."""
        return bool(self.digest)

    @property
    def is_embargoed(self) -> bool:
        """True if the study hides the numbers; reading one of them then raises `EmbargoError`."""
        return False

    @property
    def chosen(self) -> PooledProfiles | None:
        """The result under the study's model; `None` if nothing counts."""
        return self.random if self.model == "random" else self.fixed

    @property
    def estimate(self) -> float | None:
        """Estimate under the chosen model, on the natural log scale for ratios; `None` if none."""
        return None if self.chosen is None else self.chosen.estimate

    @property
    def standard_error(self) -> float | None:
        """Standard error under the chosen model; `None` without a finite one."""
        return None if self.chosen is None else self.chosen.standard_error

    @property
    def interval(self) -> Interval:
        """Interval under the chosen model; infinite on both sides if nothing counts."""
        return (-math.inf, math.inf) if self.chosen is None else self.chosen.interval

    @property
    def note(self) -> str:
        """What stands in the way of an estimate, and the marks, in words."""
        return "No evidence counts." if self.chosen is None else self.chosen.note

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Reasons for caution about the numbers under the chosen model."""
        return () if self.chosen is None else self.chosen.marks

    @property
    def tau(self) -> float | None:
        """Standard deviation between sites under the random model, whichever is chosen."""
        return None if self.random is None else self.random.tau

    @property
    def weights(self) -> tuple[float | None, ...]:
        """Each site's weight under the chosen model, 0-1, in the order of `sites`; they sum to 1.

        `None` for all if there is no finite estimate. See `qis.synthesis.shares`.
        """
        return shares([site.outcomes for site in self.sites], self.chosen)

    @property
    def prediction_interval(self) -> Interval | None:
        """For the true effect of a further site like these; `None` without random effects."""
        return None if self.random is None else self.random.prediction_interval

    @property
    def heterogeneity(self) -> Heterogeneity | None:
        """How much the sites differ beside what chance would do; `None` if nothing counts.

        Computed when it is first asked for; its simulation, if it needs one, is seeded by the
        outcomes.
        A derived packet is one estimate of several sites, so that with one there is none.
        """
        if self.fixed is None or (self.random is None and self.reach.sites > len(self.sites)):
            return None
        if not self._differences:
            self._differences.append(heterogeneity_of([site.outcomes for site in self.sites]))
        return self._differences[0]

    @property
    def sensitivity(self) -> TippingPoints | None:
        """What the answer would be, had the silent and suppressed sites reported.

        `None` if none is known to be missing, or if there is no estimate to shift;
        `tipping_points` takes a number of sites instead.
        """
        if self.estimate is None or not missing_sites(self):  # the estimate first: an embargo
            return None
        return tipping_points(self)

    @property
    def here(self) -> SiteAnswer | None:
        """The answer for this site, of a loop that knows data of it; else `None`.

        Computed when it is first asked for, in up to some seconds of 60 sites of counts. It rests
        on what the site keeps for itself too, so whoever shows it shows something of that.
        """
        if self.here_of is None:
            return None
        if not self._answers:
            self._answers.append(self.here_of())
        return self._answers[0]

    @property
    def back_transformed(self) -> tuple[float | None, float, float]:
        """Estimate and limits as people read them: ratios, rates, proportions in [0, 1]."""
        low, high = self.interval
        if self.measure is None:
            return self.estimate, low, high
        back = measure_named(self.measure).back
        middle = None if self.estimate is None else back(self.estimate)
        return middle, back(low), back(high)

    @property
    def sites_without_events(self) -> int | None:
        """How many of the sites saw no event; `None` if one did not say how many it saw."""
        events = [site.events for site in self.sites]
        return None if None in events else events.count(0)

    def explain(self) -> str:
        """Every number traced to packets and sites, and every packet left out, in plain words.

        Examples
        --------
        >>> import qis
        >>> named = {"question": "a vs b | c", "measure": "OR", "standard_error": 0.2}
        >>> effects = [qis.Effect(**named, estimate=x) for x in (0.1, 0.3)]
        >>> print(qis.synthesise(effects, names=["Ulm", "Bern"], model="fixed").explain())
        a vs b | c
        Odds ratio (OR), 95% intervals.
        ...

        """
        from qis.synthesis.explanation import explain  # noqa: PLC0415  it describes this class

        return explain(self)

    def summary(self) -> str:
        """Results and methods in a few lines, in the words that a paper would use.

        Ratios are on their own scale, not on that of logarithms.

        Examples
        --------
        >>> import qis
        >>> named = {"question": "a vs b | c", "measure": "OR", "standard_error": 0.2}
        >>> effects = [qis.Effect(**named, estimate=x) for x in (0.1, 0.3)]
        >>> found = qis.synthesise(effects, names=["Ulm", "Bern"], model="fixed")
        >>> print(found.summary())
        a vs b | c
        Odds ratio [95% interval], 2 sites...

        """
        from qis.synthesis.summary import summarise  # noqa: PLC0415  it describes this class

        return summarise(self)

    def leave_one_out(self) -> dict[str, PooledProfiles]:
        """By site, what all others say under the chosen model; empty with fewer than two sites."""
        if self.chosen is None or len(self.sites) < 2:
            return {}
        kept = KeptSites()  # what each site says is the same, whoever is left out
        return {
            left.name: pool_sites(
                [site.outcomes for site in self.sites if site is not left],
                measure=self.chosen.measure,
                tau_scale=self.tau_scale if self.model == "random" else None,
                mean_scale=self.mean_scale,
                level=self.level,
                kept=kept,
            )
            for left in self.sites
        }

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one row a site, as pandas and polars take them."""
        return {
            "site": [site.name for site in self.sites],
            "n": [site.n for site in self.sites],
            "events": [site.events for site in self.sites],
            "estimate": [site.estimate for site in self.sites],
            "lower": [site.interval[0] for site in self.sites],
            "upper": [site.interval[1] for site in self.sites],
            "weight": list(self.weights),
            "informative": [site.is_informative for site in self.sites],
            "packets": [[packet.id.hex() for packet in site.packets] for site in self.sites],
        }

    @checked
    def to_frame(self, *, back_transform: bool = False, backend: str = "pandas") -> Any:
        """The columns of `to_dict` as a data frame, one row a site.

        Parameters
        ----------
        back_transform
            True for estimates and limits as people read them: ratios and rates instead of their
            logarithms, proportions in [0, 1].
        backend
            "pandas", "polars" or "pyarrow".

        Raises
        ------
        InputError
            If the backend is another.
        MissingExtraError
            If the backend is not installed.

        Examples
        --------
        >>> import qis
        >>> named = {"question": "a vs b | c", "measure": "OR", "standard_error": 0.2}
        >>> effects = [qis.Effect(**named, estimate=x) for x in (0.1, 0.3)]
        >>> found = qis.synthesise(effects, names=["Ulm", "Bern"], model="fixed")
        >>> list(found.to_frame(back_transform=True)["site"])
        ['Bern', 'Ulm']

        """
        columns = self.to_dict()
        if truth_value(back_transform, "back_transform") and self.measure is not None:
            back = measure_named(self.measure).back
            for name in columns.keys() & {"estimate", "lower", "upper"}:
                columns[name] = [None if x is None else back(x) for x in columns[name]]
        return data_frame(columns, backend)

    @property
    def scale(self) -> Scale:
        """How the measure's values are shown as text.

        Raises
        ------
        InputError
            If no site counts, so that there is no measure.

        """
        if self.measure is None:
            raise InputError("no evidence counts, so there is no measure", field="measure")
        return Scale(measure=self.measure, level=self.level)

    @checked
    def forest_plot(
        self,
        *,
        ax: Any = None,
        order: str | Sequence[str] = "name",
        labels: Mapping[str, str] | None = None,
        subgroups: Mapping[str, str] | None = None,
        arms: tuple[str, str] | None = None,
        favours: tuple[str, str] | None = None,
        unit: str = "",
        limits: Interval | None = None,
        title: str | None = None,
    ) -> Picture:
        """Make a forest plot: each site alone, its weight, and what they say together.

        Weights are those of the chosen model, whose diamond comes first; the other model's is
        paler. An arrow stands where an interval leaves the axis.

        Parameters
        ----------
        ax
            Axes of matplotlib to draw into. Default: none; the result shows itself in a notebook,
            and `Picture.save` writes SVG, PNG and PDF.
        order
            "name", "estimate", "precision" (the shortest interval first), "weight" or "n" (the
            largest first), or the names of all sites in the order wanted.
        labels
            What to show instead of a site's name, by name.
        subgroups
            The subgroup of each site, by name. Each is pooled under the chosen model by itself,
            with a subtotal if it has two sites or more, and a note says whether they differ by more
            than chance: a test that means something if it was declared in advance.
        arms
            Names of the treated and the control arm. Default: those of a question of the form
            "A vs B | endpoint".
        favours
            What lies to the left and to the right of no effect: ``("favours drug", "favours
            placebo")``. It has no default, since an event may be good or bad.
        unit
            Unit of a measure that has one, such as "mmHg".
        limits
            Both ends of the axis as it is shown. Default: what the summaries and most sites need.
        title
            Default: the question.

        Returns
        -------
        Picture
            ``print`` shows it in letters.

        Raises
        ------
        InputError
            If no site counts, or an argument names no site or is out of range.
        MissingExtraError
            If `ax` is given and matplotlib is not installed.

        Examples
        --------
        >>> import qis
        >>> table = {"site": ["A", "B"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
        >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
        >>> picture = qis.synthesise(table, study=study).forest_plot(order="weight")
        >>> print(picture)  # doctest: +ELLIPSIS
        drug vs none | death
        Site...

        """
        from qis.synthesis.forest_picture import forest_picture  # noqa: PLC0415  seldom needed
        from qis.synthesis.forest_rows import forest_of  # noqa: PLC0415  it describes this class

        forest = forest_of(
            self,
            order=order,
            labels=labels,
            subgroups=subgroups,
            arms=arms,
            favours=favours,
            unit=unit,
            limits=limits,
            title=title,
        )
        picture = forest_picture(forest)
        if ax is not None:
            picture.draw(ax)
        return picture

    @checked
    def funnel_plot(self, *, ax: Any = None, contours: bool = False, unit: str = "") -> Picture:
        """Make a funnel plot: each site's estimate against its standard error.

        Parameters
        ----------
        ax
            Axes of matplotlib to draw into; see `forest_plot`.
        contours
            True to shade by the p-value of each place, about no effect, instead of drawing the
            funnel about the estimate: white is p > .1, then .05 and .01.
        unit
            Unit of a measure that has one.

        Returns
        -------
        Picture
            Sites without a finite estimate are named below it.

        Raises
        ------
        InputError
            If no site has a finite estimate, or all together have none, or contours are asked for
            of a measure without a value of no effect.
        MissingExtraError
            If `ax` is given and matplotlib is not installed.

        """
        from qis.synthesis.funnel import funnel_picture  # noqa: PLC0415  it describes this class

        if truth_value(contours, "contours") and not self.scale.has_null:
            raise InputError(
                f"{self.measure} has no value of no effect, which contours are about",
                field="contours",
            )
        picture = funnel_picture(self, contours=contours, unit=unit)
        if ax is not None:
            picture.draw(ax)
        return picture

    @checked
    def profile_plot(
        self, *, ax: Any = None, limits: Interval | None = None, unit: str = ""
    ) -> Picture:
        """Plot the log-likelihoods of the sites and of all together, each below its own maximum.

        Where a curve crosses the dashed line is the end of its interval; one that stays above it
        excludes nothing on that side.

        Parameters
        ----------
        ax
            Axes of matplotlib to draw into; see `forest_plot`.
        limits
            Both ends of the axis as it is shown. Default: those of the forest plot.
        unit
            Unit of a measure that has one.

        Returns
        -------
        Picture
            With more than twelve sites without their names.

        Raises
        ------
        InputError
            If no site says anything about the effect, or an argument is out of range.
        MissingExtraError
            If `ax` is given and matplotlib is not installed.

        """
        from qis.synthesis.forest_rows import forest_of  # noqa: PLC0415  it describes this class
        from qis.synthesis.profile_curves import profile_picture  # noqa: PLC0415  the same

        forest = forest_of(self, limits=limits, unit=unit, with_notes=False)
        picture = profile_picture(self, forest.axis(), unit=unit)
        if ax is not None:
            picture.draw(ax)
        return picture

    def __repr__(self) -> str:
        numbers = self.scale.numbers(self.estimate, self.interval) if self.sites else "nothing"
        measure = f"{self.measure} " if self.measure else ""
        note = f"; {self.note}" if self.note and self.sites else ""
        return (
            f"<Synthesis of {len(self.sites)} sites, {measure}{numbers}: {self.question!r}{note}"
            f"{''.join(self._left_out())}>"
        )

    def _left_out(self) -> Iterator[str]:
        """Why packets are left out and what would change it, each reason once."""
        reasons = Counter((left.reason, left.sentence) for left in self.excluded)
        shown = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        for (reason, sentence), count in shown[:_SHOWN_REASONS]:
            yield f"; left out: {count} {reason}. {sentence}"
        if len(shown) > _SHOWN_REASONS:
            more = sum(count for _, count in shown[_SHOWN_REASONS:])
            yield f"; {more} more left out for other reasons, see explain()"

    def _repr_html_(self) -> str:
        if not self.sites:
            left = escape("".join(self._left_out()))
            return f"<p>{escape(self.question)}: no evidence{left or '.'}</p>"
        left = escape(" ".join(part.removeprefix("; ") for part in self._left_out()))
        words = f"<p>{len(self.sites)} sites. {escape(self.note)} {left}</p>"
        return f"<figure>{self.forest_plot().svg()}{words}</figure>"


_SHOWN_REASONS: Final = 5
"""Most reasons that a one-line description lists; `Synthesis.explain` has them all."""

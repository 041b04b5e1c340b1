"""What a safety board makes of the evidence: three intervals at each look, and a report.

The three are the one for a single planned look, the one that holds at all looks together, and what
inverse variance says of the same trials after .5 was added to their cells.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import qis
from qis.picture import Area, Axis, Line, Picture, Words
from qis.site.document import Document, Paragraph, Part, Rows, Section

HEAD = f"{'trials':>6}  {'one planned look':18}  {'at any look':14}  .5 in the cells"
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760.0, 70.0, 560.0, 40.0, 330.0
_LOW, _HIGH = math.log(0.25), math.log(8.0)
_BLUE, _PALE, _RED = "#0072b2", "#cfe3f1", "#b03030"
Interval = tuple[float, float]


class Look(NamedTuple):
    """Log odds ratios when so many trials had come; `None` where there is no estimate."""

    trials: int
    estimate: float | None
    once: Interval
    any_time: Interval
    halves: tuple[float, float, float]

    @classmethod
    def of(cls, synthesis: qis.Synthesis) -> Self:
        """The three answers to the evidence of one synthesis."""
        counts = [each for site in synthesis.sites for each in site.outcomes]
        return cls(
            trials=len(counts),
            estimate=synthesis.estimate,
            once=synthesis.interval,
            any_time=synthesis.confidence_sequence or (-math.inf, math.inf),
            halves=with_halves(counts),
        )

    def __str__(self) -> str:
        middle, *limits = self.halves
        return (
            f"{self.trials:6}  {_ratios(self.estimate, self.once):18}  "
            f"{_limits(self.any_time):14}  {_ratios(middle, limits)}"
        )


def with_halves(counts: Sequence[qis.Counts]) -> tuple[float, float, float]:
    """Log odds ratio and limits by inverse variance, .5 added to each cell of each trial."""
    estimates, errors = [], []
    for trial in counts:
        a, c = trial.events + 0.5, trial.control_events + 0.5
        b, d = trial.total + 1.0 - a, trial.control_total + 1.0 - c
        estimates.append(math.log(a * d / (b * c)))
        errors.append(math.sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    pooled = qis.inverse_variance(estimates, errors, tau2="FE")
    return (pooled.estimate, *pooled.interval)


def verdict(last: Look) -> Iterator[str]:
    """What may be said, and what may not."""
    low, high = last.once
    yield (
        f"After {last.trials} trials the odds ratio is {_ratios(last.estimate, last.once)}: "
        + ("more infarctions." if low > 0.0 else "fewer." if high < 0.0 else "no effect excluded.")
    )
    looked = _limits(last.any_time)
    if low > 0.0 > last.any_time[0]:
        yield f"Whoever has looked after each trial has to use {looked}: no harm is shown yet."
    else:
        yield f"At all looks together {looked} holds, and says the same."
    middle, *limits = last.halves
    yield f"With .5 in the cells it would be {_ratios(middle, limits)}."


def report(newest: qis.Synthesis, looks: Sequence[Look]) -> Document:
    """A page for a sceptic: the answer, how it came about, the trials, and how to check it."""
    counts = [each for site in newest.sites for each in site.outcomes]
    counts.sort(key=lambda each: each.events + each.control_events)
    silent = sum(each.events + each.control_events == 0 for each in counts)
    lacking = sum(min(each.events, each.control_events) == 0 for each in counts)
    trials = qis.synthesise(counts, names=[each.cohort for each in counts], study=newest.study)
    return Document(
        newest.question,
        [
            Section("The answer", list(map(Paragraph, verdict(looks[-1])))),
            Section("How it came about", list(_course(looks))),
            Section(
                "Why not .5 in empty cells",
                [
                    Paragraph(
                        f"Of {len(counts)} trials {lacking} have an arm without any event, and "
                        f"{silent} of these have none in either. Their log odds ratios are "
                        "infinite or undefined. Adding .5 to each cell makes them finite: a trial "
                        "without any event then says that the odds ratio is that of the arms' "
                        "sizes, and all others are drawn towards it. Nobody has seen that."
                    ),
                    Paragraph(
                        "Here each trial counts by its exact likelihood. One with events in one "
                        "arm says what it knows, a limit on one side; one without any says nothing."
                    ),
                ],
            ),
            Section(
                "The trials, one by one", [trials.forest_plot(order="weight", limits=(0.05, 20.0))]
            ),
            Section("What came from whom", list(_sources(newest))),
            Section("What to doubt", list(map(Paragraph, _DOUBTS))),
        ],
    )


_DOUBTS = (
    "A signature proves which registry sent a number, not that the number is right.",
    "The interval for all looks assumes one common effect, and that the order in which trials come "
    "does not depend on what they found. Trials that show harm may be published sooner, or later.",
    "Trials that nobody published are not here. How many such would change the answer is what "
    "qis.synthesis.tipping_points says.",
    "To check it: pool the table of trials.csv by conditional logistic regression, or by Peto's "
    "method, in any other program.",
)


def _course(looks: Sequence[Look]) -> Iterator[Part]:
    yield _picture(looks)
    yield Rows(
        "Odds ratios as the trials came, with 95 % intervals",
        ("trials", "one planned look", "at any look", ".5 in the cells"),
        [
            (
                str(each.trials),
                _ratios(each.estimate, each.once),
                _limits(each.any_time),
                _ratios(each.halves[0], each.halves[1:]),
            )
            for each in looks
            if each.trials % 7 == 0 or each is looks[-2]
        ],
    )


def _sources(newest: qis.Synthesis) -> Iterator[Part]:
    yield Rows(
        "Packets that count, by the site that signed them",
        ("site", "trials", "events / people", "odds ratio of its own"),
        [
            (
                site.name,
                ", ".join(each.cohort for each in site.outcomes),
                f"{site.events} / {site.n}",
                _ratios(site.estimate, site.interval),
            )
            for site in newest.sites
        ],
    )
    yield Paragraph(
        f"Digest of evidence and method: {newest.digest.hex()}. Every site that holds the same "
        "packets comes to the same digest."
    )


def _picture(looks: Sequence[Look]) -> Picture:
    """Estimate and both intervals by the number of trials; .5 in the cells as a dashed line."""
    axis = Axis(_LEFT, _RIGHT, 1.0, float(len(looks)))
    band = [(axis.x(each.trials), each.any_time) for each in looks]
    once = [(axis.x(each.trials), each.once) for each in looks]
    estimates = [
        (axis.x(each.trials), each.estimate) for each in looks if each.estimate is not None
    ]
    outline = [(x, _y(high)) for x, (_, high) in band]
    outline += [(x, _y(low)) for x, (low, _) in reversed(band)]
    elements = [
        Words(10.0, 20.0, "Odds ratio as the trials came", size=13.0, is_bold=True),
        Area(tuple(outline), _PALE),
        Line(((_LEFT, _y(0.0)), (_RIGHT, _y(0.0))), "#999999"),
        *(Line(tuple((x, _y(each[i])) for x, each in once), _BLUE) for i in (0, 1)),
        Line(tuple((x, _y(each)) for x, each in estimates), _BLUE, 2.4),
        Line(
            tuple((axis.x(each.trials), _y(each.halves[0])) for each in looks),
            _RED,
            1.6,
            is_dashed=True,
        ),
        Line(((_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM))),
    ]
    elements += [
        Words(_LEFT - 8.0, _y(math.log(ratio)) + 4.0, f"{ratio:g}", "end", 11.0)
        for ratio in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    ]
    elements += [
        Words(axis.x(number), _BOTTOM + 16.0, str(number), "middle", 11.0)
        for number in range(7, len(looks) + 1, 7)
    ]
    elements.append(Words(0.5 * (_LEFT + _RIGHT), _BOTTOM + 34.0, "trials", "middle", 11.0))
    key = (
        ("estimate", Line(((_RIGHT + 14.0, 60.0), (_RIGHT + 34.0, 60.0)), _BLUE, 2.4)),
        ("95 %, one planned look", Line(((_RIGHT + 14.0, 80.0), (_RIGHT + 34.0, 80.0)), _BLUE)),
        ("95 %, at any look", Line(((_RIGHT + 14.0, 100.0), (_RIGHT + 34.0, 100.0)), _PALE, 9.0)),
        (
            ".5 in the cells",
            Line(((_RIGHT + 14.0, 120.0), (_RIGHT + 34.0, 120.0)), _RED, 1.6, is_dashed=True),
        ),
    )
    for number, (name, sample) in enumerate(key):
        elements += [sample, Words(_RIGHT + 40.0, 64.0 + 20.0 * number, name, size=11.0)]
    return Picture(
        title="Odds ratio and its intervals by the number of trials",
        width=_WIDTH,
        height=_BOTTOM + 44.0,
        elements=tuple(elements),
        axis=axis,
        text="\n".join((HEAD, *map(str, looks))),
    )


def _y(value: float) -> float:
    share = (min(max(value, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW)
    return _BOTTOM - share * (_BOTTOM - _TOP)


def _ratios(estimate: float | None, limits: Sequence[float]) -> str:
    middle = "none" if estimate is None else f"{math.exp(estimate):.2f}"
    return f"{middle} {_limits(limits)}"


def _limits(limits: Sequence[float]) -> str:
    low, high = (
        ("0" if limit < 0.0 else "∞") if math.isinf(limit) else f"{math.exp(limit):.2f}"
        for limit in limits
    )
    return f"[{low}, {high}]"

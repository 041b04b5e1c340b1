"""From what was asked to the answer: who is who, the grid, and all that is shown beside it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qis.about import Fingerprint
from qis.evidence import Reason
from qis.fingerprint import Scheme
from qis.here.grid import Grid, integrate, integrated_without
from qis.here.kernel import Likeness
from qis.here.marginal import density_of
from qis.here.model import SiteModel
from qis.here.moderators import codes_of, columns_of, likeness_of_moderators
from qis.here.sketches import likeness_of_sketches
from qis.here.tables import SAYS_NOTHING, SiteLikelihoods
from qis.outcomes import Moderator, Study, measure_named
from qis.outcomes.moderators import MISSING
from qis.synthesis._density import Density
from qis.synthesis.answers import Answer
from qis.synthesis.common_effect import common_effect
from qis.synthesis.currency import Likelihood, Poolable, is_informative
from qis.synthesis.gathering import Gathered
from qis.synthesis.scale import Scale
from qis.synthesis.site_answer import (
    DECIDES,
    Quantiles,
    Similarity,
    SiteAnswer,
    SiteWeight,
    factor_of,
)

Floats = NDArray[np.float64]

MOST_SITES: Final = 200
"""Most other sites in one answer: the time grows with their cube, to some ten seconds."""
_SHOWN_WEIGHTS: Final = 5
_NOTHING: Final = Likelihood(precision=1.0 / SAYS_NOTHING)
"""Instead of a site's own likelihood, if it has no data."""
_USUAL_SCALE: Final = 0.5
"""Where the measure has units, effects are counted in units in which tau's scale is this."""
_ROUGH: Final = 0.03
"""An answer that may be off by more of its standard deviations says so."""
_OWN: Final = 0
"""Number of the site that asks."""


class OwnSite(NamedTuple):
    """The site that asks: its name in the evidence, empty if it is not there; its outcomes."""

    name: str
    outcomes: tuple[Poolable, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked.

    Parameters
    ----------
    gathered
        The evidence.
    own
        The site that asks.
    about
        Its open fingerprint, if it is known.
    scheme
        The scheme of the sketches, if it is known.
    study
        The study, if it is known.
    measure, tau_scale, mean_scale, level
        Settings.

    """

    gathered: Gathered
    own: OwnSite
    about: Fingerprint | None
    scheme: Scheme[Any] | None
    study: Study | None
    measure: str
    tau_scale: float
    mean_scale: float
    level: float

    @cached_property
    def unit(self) -> float:
        """The unit in which effects are counted inside."""
        if measure_named(self.measure).default_tau_scale is not None:
            return 1.0
        return self.tau_scale / _USUAL_SCALE

    @cached_property
    def own_informative(self) -> tuple[Poolable, ...]:
        """Own outcomes that depend on the effect."""
        return tuple(outcome for outcome in self.own.outcomes if is_informative(outcome))

    @cached_property
    def others(self) -> tuple[tuple[str, tuple[Poolable, ...], tuple[Fingerprint, ...]], ...]:
        """Name, informative outcomes and fingerprints of each other site that says something."""
        found = self.all_others
        if len(found) <= MOST_SITES:
            return found
        # The most precise of many: what each says is the same whoever asks.
        finest = [Likelihood.of(said).finest for _, said, _ in found]
        kept = sorted(range(len(found)), key=lambda n: (finest[n], found[n][0]))[:MOST_SITES]
        return tuple(found[n] for n in sorted(kept))

    @cached_property
    def all_others(self) -> tuple[tuple[str, tuple[Poolable, ...], tuple[Fingerprint, ...]], ...]:
        """The same, however many there are."""
        found = []
        for site in self.gathered.sites:
            said = tuple(outcome for outcome in site.outcomes if is_informative(outcome))
            if said and site.name != self.own.name:
                found.append((site.name, said, tuple(p.fingerprint for p in site.packets)))
        return tuple(found)

    @cached_property
    def moderators(self) -> tuple[Moderator, ...]:
        """What the study declares."""
        return () if self.study is None else self.study.moderators

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """Codes of the sites' moderators, the one that asks first, shape (k, moderators)."""
        sites = [self.own.outcomes, *(said for _, said, _ in self.others)]
        rows = b"".join(codes_of(self.moderators, outcomes) for outcomes in sites)
        return np.frombuffer(rows, dtype=np.uint8).reshape(len(sites), len(self.moderators))

    @cached_property
    def likeness(self) -> Likeness | None:
        """How alike the sites are, the one that asks first; `None` if that is not known.

        By the study's moderators where it declares any, so that nobody chooses neighbours after
        looking; else by sketches.
        """
        if self.moderators:
            return likeness_of_moderators(self.moderators, self.codes)
        if self.scheme is None:
            return None
        own = () if self.about is None else (self.about,)
        return likeness_of_sketches(self.scheme, [own, *(prints for _, _, prints in self.others)])

    @cached_property
    def grid(self) -> Grid:
        """What the sites say, the one that asks first."""
        sites = [said for _, said, _ in self.others]
        likelihoods = [Likelihood.of(said).moved(0.0, self.unit) for said in sites]
        mine = _NOTHING
        if self.own_informative:
            mine = Likelihood.of(self.own_informative).moved(0.0, self.unit)
        tables = SiteLikelihoods.of([mine, *likelihoods])
        return integrate(tables, self.model(self.tau_scale), asked=_OWN)

    def model(self, tau_scale: float) -> SiteModel:
        """The model under a scale of tau, in inner units."""
        features = columns_of(self.moderators, self.codes)
        return SiteModel(
            k=len(self.others) + 1,
            likeness=self.likeness,
            tau_scale=tau_scale / self.unit,
            mean_scale=self.mean_scale / self.unit,
            features=features if features.size else None,
        )

    def similarity_to(self, number: int) -> float | None:
        """Similarity of another site to the one that asks, in [0, 1]."""
        if self.likeness is None or not (self.is_known and self.are_known[number]):
            return None
        above = float(self.likeness.above_chance[_OWN, number + 1])
        return self.likeness.chance + (1.0 - self.likeness.chance) * above

    @cached_property
    def is_known(self) -> bool:
        """True if it is known what the site that asks is like."""
        if self.moderators:
            return bool((self.codes[_OWN] != MISSING).any())
        return self.about is not None

    @cached_property
    def are_known(self) -> tuple[bool, ...]:
        """Which other sites are known by what they are like."""
        if self.moderators:
            return tuple(bool(known) for known in (self.codes[1:] != MISSING).any(axis=1))
        if self.scheme is None:
            return (False,) * len(self.others)
        own = self.scheme.id
        return tuple(any(p.scheme_id == own for p in prints) for _, _, prints in self.others)


def answer_of(asked: Asked, digest: bytes) -> SiteAnswer:
    """Everything that is shown to the site."""
    grid = asked.grid
    answer = density_of(grid, _OWN)
    others = density_of(integrated_without(grid, _OWN), _OWN)
    weights, own_weight = _weights(asked)
    alone = _alone(asked)
    informative = len(asked.others) + bool(asked.own_informative)
    shown = _quantiles(asked, answer)
    return SiteAnswer(
        question=asked.gathered.question,
        measure=asked.measure,
        level=asked.level,
        answer=shown,
        alone=None if alone is None else alone.estimate,
        alone_interval=None if alone is None else alone.interval,
        all_alike=_all_alike(asked, shown),
        from_others=_quantiles(asked, others),
        fit=_fit(asked, others),
        similarity=Similarity(
            bayes_factor=factor_of(grid.log_bayes_factor),
            sites=informative,
            source=_source(asked),
        ),
        weights=tuple(weight for _, weight in weights[:_SHOWN_WEIGHTS]),
        own_weight=own_weight,
        without_largest=_without(asked, weights[0][0]) if weights else None,
        twice_the_scale=_twice(asked) if informative < DECIDES else None,
        as_if_patients=_as_if(asked, alone, shown),
        silent=tuple(name for name in asked.gathered.silent if name != asked.own.name),
        suppressed=_suppressed(asked),
        notes=tuple(_notes(asked)),
        tau_scale=asked.tau_scale,
        mean_scale=asked.mean_scale,
        digest=digest,
    )


def _quantiles(asked: Asked, density: Density) -> Quantiles:
    unit, tail = asked.unit, (1.0 - asked.level) / 2.0
    mean, sd = density.mean_and_sd
    low, left, middle, right, high = (
        unit * density.quantile(share) for share in (tail, 0.25, 0.5, 0.75, 1.0 - tail)
    )
    return Quantiles(
        mean=unit * mean,
        sd=unit * sd,
        median=middle,
        interval=(low, high),
        middle_half=(left, right),
    )


def _alone(asked: Asked) -> Answer | None:
    if not asked.own_informative:
        return None
    return common_effect(asked.own_informative, asked.level)


def _all_alike(asked: Asked, answer: Quantiles) -> Quantiles:
    """The same posterior, given that nothing of tau² is shared by likeness."""
    if not asked.grid.shares.any():
        return answer
    return _quantiles(asked, density_of(asked.grid, _OWN, asked.grid.masses_alike))


def _fit(asked: Asked, others: Density) -> float | None:
    """Probability of a disagreement as large between own data and what the others predict.

    Both are taken as posteriors of the site's effect, its own under the prior on the mean alone;
    twice the smaller tail of their difference about 0 (Presanis et al. 2013).
    """
    if not asked.own_informative:
        return None
    spread = asked.mean_scale / asked.unit
    tables = asked.grid.tables
    mean, sd = others.mean_and_sd
    middle, error = float(tables.middles[_OWN]), math.sqrt(float(tables.variances[_OWN]))
    low = min(mean - 9.0 * sd, middle - 12.0 * error, -6.0 * spread)
    high = max(mean + 9.0 * sd, middle + 12.0 * error, 6.0 * spread)
    step = min(sd, error, spread) / 8.0
    theta = np.linspace(low, high, int(np.clip((high - low) / step, 500, 50_000)))
    logs = tables.value(np.array([_OWN]), theta[np.newaxis])[0] - 0.5 * (theta / spread) ** 2
    mine = np.exp(logs - logs.max())
    points = others.start + others.step * np.arange(others.heights.size)
    below = np.add.accumulate(others.heights)
    share = float((mine * np.interp(theta, points, below / below[-1])).sum() / mine.sum())
    return min(2.0 * min(share, 1.0 - share), 1.0)


def _source(asked: Asked) -> str:
    if asked.moderators:
        if asked.likeness is None:
            return "no moderator of the study has a weight"
        names = ", ".join(each.name for each in asked.moderators if each.weight)
        is_same = not asked.likeness.tells_sites_apart
        return f"all sites are equally alike in {names}" if is_same else f"moderators ({names})"
    if asked.scheme is None:
        return "no scheme was given"
    if asked.likeness is None:
        return "there are no two sketches of the scheme to compare"
    if not asked.likeness.tells_sites_apart:
        return "all sites are equally alike"
    return "sketches"


def _weights(asked: Asked) -> tuple[list[tuple[int, SiteWeight]], float]:
    """Other sites by falling weight, with their numbers; and the weight of the own data."""
    grid = asked.grid
    found, own = grid.found, grid.found.own
    wide = found.variances[:, _OWN] + grid.own_variances[:, :, _OWN]
    kept = np.clip(1.0 - own.own_variances[:, :, _OWN] / wide, 0.0, 1.0)
    own_part = (own.shares[:, :, _OWN] * kept).sum(axis=0)
    # What the others say is linear in their replacements' centres.
    row = grid.covariances_of(_OWN)
    total = row[:, _OWN]
    cavity = 1.0 / (1.0 / total - found.precisions[:, _OWN])
    parts = (cavity / total)[:, np.newaxis] * row * found.precisions
    means = (grid.masses * (1.0 - own_part)) @ parts
    weights = [
        (
            number + 1,
            SiteWeight(
                name=name,
                weight=float(means[number + 1]),
                similarity=asked.similarity_to(number),
            ),
        )
        for number, (name, _, _) in enumerate(asked.others)
    ]
    weights.sort(key=lambda each: (-each[1].weight, each[1].name))
    return weights, float(grid.masses @ own_part)


def _without(asked: Asked, number: int) -> Quantiles:
    return _quantiles(asked, density_of(integrated_without(asked.grid, number), _OWN))


def _twice(asked: Asked) -> Quantiles:
    wider = integrate(asked.grid.tables, asked.model(2.0 * asked.tau_scale), asked=_OWN)
    return _quantiles(asked, density_of(wider, _OWN))


def _as_if(asked: Asked, alone: Answer | None, answer: Quantiles) -> float | None:
    people = [outcome.n for outcome in asked.own_informative]
    if alone is None or alone.standard_error is None or None in people:
        return None
    return sum(n or 0 for n in people) * (alone.standard_error / answer.sd) ** 2


def _suppressed(asked: Asked) -> tuple[tuple[str, float | None], ...]:
    found: dict[str, float | None] = {}
    scheme, about = asked.scheme, asked.about
    for left in asked.gathered.left_out:
        if left.reason != Reason.SUPPRESSED.label or left.site in (None, asked.own.name):
            continue
        similarity = None
        fingerprint = left.packet.fingerprint
        if scheme is not None and about is not None and fingerprint.scheme_id == scheme.id:
            similarity = scheme.similarity(about, scheme.open(fingerprint))
        found[str(left.site)] = similarity
    return tuple(sorted(found.items(), key=lambda item: (-(item[1] or 0.0), item[0])))


def _notes(asked: Asked) -> Iterator[str]:
    if not asked.others:
        yield "No other site says anything of the effect: the answer is your data and the prior."
    if len(asked.all_others) > len(asked.others):
        yield (
            f"Of {len(asked.all_others)} other sites the {MOST_SITES} most precise are in the "
            "answer: more would take too long. All are in the synthesis."
        )
    what = "moderators" if asked.moderators else "about"
    if asked.likeness is not None and not asked.is_known:
        yield f"It is not known what your site is like ({what}=), so no site is like it."
    missing = asked.are_known.count(False)
    if asked.likeness is not None and missing:
        kind = "moderators of this study" if asked.moderators else "sketch of this scheme"
        yield (
            f"{_count(missing, 'site has', 'sites have')} no {kind}, and count as like you as "
            "chance makes them."
        )
    if not asked.grid.found.is_settled.all():
        lost = float(asked.grid.masses[~asked.grid.found.is_settled].sum())
        yield f"In {lost:.1%} of the posterior the computation had not settled: take care."
    if asked.grid.error > _ROUGH:
        yield (
            "More sites may each be the exception than could be summed over: the interval's ends "
            f"may be off by {asked.grid.error:.0%} of the answer's standard deviation."
        )
    yield from _one_sided(asked)
    left = len(asked.gathered.left_out)
    if left:
        yield f"{_count(left, 'packet is', 'packets are')} left out: see the synthesis."


def _one_sided(asked: Asked) -> Iterator[str]:
    """What is left without the prior where every site points to the same side for ever."""
    outcomes: Sequence[Poolable] = [
        *asked.own_informative,
        *(outcome for _, said, _ in asked.others for outcome in said),
    ]
    if not outcomes:
        return
    low, high = Likelihood.of(outcomes).limits
    if max(low, high) == -math.inf:
        return
    found = common_effect(outcomes, asked.level)
    limits = Scale(measure=asked.measure, level=asked.level).limits(found.interval)
    yield (
        f"All sites favour ever larger or ever smaller values: how far the answer goes is the "
        f"prior's. Without it there is one limit only: {limits}."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

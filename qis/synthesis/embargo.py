"""A synthesis that the study hides until a date: who takes part, and no numbers.

What is hidden is not computed, so that nothing can print, plot, log or pickle it by accident. It is
an embargo among honest parties: each site holds the packets and could compute all of it.
"""

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, cast

from qis.errors import EmbargoError
from qis.outcomes import Study
from qis.outcomes._times import in_words
from qis.picture.html import paragraphs_of
from qis.synthesis.answers import Interval
from qis.synthesis.currency import Poolable
from qis.synthesis.gathering import Gathered, SiteEvidence
from qis.synthesis.likelihood_ratio import Heterogeneity
from qis.synthesis.profiles import Model, PooledProfiles
from qis.synthesis.result import Synthesis
from qis.synthesis.site_answer import SiteAnswer
from qis.synthesis.site_result import Reach, SiteResult


class _Hidden:
    """Mixed into a dataclass: reading a field that is not set raises `EmbargoError`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    embargo_until: float

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        # Called only where the slot of that name is empty, so what is shown never passes here.
        if name not in type(self).__dataclass_fields__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise EmbargoError(
            f"{name} is hidden {_terms(self.embargo_until)}", field=name, limit=self.embargo_until
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A dataclass with slots would read all of its fields, also those that are hidden.
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return partial(type(self), **shown), ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmbargoedSite(_Hidden, SiteResult):
    """A site under embargo: `name`, `packets` and `n`; all else raises `EmbargoError`."""

    outcomes: tuple[Poolable, ...] = field(init=False, compare=False)
    events: int | None = field(init=False, compare=False)
    estimate: float | None = field(init=False, compare=False)
    interval: Interval = field(init=False, compare=False)
    is_informative: bool = field(init=False, compare=False)
    embargo_until: float

    def __repr__(self) -> str:
        return f"<EmbargoedSite {self.name!r}: {_count(len(self.packets), 'packet')}>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmbargoedSynthesis(_Hidden, Synthesis):
    """A `Synthesis` of which sites, packets left out, `reach` and the digests can be read.

    Made by `synthesise` for a study under embargo. Asking for a number raises `EmbargoError`, as do
    the plots; `explain`, `to_dict` and the representations leave the numbers out. It is no look at
    the data, and does not count as one.
    """

    fixed: PooledProfiles | None = field(init=False, compare=False)
    random: PooledProfiles | None = field(init=False, compare=False)
    tau_scale: float | None = field(init=False, compare=False)
    mean_scale: float | None = field(init=False, compare=False)
    confidence_sequence: Interval | None = field(init=False, compare=False)
    no_sequence: str = field(init=False, compare=False)
    here_of: Callable[[], SiteAnswer] | None = field(init=False, compare=False)
    _answers: list[SiteAnswer] = field(init=False, compare=False)
    _differences: list[Heterogeneity] = field(init=False, compare=False)
    embargo_until: float

    @property
    def is_embargoed(self) -> bool:
        """True: the numbers are hidden."""
        return True

    def explain(self) -> str:
        """Who takes part and who does not, and until when the rest is hidden."""
        from qis.synthesis.explanation import missing  # noqa: PLC0415  it describes this class

        sites = [f"  {site.name}: {_people(site)}" for site in self.sites]
        heard = [_count(len(sites), "site") + " so far:", *sites] if sites else ["No site so far."]
        return "\n".join((self.question, _notice(self), *heard, *missing(self)))

    def summary(self) -> str:
        """The same as `explain`: there are no results to summarise yet."""
        return self.explain()

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one row a site: its name, people and packets."""
        return {
            "site": [site.name for site in self.sites],
            "n": [site.n for site in self.sites],
            "packets": [[packet.id.hex() for packet in site.packets] for site in self.sites],
        }

    def __repr__(self) -> str:
        sites = _count(len(self.sites), "site")
        return (
            f"<EmbargoedSynthesis of {sites}, until {in_words(self.embargo_until)}: "
            f"{self.question!r}>"
        )

    def _repr_html_(self) -> str:
        return paragraphs_of(self.explain())


def embargoed(
    gathered: Gathered,
    study: Study,
    *,
    model: Model,
    method: str,
    level: float,
    looks: int,
    digest: bytes,
    seen_digest: bytes,
) -> EmbargoedSynthesis:
    """What may be known of a synthesis before the study's embargo ends."""
    until = cast("int", study.embargo_until)  # it has one, since it is under embargo
    return EmbargoedSynthesis(
        study_id=gathered.study_id,
        question=gathered.question,
        study=study,
        measure=gathered.measure,
        model=model,
        method=method,
        level=level,
        sites=tuple(_site(site, until) for site in gathered.sites),
        excluded=gathered.left_out,
        silent=gathered.silent,
        looks=looks - 1,  # no number was seen, so this was no look at the data
        reach=Reach(gathered.number, gathered.enrolled),
        digest=digest,
        seen_digest=seen_digest,
        embargo_until=until,
    )


def _site(site: SiteEvidence, until: float) -> EmbargoedSite:
    return EmbargoedSite(name=site.name, packets=site.packets, n=site.n, embargo_until=until)


def _notice(synthesis: EmbargoedSynthesis) -> str:
    return f"Numbers are hidden {_terms(synthesis.embargo_until)}."


def _terms(until: float) -> str:
    return (
        f"until {in_words(until)}, by the study's embargo, from all but a monitoring role "
        "(monitor=True)"
    )


def _people(site: SiteResult) -> str:
    people = "" if site.n is None else f", n {site.n}"
    return _count(len(site.packets), "packet") + people


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")

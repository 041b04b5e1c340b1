"""A synthesis that the study hides until a date: who takes part, and no numbers.

What is hidden is not computed, so that nothing can print, plot, log or pickle it by accident. It is
an embargo among honest parties: each site holds the packets and could compute all of it.
"""

from contextlib import suppress
from dataclasses import Field, fields
from functools import partial
from html import escape
from typing import Any, ClassVar

from qis.errors import EmbargoError
from qis.outcomes import Study
from qis.outcomes._times import in_words
from qis.synthesis.gathering import Gathered, SiteEvidence
from qis.synthesis.profiles import Model
from qis.synthesis.result import Reach, SiteResult, Synthesis


class _Hidden:
    """Mixed into a dataclass: some of its fields are set, reading another raises `EmbargoError`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    __slots__ = ()

    def __init__(self, **shown: Any) -> None:
        for name, value in shown.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Called only where the slot of that name is empty, so what is shown never passes here.
        if name not in type(self).__dataclass_fields__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise EmbargoError(
            f"{name} is hidden {_terms(self.embargo_until)}", field=name, limit=self.embargo_until
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._shown()), ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._shown() == self._shown()

    def __hash__(self) -> int:
        return hash(tuple(self._shown().values()))

    def _shown(self) -> dict[str, Any]:
        shown = {}
        for name in (*(field.name for field in fields(self)), "embargo_until"):
            with suppress(AttributeError):
                shown[name] = object.__getattribute__(self, name)
        return shown


class EmbargoedSite(_Hidden, SiteResult):
    """A site under embargo: `name`, `packets` and `n`; all else raises `EmbargoError`."""

    __slots__ = ("embargo_until",)

    def __repr__(self) -> str:
        return f"<EmbargoedSite {self.name!r}: {_count(len(self.packets), 'packet')}>"


class EmbargoedSynthesis(_Hidden, Synthesis):
    """A `Synthesis` of which sites, packets left out, `reach` and the digests can be read.

    Made by `synthesise` for a study under embargo. Asking for a number raises `EmbargoError`, as do
    the plots; `explain`, `to_dict` and the representations leave the numbers out. It is no look at
    the data, and does not count as one.
    """

    __slots__ = ("embargo_until",)

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
        return "".join(f"<p>{escape(line)}</p>" for line in self.explain().splitlines())


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
    until = study.embargo_until
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


def _site(site: SiteEvidence, until: int | None) -> EmbargoedSite:
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

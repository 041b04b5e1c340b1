"""What a synthesis says of a single site, and how many sites it brings together."""

from dataclasses import dataclass
from typing import NamedTuple

from qis.packet import Packet
from qis.picture.html import HasTable, with_table
from qis.synthesis.answers import Interval
from qis.synthesis.currency import Poolable


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteResult(HasTable):
    """One site in a synthesis.

    Parameters
    ----------
    name
        The site's name on the roster; the issuer's key in hexadecimal digits if the roster is open.
    packets
        Its packets, one a cohort.
    outcomes
        What they carry.
    n, events
        People and events, if the site said.
    estimate, interval
        What the site's own evidence says alone, under the fixed model.
    is_informative
        True if its evidence depends on the effect at all.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> synthesis = qis.synthesise(table, study=study)
    >>> [site.name for site in synthesis.sites]
    ['Bern', 'Ulm']

    """

    name: str
    packets: tuple[Packet, ...]
    outcomes: tuple[Poolable, ...]
    n: int | None
    events: int | None
    estimate: float | None
    interval: Interval
    is_informative: bool


@with_table
class Reach(NamedTuple):
    """How many sites, and pairs of sites, a synthesis brings together.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.3, 0.4]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="fixed")
    >>> synthesis = qis.synthesise(table, study=study)
    >>> synthesis.reach.pairs
    1

    """

    sites: int
    """Sites that count."""
    enrolled: int | None
    """Sites enrolled in the study; `None` if the roster is open."""

    @property
    def pairs(self) -> int:
        """Pairs of sites whose evidence came together here."""
        return self.sites * (self.sites - 1) // 2

    @property
    def pairs_possible(self) -> int:
        """N(N-1)/2 of the enrolled sites, or of those that count if the roster is open."""
        most = self.sites if self.enrolled is None else self.enrolled
        return most * (most - 1) // 2

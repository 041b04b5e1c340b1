"""What was computed of single sites, so that one packet more costs what that packet costs.

A site's likelihood, what it says by itself, and its log-marginals depend on its own outcomes only.
They are kept under the content of these, so that nothing that is found here can be out of date.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from blake3 import blake3

from qis._canonical import encode
from qis.synthesis.currency import Poolable, is_informative
from qis.synthesis.said import Said
from qis.synthesis.together import Together
from qis.synthesis.totals import RunningTotals

_MOST_BYTES: Final = 1 << 25
"""Most bytes of log-marginals that one study keeps."""


class Met(NamedTuple):
    """The outcomes of one site, informative or not, and what they say."""

    outcomes: tuple[Poolable, ...]
    said: Said | None
    shown: dict[float, Any]
    """What a synthesis shows of the site, by the level of its intervals."""


class KeptSites:
    """What was computed for one study, to be given to its next synthesis.

    It changes how long a synthesis takes and no number in it. Of single sites at most 32 MiB of
    log-marginals are kept from one synthesis to the next, and their sums however many there are.

    Examples
    --------
    >>> from qis.synthesis import KeptSites
    >>> KeptSites()
    <KeptSites of 0 sites>

    """

    def __init__(self) -> None:
        self._sites: dict[bytes, Said] = {}
        self._used: dict[bytes, Said] = {}
        self._together: Together | None = None
        self._asked: Sequence[Said] = ()
        self._totals = RunningTotals()
        self._all: tuple[object, list[Met]] | None = None
        # By the objects themselves, which is faster; `outcomes` holds them, so that no other
        # object can have the same identity.
        self._known: dict[tuple[int, ...], Met] = {}
        self._met: dict[tuple[int, ...], Met] = {}

    def of(self, outcomes: Sequence[Poolable]) -> Said | None:
        """What the outcomes of one site say; `None` if none of them is informative."""
        return self.met(outcomes).said

    def met(self, outcomes: Sequence[Poolable]) -> Met:
        """What is kept of the outcomes of one site."""
        objects = (id(outcomes[0]),) if len(outcomes) == 1 else tuple(map(id, outcomes))
        met = self._met.get(objects)
        if met is None:
            met = self._known.get(objects) or Met(tuple(outcomes), self._first(outcomes), {})
            self._met[objects] = met
            if met.said is not None:
                self._used[met.said.key] = met.said
        return met

    def _first(self, outcomes: Sequence[Poolable]) -> Said | None:
        informative = [outcome for outcome in outcomes if is_informative(outcome)]
        if not informative:
            return None
        key = blake3(encode(sorted(outcome.encoded() for outcome in informative))).digest()
        return self._used.get(key) or self._sites.get(key) or Said(informative, key)

    def met_all(self, sites: Sequence[Sequence[Poolable]]) -> list[Met]:
        """What is kept of each site; not looked up again if the same sequence comes again."""
        if self._all is None or self._all[0] is not sites:
            self._all = sites, [self.met(site) for site in sites]
        return self._all[1]

    def of_all(self, sites: Sequence[Sequence[Poolable]]) -> list[Said | None]:
        """What each of some sites says."""
        return [met.said for met in self.met_all(sites)]

    def together(self, said: Sequence[Said]) -> Together:
        """What these say together; one or more, in any order."""
        if self._together is None or self._asked != said:
            found = Together(said, former=self._together, totals=self._totals)
            self._asked, self._together = said, found
        return self._together

    def settle(self) -> None:
        """Forget what the last synthesis did not use, and tables beyond the bound."""
        self._sites, self._used = self._used, {}
        self._known, self._met, self._all = self._met, {}, None
        self._totals.settle()
        if self._together is not None:
            self._together.settle()
        left = _MOST_BYTES
        for said in self._sites.values():
            left -= said.size
            if left < 0:
                said.tables.clear()
                said.size = 0

    def __repr__(self) -> str:
        return f"<KeptSites of {len(self._sites)} sites>"

"""Why another site refuses what this one sends, in one byte, and how far that is believed.

Only the next hop refuses: a holder, a relay, a broker, whoever answers a call. Nobody says whether
he *takes* a packet. A refusal is one site's word, so one alone is shown as that site's opinion;
what two sites say, or all that are known, is believed. It changes what is told, never what is done.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from qis.health import Condition, HealthState, Notices

TELL_EVERY_S: Final = 60.0
"""A site is told one reason at most once in this time."""
REMEMBERED_S: Final = 300.0
"""How long a refusal is remembered that is not repeated: some times the pause between two tries."""
WEIGH_EVERY_S: Final = 1.0
"""It is asked for at every turn and for every packet that waits, and weighed no more often."""
REFUSERS_LIMIT: Final = 256
"""(site, reason) pairs remembered; the one heard of longest ago goes first."""
NAMED_LIMIT: Final = 3
"""Sites named in one sentence."""
BELIEVED_FROM: Final = 2
"""Sites that have to say the same for it to be believed, unless fewer are known."""


class RefusalCode(IntEnum):
    """Why a packet is refused: one byte on the wire. 0 means none; others are of later versions."""

    CLOCK = 1
    FULL = 2
    ROSTER = 3
    SEQUENCE = 4


_TEXTS: Final[dict[int, tuple[str, str]]] = {
    RefusalCode.CLOCK: (
        "its packets are dated in the future or have expired there",
        "compare this machine's date with one that is right",
    ),
    RefusalCode.FULL: (
        "there is no room for what this site sends",
        "it is tried again, and elsewhere",
    ),
    RefusalCode.ROSTER: (
        "this site's key is not on the roster there",
        "compare the rosters of both, and see whether the key was rotated or has ended",
    ),
    RefusalCode.SEQUENCE: (
        "a packet's sequence is ahead of its own issue time",
        "recover_clock(): the date was wrong when earlier packets were signed",
    ),
}
"""Map each code to its meaning and to what the refused site can do."""
_UNKNOWN: Final = ("for a reason that this version does not know", "see what the other site runs")
_STATES: Final = {"refused": HealthState.DEGRADED, "refused_by_one": HealthState.OK}


class Claim(NamedTuple):
    """One reason, who says so, and whether it is believed."""

    code: int
    sites: tuple[str, ...]
    is_believed: bool

    def __str__(self) -> str:
        others = len(self.sites) - NAMED_LIMIT
        names = [*self.sites[:NAMED_LIMIT], *([f"{others} others"] if others > 0 else [])]
        verb = "refuse" if len(self.sites) > 1 else "refuses"
        said, remedy = _TEXTS.get(self.code, _UNKNOWN)
        advice = remedy if self.is_believed else "the word of too few sites to be believed"
        return f"{' and '.join(names)} {verb} what this site sends: {said} ({advice})"


class Refusals:
    """The refusals that one node has received from others.

    Parameters
    ----------
    notices
        Who is told, with kind "refusal" and the subject ``"clock by north"``.
    name_of
        The site that a key speaks for, or `None` if it speaks for none that counts: such ones are
        shown, and never believed.

    """

    def __init__(
        self,
        notices: Notices | None = None,
        *,
        name_of: Callable[[bytes], str | None] = lambda _: None,
    ) -> None:
        self._notices = notices
        self._name_of = name_of
        self._heard_at: dict[tuple[bytes, int], float] = {}
        self._claims: list[Claim] = []
        self._claims_until = -math.inf

    def heard(self, key: bytes, code: int, now: float) -> None:
        """A peer, authenticated by its key, has refused what this site sent; `now` never steps."""
        self._heard_at.pop((key, code), None)
        if len(self._heard_at) >= REFUSERS_LIMIT:
            del self._heard_at[next(iter(self._heard_at))]
        self._heard_at[key, code] = now
        self._claims_until = now
        if self._notices is not None:
            name = self._name_of(key) or _short(key)
            said = _TEXTS.get(code, _UNKNOWN)[0]
            self._notices.tell(
                "refusal",
                f"{_word(code)} by {name}",
                f"{name} refuses what this site sends: {said}. It is one site's word; health says "
                "whether others say so too",
            )

    def accepted(self, key: bytes) -> None:
        """Forget a peer's refusal by roster: it has accepted a packet of this site, so it lists it.

        Its other refusals stay: acceptance says nothing of them, and they may hold again.
        """
        if self._heard_at.pop((key, RefusalCode.ROSTER), None) is not None:
            self._claims_until = -math.inf

    def claims(self, known: Iterable[bytes], now: float) -> list[Claim]:
        """Return the refusals that hold now, the believed ones first.

        Parameters
        ----------
        known
            Keys of the peers that this node knows of.
        now
            Of the clock of `heard`.

        """
        if self._heard_at and now >= self._claims_until:
            self._claims = self._weighed(known, now)
            self._claims_until = now + WEIGH_EVERY_S
        return self._claims if self._heard_at else []

    def _weighed(self, known: Iterable[bytes], now: float) -> list[Claim]:
        for refusal, at in list(self._heard_at.items()):
            if now - at > REMEMBERED_S:
                del self._heard_at[refusal]
        of_code: defaultdict[int, set[str]] = defaultdict(set)
        strangers: defaultdict[int, set[str]] = defaultdict(set)
        for key, code in self._heard_at:
            name = self._name_of(key)
            if name is None:
                strangers[code].add(_short(key))
            else:
                of_code[code].add(name)
        sites = {name for name in map(self._name_of, known) if name is not None}
        found = []
        for code in sorted(of_code.keys() | strangers.keys()):
            saying = of_code[code]
            is_believed = bool(saying) and (len(saying) >= BELIEVED_FROM or sites.issubset(saying))
            names = sorted(saying) if is_believed else sorted(saying | strangers[code])
            found.append(Claim(code, tuple(names), is_believed))
        return sorted(found, key=lambda each: not each.is_believed)


def judge_refusals(condition: Condition, claims: list[Claim], *, now: float) -> None:
    """Say in a node's health what others refuse; the word of one alone leaves the state as it is.

    Parameters
    ----------
    condition
        Of the node.
    claims
        Of its `Refusals`.
    now
        Unix seconds.

    """
    for code, state in _STATES.items():
        is_believed = state is not HealthState.OK
        texts = [str(each) for each in claims if each.is_believed is is_believed]
        if texts:
            condition.set(code, state, "; ".join(texts), now=now)
        else:
            condition.clear(code, now=now)


def _word(code: int) -> str:
    return RefusalCode(code).name.lower() if code in _TEXTS else f"code {code}"


def _short(key: bytes) -> str:
    return f"key {key.hex()[:16]}"

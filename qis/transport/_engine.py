"""What transports over somebody else's engine have in common: a broker's or a store's.

The engine sees sealed packets only, and a packet is held once the engine has taken it: whether
anybody else reads there cannot be known.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from qis._clock import Clock
from qis._guard import Guard
from qis.about import Interest
from qis.channel.sealing import Seal
from qis.errors import InputError, TransportError
from qis.evidence.roster import Roster
from qis.health import Condition, HealthState
from qis.identity import Identity
from qis.overlay.lru_cache import LruCache
from qis.packet import Packet
from qis.transport._held import KNOWN_LIMIT
from qis.transport._stateful import StatefulTransport
from qis.transport.base import Holding, Statistics
from qis.transport.reception import Reception
from qis.transport.site_clocks import SiteClocks


class EngineTransport(StatefulTransport):
    """A node whose network is an engine.

    Parameters
    ----------
    identity, roster, clock
        This site's key, whose packets are taken, and what gives Unix seconds.
    secret, clear
        The consortium's secret with which packets are sealed, or that they go in the clear.
    reader
        Who can read them then, for the error if neither is given.

    """

    def __init__(
        self,
        identity: Identity,
        roster: Roster,
        *,
        secret: bytes | None,
        clear: bool,
        clock: Callable[[], float],
        reader: str,
    ) -> None:
        if (secret is None) is not clear:
            raise InputError(
                "give the consortium's secret=, with which packets are sealed; or say clear=True, "
                f"and {reader} can read them",
                field="secret",
            )
        self._identity = identity
        self._roster = roster
        self._seal = None if secret is None else Seal(secret)
        self._clock = Clock.of(clock)
        self._statistics = Statistics()
        self._guard = Guard(self.notices)
        self._clocks = SiteClocks(self._clock.steady)
        self._condition = Condition(self.notices, now=self._clock.wall(), state=HealthState.CLOSED)
        self._is_open = False
        self._own: LruCache[bytes, None] = LruCache(KNOWN_LIMIT)
        self._taken: LruCache[bytes, None] = LruCache(KNOWN_LIMIT)
        self._failed: LruCache[bytes, str] = LruCache(KNOWN_LIMIT)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def holding(self, packet_id: bytes) -> Holding:
        """Tell whether the engine has taken a packet since this was opened.

        Whether anybody else reads there cannot be known.
        """
        if packet_id in self._taken:
            return Holding(is_held=True)
        why = self._failed.get(packet_id) or "it has not been taken yet"
        return Holding(is_held=False, reason=why)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; true if all that was published has been taken."""
        self._require_open()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return self._idle.is_set() and not len(self._failed)

    @contextmanager
    def _handing_over(self, packet: Packet) -> Iterator[None]:
        """Note that a packet is under way, and at the end whether it was taken."""
        self._own.put(packet.id, None)
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        except TransportError as error:
            self._failed.put(packet.id, str(error))
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        self._failed.pop(packet.id, None)
        self._taken.put(packet.id, None)
        self._statistics.published += 1

    def _new_reception(self) -> Reception:
        return Reception(
            self._roster,
            self._statistics,
            notices=self.notices,
            clock=self._clock,
            clocks=self._clocks,
            own=self._own,
        )

    def _described(self, interest: Interest, *more: bytes) -> bytes:
        """Return bytes that differ if interest, roster or something more do."""
        parts = (
            interest.fingerprint.scheme_id,
            interest.fingerprint.sketch,
            repr(interest.min_similarity).encode("ascii"),
            b"".join(interest.routing_keys),
            b"".join(interest.studies),
            self._roster.digest,
            *more,
        )
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def _closed(self) -> None:
        """Forget what was wrong: it is of no use to say so any more."""
        now = self._clock.wall()
        self._condition = Condition(self.notices, now=now, state=HealthState.CLOSED)

    def _require_open(self) -> None:
        if not self._is_open:
            raise TransportError("the transport is not open: use it in 'async with'")

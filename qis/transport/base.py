"""The interface of all transports: publish, subscribe, close.

Not promised: that a packet arrives, in which order, or how often the network carries it. Promised:
whatever a subscription yields has been verified, was admitted by the roster, travels under the
routing keys that its issuer signed, matches the subscription's interest, and is yielded once.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from qis._gate import checked
from qis.about import Interest, routing_commitment
from qis.errors import InputError
from qis.evidence.roster import Roster
from qis.health import Health, HealthState, Notices
from qis.packet import Packet
from qis.picture.html import HasTable, with_table
from qis.transport.site_clocks import SiteClocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(HasTable):
    """A packet that matched an interest.

    Parameters
    ----------
    packet
        The verified packet.
    hops
        How many nodes it went through, the publisher not counted: 1 if it came straight.
    received_at
        Unix seconds on this node's clock.
    routing_keys
        The keys under which it came, 8 bytes each, as its issuer has signed them; none where they
        do not travel, as in direct mode.
    on_done
        Called by `done`; `None` in a network that waits for no acknowledgement.

    Examples
    --------
    >>> import asyncio, qis
    >>> async def main():
    ...     network, scheme = qis.MemoryNetwork(), qis.VectorScheme(dimensions=2)
    ...     a, b = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
    ...     packet = qis.Packet.sign(
    ...         a,
    ...         outcome=qis.Counts(question="q", events=3, total=20),
    ...         fingerprint=scheme.fingerprint([1.0, 2.0]),
    ...         issued_at=int(network.now),
    ...         lifetime_s=86_400,
    ...         routing_keys=scheme.routing_keys([1.0, 2.0]),
    ...     )
    ...     async with qis.MemoryTransport(network, b) as there:
    ...         async with there.subscribe(scheme.interest([1.0, 2.0])) as deliveries:
    ...             async with qis.MemoryTransport(network, a) as here:
    ...                 await here.publish(packet, scheme.routing_keys([1.0, 2.0]))
    ...                 async for delivery in deliveries:
    ...                     return delivery.packet == packet
    >>> asyncio.run(main())
    True

    """

    packet: Packet
    hops: int
    received_at: float
    routing_keys: tuple[bytes, ...] = ()
    on_done: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    async def done(self) -> None:
        """Say that the packet is stored, so that the network need not deliver it again.

        A durable subscription (`Transport.subscribe` with a `name`) gets a delivery again, even
        after the process has ended, until this was called. May be called more than once.
        """
        if self.on_done is not None:
            self.on_done()


@dataclass(slots=True, kw_only=True)
class Statistics(HasTable):
    """What a transport has done since it was opened.

    `refused` counts what was refused, by reason: for a packet the class of the error, such as
    ``"UntrustedIssuerError"``, for anything else a code, such as ``"queue_full"``. `dropped` counts
    packets that did not fit into a full inbox, and that come again; `unmatched` verified packets
    that no interest here wants; `hops` deliveries by the number of nodes that the packet went
    through; `tidied` this site's own expired packets that were deleted from a shared folder.

    Examples
    --------
    >>> from qis.transport import Statistics
    >>> Statistics(published=2).published
    2

    """

    published: int = 0
    delivered: int = 0
    duplicates: int = 0
    unmatched: int = 0
    dropped: int = 0
    datagrams_sent: int = 0
    datagrams_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    tidied: int = 0
    hops: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def brief(self) -> str:
        """The two counts that matter most, in words."""
        return f"{self.published} published, {self.delivered} delivered"


@with_table
class Holding(NamedTuple):
    """Whether the network keeps a packet that was published here.

    Parameters
    ----------
    is_held
        Whether at least one *other* site has it under every one of its routing keys. Only this
        takes a packet out of the outbox, makes a "sent" event and a true `flush`.
    holders
        How many other sites are known to have it under some key.
    reason
        Why it is not held, in words; empty if it is.

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> isinstance(transport.holding(bytes(32)), qis.Holding)
    True

    """

    is_held: bool
    holders: int = 0
    reason: str = ""


class Transport(ABC):
    """Carries packets to the nodes whose interests they match. An async context manager.

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.UDPTransport, qis.Transport)
    True

    """

    @property
    def notices(self) -> Notices:
        """Faults, limits, refusals and changes of health; a loop turns them into events."""
        # Made when first asked for: a third party's __init__ need not call this class's.
        found = self.__dict__.get("_notices")
        if found is None:
            found = self.__dict__["_notices"] = Notices(logging.getLogger("qis.transport"))
        return found

    @property
    def health(self) -> Health:
        """The state of the transport, with reasons and since when; by default open or closed."""
        return Health(
            state=HealthState.OK if self.is_open else HealthState.CLOSED, since=time.time()
        )

    @property
    def site_clocks(self) -> SiteClocks:
        """What packets and handshakes have shown of other sites' clocks; by default nothing."""
        return SiteClocks(time.monotonic)

    @checked  # noqa: B027  by default at once
    async def hear_clocks(self, timeout_s: float) -> None:
        """Wait until the first sites have shown their clocks, at most `timeout_s` seconds."""

    async def catch_up(self, timeout_s: float) -> None:  # noqa: B027  by default at once
        """Wait until what the network keeps for open subscriptions has come, as far as it can tell.

        At most `timeout_s` seconds. The default is for networks that cannot tell.
        """

    @checked
    def holding(self, packet_id: bytes) -> Holding:  # noqa: ARG002  the default: taken is held
        """Tell whether other sites hold a packet that was published here; see `Holding`.

        The default is for networks that cannot tell: what `publish` has taken counts as held.
        """
        return Holding(is_held=True)

    @property
    def is_open(self) -> bool:
        """True if it can publish now. A transport that needs no opening is open from the start."""
        return True

    @property
    def leaves_machine(self) -> bool:
        """True if what is published or registered can be read beyond this machine."""
        return True

    @property
    @abstractmethod
    def statistics(self) -> Statistics:
        """Counters since the transport was opened."""

    @abstractmethod
    async def publish(self, packet: Packet, routing_keys: Iterable[bytes]) -> None:
        """Hand a packet to the network.

        Returns when this transport has taken responsibility for it, which may be before another
        node has it.

        Raises
        ------
        InputError
            If the packet was signed for other routing keys.
        TransportError
            If the transport is closed or the machine refuses.

        Examples
        --------
        >>> import asyncio, time
        >>> import qis
        >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=1)
        >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
        >>> keys = scheme.routing_keys([1.0])
        >>> packet = qis.Packet.sign(
        ...     key,
        ...     outcome=effect,
        ...     fingerprint=scheme.fingerprint([1.0]),
        ...     issued_at=int(time.time()),
        ...     lifetime_s=3600,
        ...     routing_keys=keys,
        ... )
        >>> async def main():
        ...     network = qis.MemoryNetwork()
        ...     reader = qis.MemoryTransport(network, qis.Identity.generate())
        ...     async with qis.MemoryTransport(network, key) as transport, reader:
        ...         async with reader.subscribe(scheme.interest([1.0])) as deliveries:
        ...             await transport.publish(packet, keys)
        ...             async for delivery in deliveries:
        ...                 return delivery.packet == packet
        >>> asyncio.run(main())
        True

        """

    @property
    def shows_everything(self) -> bool:
        """True if a subscription sees every packet of the network, whatever its keys."""
        return False

    @property
    def is_durable(self) -> bool:
        """True if a subscription with a name goes on where it ended; see `subscribe`."""
        return False

    @abstractmethod
    def subscribe(
        self, interest: Interest, *, name: str = "", memory: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Register an interest on entry and withdraw it on exit; yields what matches meanwhile.

        What the transport itself has published is not yielded.

        Parameters
        ----------
        interest
            Which packets are wanted.
        name
            Makes the subscription durable where the transport `is_durable`: the next one of this
            name gets what came meanwhile, and again what was yielded without a call of
            `Delivery.done`; of one name there is one subscription at a time. Empty, or in another
            transport: each subscription begins anew, with what the network still holds.
        memory
            Names the store that the packets go into, at most 64 bytes. If it, the interest or the
            roster is not that of the last time, a durable subscription begins anew.

        """

    @abstractmethod
    async def aclose(self) -> None:
        """Leave the network and release all resources. Idempotent; open subscriptions end."""

    @checked  # noqa: B027  as far as it can
    def withdraw(self, packets: Iterable[Packet]) -> None:
        """Stop repeating these packets of this site, and delete the copies that it can delete.

        Other nodes may still hold copies. The default does nothing.
        """

    @checked  # noqa: B027  in a transport without a roster
    def believe(self, roster: Roster) -> None:
        """Admit packets by another roster from now on. The default does nothing."""

    @checked
    async def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  in-process: at once
        """Wait until all that was published is held (`Holding`); false if `timeout_s` is over."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__}, {state}, {self.statistics.brief}>"


def require_signed_keys(packet: Packet, routing_keys: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return all keys that the packet travels under: the given ones and its study's id.

    Raises
    ------
    InputError
        If they are not those that the packet was signed for, or it is no `Packet`.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> named = {"question": "a vs b | c", "measure": "OR"}
        >>> effect = qis.Effect(**named, estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.transport import require_signed_keys
    >>> require_signed_keys(packet, []) == (packet.outcome.study_id,)
    True

    """
    if not isinstance(packet, Packet):
        raise InputError(
            f"{type(packet).__name__} is no qis.Packet: bytes have to be verified first, by "
            "qis.Packet.parse",
            field="packet",
            actual=type(packet).__name__,
        )
    keys = tuple(sorted({*routing_keys, packet.outcome.study_id}))
    if not is_signed_for(packet, keys):
        raise InputError(
            "the packet was signed for other routing keys: pass the same keys to Packet.sign "
            "and to publish",
            field="routing_keys",
        )
    return keys


def is_signed_for(packet: Packet, keys: tuple[bytes, ...]) -> bool:
    """As `Packet.travels_under`, of keys that are known to be bytes: each packet is asked twice."""
    return routing_commitment((*keys, packet.outcome.study_id)) == packet.routing_commitment

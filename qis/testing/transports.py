"""The conformance suite of transports: what every one of them promises, ours and third parties'."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from qis.errors import InputError, TransportError
from qis.fingerprint import VectorScheme
from qis.identity import Identity
from qis.outcomes import Effect, Study
from qis.packet import Packet
from qis.transport import Delivery, Transport

Network = Callable[[Sequence[Identity]], AbstractAsyncContextManager[Sequence[Transport]]]
"""Builds a network with one open transport for each identity, and takes it down again."""

_SCHEME: Final = VectorScheme(dimensions=4)
_NEAR: Final = (1.0, 0.5, -0.2, 0.1)
_FAR: Final = (-1.0, -0.5, 0.2, -0.1)
_WITHIN_S: Final = 30.0


async def check_transport(network: Network) -> None:
    """Run every check of the contract, each on a network of its own.

    Parameters
    ----------
    network
        For each list of identities, an async context manager that gives their open transports,
        in the same order and connected to each other.

    Raises
    ------
    AssertionError
        If a promise is broken; the message names it.
    TimeoutError
        If something that should arrive does not within 30 s.

    """
    for number, check in enumerate(_CHECKS):
        identities = [Identity.from_seed(bytes([number, i]) * 16) for i in (1, 2, 3)]
        async with network(identities) as transports:
            await check(identities, transports)


async def _gives_to_those_who_match(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    sender, near, far = transports
    async with (
        near.subscribe(_SCHEME.interest(_NEAR)) as wanted,
        far.subscribe(_SCHEME.interest(_FAR)) as unwanted,
    ):
        packet = await _publish(identities[0], sender, "near", _NEAR)
        await sender.publish(packet, _SCHEME.routing_keys(_NEAR))
        other = await _publish(identities[0], sender, "far", _FAR)
        later = await _publish(identities[0], sender, "near again", _NEAR)
        got = {(await _next(wanted)).packet.id for _ in range(2)}
        assert got == {packet.id, later.id}, "each match is delivered once, and nothing else"
        assert (await _next(unwanted)).packet == other, "who does not match gets nothing"
    assert sender.statistics.published >= 3, "publications are counted"
    assert near.statistics.delivered == 2, "deliveries are counted"


async def _gives_a_study_whole(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    sender, reader, _ = transports
    study = Study(question="of the study")
    interest = _SCHEME.interest(_FAR, studies=[study.id])
    async with reader.subscribe(interest) as deliveries:
        packet = await _publish(identities[0], sender, study.question, _NEAR)
        got = (await _next(deliveries)).packet
        assert got == packet, "a study's packets come whatever they are about"


async def _gives_late_subscribers_what_was_before(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    sender, reader, _ = transports
    packet = await _publish(identities[0], sender, "early", _NEAR)
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        delivery = await _next(deliveries)
        assert delivery.packet == packet, "a late subscriber gets what was published before"
        assert delivery.hops >= 1, "a packet from elsewhere has made a hop"
        assert abs(delivery.received_at - time.time()) < 3600.0, "arrival is in Unix seconds"


async def _refuses_keys_that_were_not_signed(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    packet = _packet(identities[0], "mine", _NEAR)
    try:
        await transports[0].publish(packet, _SCHEME.routing_keys(_FAR))
    except InputError:
        return
    raise AssertionError("a packet goes out under the routing keys that it was signed for only")


async def _ends_cleanly(identities: Sequence[Identity], transports: Sequence[Transport]) -> None:
    sender, reader, _ = transports
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        await reader.aclose()
        await reader.aclose()
        async with asyncio.timeout(_WITHIN_S):
            left = [delivery async for delivery in deliveries]
        assert left == [], "closing ends the subscriptions"
    packet = _packet(identities[1], "too late", _NEAR)
    try:
        await reader.publish(packet, _SCHEME.routing_keys(_NEAR))
    except TransportError:
        await _publish(identities[0], sender, "the others go on", _NEAR)
        return
    raise AssertionError("a closed transport refuses to publish")


_CHECKS: Final[tuple[Callable[..., Awaitable[None]], ...]] = (
    _gives_to_those_who_match,
    _gives_a_study_whole,
    _gives_late_subscribers_what_was_before,
    _refuses_keys_that_were_not_signed,
    _ends_cleanly,
)


def _packet(identity: Identity, question: str, about: tuple[float, ...]) -> Packet:
    return Packet.sign(
        identity,
        outcome=Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1),
        fingerprint=_SCHEME.fingerprint(about),
        issued_at=int(time.time()),
        lifetime_s=3600,
        routing_keys=_SCHEME.routing_keys(about),
    )


async def _publish(
    identity: Identity, transport: Transport, question: str, about: tuple[float, ...]
) -> Packet:
    packet = _packet(identity, question, about)
    await transport.publish(packet, _SCHEME.routing_keys(about))
    return packet


async def _next(deliveries: AsyncIterator[Delivery]) -> Delivery:
    async with asyncio.timeout(_WITHIN_S):
        return await anext(deliveries)

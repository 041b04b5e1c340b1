"""The promises of every transport, one check each, on a network of three nodes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from qis.errors import InputError, PeerError, TransportError
from qis.evidence.roster import Roster
from qis.fingerprint import VectorScheme
from qis.health import Notice
from qis.identity import Identity, Issuer
from qis.outcomes import Effect, Study
from qis.packet import Packet
from qis.transport import Delivery, Transport

_Result = TypeVar("_Result")
_SCHEME: Final = VectorScheme(dimensions=4)
_NEAR: Final = (1.0, 0.5, -0.2, 0.1)
_FAR: Final = (-1.0, -0.5, 0.2, -0.1)
_ASIDE: Final = (0.1, 1.0, 0.8, -0.4)
"""Shares routing keys with `_NEAR`, and is not similar to it."""
WITHIN_S: Final = 30.0


async def _gives_to_those_who_match(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """What matches an interest is delivered, and nothing else."""
    sender, near, far = transports
    async with (
        near.subscribe(_SCHEME.interest(_NEAR)) as wanted,
        far.subscribe(_SCHEME.interest(_FAR)) as unwanted,
    ):
        packet = await _publish(identities[0], sender, "near", _NEAR)
        await sender.publish(packet, _SCHEME.routing_keys(_NEAR))
        other = await _publish(identities[0], sender, "far", _FAR)
        await _publish(identities[0], sender, "aside", _ASIDE)
        later = await _publish(identities[0], sender, "near again", _NEAR)
        got = {(await _next(wanted)).packet.id for _ in range(2)}
        assert got == {packet.id, later.id}, "each match is delivered once, and nothing else"
        assert (await _next(unwanted)).packet == other, "who does not match gets nothing"
    assert sender.statistics.published == 5, "publications are counted"
    assert near.statistics.delivered == 2, "deliveries are counted"


async def _gives_each_once_whoever_sends_it(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """Each packet is delivered once, whoever sends it."""
    sender, relay, reader = transports
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        sent = [await _publish(identities[0], sender, f"number {i}", _NEAR) for i in range(20)]
        for packet in sent:
            await relay.publish(packet, _SCHEME.routing_keys(_NEAR))
        last = await _publish(identities[0], sender, "the last", _NEAR)
        got = [(await _next(deliveries)).packet for _ in range(21)]
    assert {bytes(packet) for packet in got} == {bytes(packet) for packet in (*sent, last)}, (
        "what comes is what was sent, and each once"
    )


async def _keeps_two_interests_apart(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """Each subscription gets what matches its own interest."""
    sender, reader, _ = transports
    async with (
        reader.subscribe(_SCHEME.interest(_NEAR)) as near,
        reader.subscribe(_SCHEME.interest(_FAR)) as far,
        reader.subscribe(_SCHEME.interest(_NEAR)) as near_too,
    ):
        packet = await _publish(identities[0], sender, "near", _NEAR)
        other = await _publish(identities[0], sender, "far", _FAR)
        for deliveries, wanted in ((near, packet), (far, other), (near_too, packet)):
            got = (await _next(deliveries)).packet
            assert got == wanted, "each subscription gets what matches its own interest"
    assert reader.statistics.delivered == 3, "deliveries are counted for each subscription"


async def _stops_what_is_no_longer_wanted(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """Leaving one subscription leaves the others as they are."""
    sender, reader, _ = transports
    async with reader.subscribe(_SCHEME.interest(_FAR)) as kept:
        async with reader.subscribe(_SCHEME.interest(_NEAR)) as left:
            first = await _publish(identities[0], sender, "near", _NEAR)
            assert (await _next(left)).packet == first, "what matches is delivered"
        more = asyncio.create_task(_one_more(left))
        await _turns()
        await _publish(identities[0], sender, "near again", _NEAR)
        for number in range(2):
            packet = await _publish(identities[0], sender, f"far {number}", _FAR)
            got = (await _next(kept)).packet
            assert got == packet, "leaving one subscription leaves the others as they are"
        await _turns()
        assert await _cancelled(more) is None, "who has left a subscription gets nothing more"
    assert reader.statistics.delivered == 3, "who has left a subscription gets nothing more"


async def _can_be_cancelled(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """After a cancelled reader the next one gets everything."""
    sender, reader, _ = transports
    packet = await _publish(identities[0], sender, "before", _NEAR)
    is_reading = asyncio.Event()

    async def read() -> None:
        async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
            async for delivery in deliveries:
                assert delivery.packet == packet, "what matches is delivered"
                is_reading.set()

    for _ in range(2):
        is_reading.clear()
        reading = asyncio.create_task(read())
        async with asyncio.timeout(WITHIN_S):
            await is_reading.wait()
        await _turns()
        await _cancelled(reading)
        assert reading.cancelled(), "a reader that is cancelled ends as cancelled"
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        later = await _publish(identities[0], sender, "afterwards", _NEAR)
        got = {(await _next(deliveries)).packet for _ in range(2)}
        assert got == {packet, later}, "after a cancelled reader the next one gets everything"


async def _gives_a_study_whole(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """A study's packets come whatever they are about."""
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
    """A late subscriber gets what was published before."""
    sender, reader, _ = transports
    packet = await _publish(identities[0], sender, "early", _NEAR)
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        delivery = await _next(deliveries)
        assert delivery.packet == packet, "a late subscriber gets what was published before"
        assert delivery.hops >= 1, "a packet from elsewhere has made a hop"
        assert abs(delivery.received_at - time.time()) < 3600.0, "arrival is in Unix seconds"


async def _refuses_what_must_not_go_out(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """A refusal stands in nobody's way."""
    sender, reader, _ = transports
    keys = _SCHEME.routing_keys(_NEAR)
    packet = _packet(identities[0], "mine", _NEAR)
    whole = bytes(packet)
    wrong: tuple[Any, ...] = (whole, whole[:-1], whole + b"\x00", None)
    try:
        await sender.publish(packet, _SCHEME.routing_keys(_FAR))
    except InputError:
        pass
    else:
        raise AssertionError("a packet goes out under the routing keys that it was signed for only")
    for what in wrong:
        try:
            await sender.publish(what, keys)
        except Exception:  # noqa: BLE001, S112  which error refuses it is not promised
            continue
        raise AssertionError("nothing but a packet goes out: bytes have not been verified")
    assert sender.statistics.published == 0, "what was refused is not counted as published"
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        await sender.publish(packet, keys)
        assert (await _next(deliveries)).packet == packet, "a refusal stands in nobody's way"
    assert sender.statistics.published == 1, "publications are counted"


async def _gives_nothing_that_is_not_valid_now(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """What is valid now is delivered, and nothing else."""
    sender, reader, _ = transports
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        for since_s in (-7_200, 7_200):
            packet = _packet(identities[0], "of another time", _NEAR, since_s=since_s)
            with suppress(InputError, PeerError):  # it may be refused at once
                await sender.publish(packet, _SCHEME.routing_keys(_NEAR))
        sent = [await _publish(identities[0], sender, f"valid {i}", _NEAR) for i in range(2)]
        got = {(await _next(deliveries)).packet for _ in sent}
        assert got == set(sent), "what has expired, or is of the future, is delivered to nobody"


async def _goes_on_after_a_fault(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """A listener that raises, and a roster that raises on one issuer, keep nothing else back."""
    sender, reader, _ = transports
    stranger = Identity.from_seed(b"issuer of the check for faults..")
    for error in (RuntimeError, RecursionError, MemoryError, OSError):
        raised: list[Issuer] = []
        told: list[Notice] = []

        def failing(_: Notice, error: type[Exception] = error) -> None:
            raise error

        stop_failing, stop = reader.notices.listen(failing), reader.notices.listen(told.append)
        reader.believe(_raising_roster(error, stranger.issuer, raised))
        async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
            bad = await _publish(stranger, sender, f"bad {error.__name__}", _NEAR)
            good = await _publish(identities[0], sender, f"good {error.__name__}", _NEAR)
            got = {bad}
            while good not in got:
                try:
                    got.add((await _next(deliveries)).packet)
                except (TimeoutError, StopAsyncIteration, error):
                    raise AssertionError(
                        f"a packet on which the roster raises {error.__name__} keeps no other back"
                    ) from None
        if raised:
            assert any(each.kind == "fault" for each in told), (
                f"a contained {error.__name__} is told as a notice of kind 'fault'"
            )
        assert reader.is_open, "a fault closes nothing"
        stop_failing()
        stop()
    reader.believe(Roster.open())


def _raising_roster(error: type[Exception], issuer: Issuer, raised: list[Issuer]) -> Roster:
    """Believes everybody, and raises when it is asked about one issuer."""

    class RaisingForOne(Roster):
        __slots__ = ()

        def accepts(self, asked: Issuer) -> bool:
            if asked == issuer:
                raised.append(asked)
                raise error
            return True

    return RaisingForOne(is_open=True)


async def _calls_held_what_outlives_the_publisher(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """What is held is there when its publisher is gone."""
    sender, reader, _ = transports
    packet = await _publish(identities[0], sender, "to be held", _NEAR)
    assert await sender.flush(WITHIN_S), "on a network that works, what was published is held"
    holding = sender.holding(packet.id)
    assert holding.is_held, "flush is true of what is held"
    assert not holding.reason, "what is held needs no reason why not"
    await sender.aclose()
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        got = (await _next(deliveries)).packet
        assert got == packet, "what is held is there when its publisher is gone"


async def _ends_cleanly(identities: Sequence[Identity], transports: Sequence[Transport]) -> None:
    """Closing ends the subscriptions, and the others go on."""
    sender, reader, _ = transports
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        await reader.aclose()
        await reader.aclose()
        async with asyncio.timeout(WITHIN_S):
            left = [delivery async for delivery in deliveries]
        assert left == [], "closing ends the subscriptions"
    packet = _packet(identities[1], "too late", _NEAR)
    try:
        await reader.publish(packet, _SCHEME.routing_keys(_NEAR))
    except TransportError:
        await _publish(identities[0], sender, "the others go on", _NEAR)
        return
    raise AssertionError("a closed transport refuses to publish")


async def _gives_nobody_what_is_their_own(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """What a transport has published itself does not come back to it."""
    sender, other, _ = transports
    before = await _publish(identities[0], sender, "own, before", _NEAR)
    async with sender.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        own = {before, await _publish(identities[0], sender, "own", _NEAR)}
        theirs = await _publish(identities[1], other, "another's", _NEAR)
        got = (await _next(deliveries)).packet
        assert got not in own, "what a transport has published itself does not come back to it"
        assert got == theirs, "what matches is delivered"


async def _loses_nothing_when_a_wait_is_cancelled(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """A wait for the next delivery may be cancelled; the next wait gets what came meanwhile."""
    sender, reader, _ = transports
    async with reader.subscribe(_SCHEME.interest(_NEAR)) as deliveries:
        await _cancelled(asyncio.create_task(_one_more(deliveries)))
        for turns in range(8):  # cancelled before, while and after something is given
            waiting = asyncio.create_task(_one_more(deliveries))
            await _turns()
            packet = await _publish(identities[0], sender, f"after {turns} turns", _NEAR)
            await _turns(turns)
            got = await _cancelled(waiting)
            if got is None:
                try:
                    got = await _next(deliveries)
                except StopAsyncIteration:
                    why = "a wait that is cancelled does not end the iteration"
                    raise AssertionError(why) from None
            assert got.packet == packet, "what comes is what was sent"


async def _goes_on_where_a_name_ended(
    identities: Sequence[Identity], transports: Sequence[Transport]
) -> None:
    """A durable name goes on where it ended; any other subscription begins anew."""
    sender, reader, _ = transports
    interest, memory = _SCHEME.interest(_NEAR), b"of the check of durable names"
    sent = [await _publish(identities[0], sender, f"number {i}", _NEAR) for i in range(3)]
    async with reader.subscribe(interest, name="check", memory=memory) as deliveries:
        got = [await _next(deliveries) for _ in sent]
        assert {each.packet for each in got} == set(sent), "a name gets what was published before"
        for each in got[:2]:
            await each.done()
            await each.done()
        if reader.is_durable:
            try:
                async with reader.subscribe(interest, name="check", memory=memory):
                    pass
            except (InputError, TransportError):
                pass
            else:
                raise AssertionError("of one name there is one subscription at a time")
    meanwhile = await _publish(identities[0], sender, "meanwhile", _NEAR)
    await _held(sender)
    left = {got[2].packet, meanwhile} if reader.is_durable else {*sent, meanwhile}
    for kept, wanted in ((memory, left), (b"another store", {*sent, meanwhile})):
        async with reader.subscribe(interest, name="check", memory=kept) as deliveries:
            again = {(await _next(deliveries)).packet for _ in wanted}
            assert again == wanted, (
                "a durable name gets what was not done and what came meanwhile, and everything "
                "if the store is another"
            )


async def _held(transport: Transport) -> None:
    assert await transport.flush(WITHIN_S), "on a network that works, what was published is held"


def _packet(
    identity: Identity, question: str, about: tuple[float, ...], *, since_s: int = 0
) -> Packet:
    return Packet.sign(
        identity,
        outcome=Effect(question=question, measure="OR", estimate=-0.3, standard_error=0.1),
        fingerprint=_SCHEME.fingerprint(about),
        issued_at=int(time.time()) + since_s,
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
    async with asyncio.timeout(WITHIN_S):
        return await anext(deliveries)


async def _turns(number: int = 10) -> None:
    """Let all tasks that are ready run, so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


async def _one_more(deliveries: AsyncIterator[Delivery]) -> Delivery | None:
    return await anext(deliveries, None)


async def _cancelled(task: "asyncio.Task[_Result]") -> "_Result | None":
    """Cancel a task; return its result if it has one already."""
    task.cancel()
    async with asyncio.timeout(WITHIN_S):
        await asyncio.wait([task])
    return None if task.cancelled() else task.result()


PROMISES: Final[tuple[Callable[..., Awaitable[None]], ...]] = (
    _gives_to_those_who_match,
    _gives_each_once_whoever_sends_it,
    _keeps_two_interests_apart,
    _stops_what_is_no_longer_wanted,
    _can_be_cancelled,
    _gives_a_study_whole,
    _gives_late_subscribers_what_was_before,
    _refuses_what_must_not_go_out,
    _gives_nothing_that_is_not_valid_now,
    _goes_on_after_a_fault,
    _gives_nobody_what_is_their_own,
    _loses_nothing_when_a_wait_is_cancelled,
    _goes_on_where_a_name_ended,
    _calls_held_what_outlives_the_publisher,
    _ends_cleanly,
)

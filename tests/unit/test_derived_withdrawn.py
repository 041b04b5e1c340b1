"""A derived packet does not outlive its leaves: it is replaced, or retracted."""

import asyncio

import pytest

import qis
from qis.loop import Outbox
from qis.loop.republishing import random_part
from qis.outcomes import Anchor, Derived, Retraction
from qis.testing import VirtualClock
from tests._builders import Watcher, loop_of, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
STUDY = qis.Study(question="does it help | death", measure="OR", model="fixed")
NOW = 1_800_000_000.0


def loop_on(network, number, clock, **options):
    transport = qis.MemoryTransport(network, site(number))
    republishing = {"republish": True, "republish_interval_s": 0.0, "disclosure": None, **options}
    return loop_of(
        transport, site(number), SCHEME, ABOUT, clock=clock, studies=[STUDY], **republishing
    )


def effect(estimate, n=200):
    return qis.Effect(study=STUDY, measure="OR", estimate=estimate, standard_error=0.2, n=n)


@pytest.mark.parametrize("still_republishes", [True, False])
def test_it_is_retracted_where_no_synthesis_may_replace_it(still_republishes):
    async def scenario():
        network, clock, told = qis.MemoryNetwork(now=NOW), VirtualClock(NOW), Watcher()
        outbox = Outbox()
        first = {"on_event": told, "outbox": outbox}
        async with loop_on(network, 2, clock) as other, loop_on(network, 3, clock) as reader:
            async with loop_on(network, 1, clock, **first) as loop:
                await loop.publish(effect(-0.4), about=ABOUT)
                await other.publish(effect(0.2), about=ABOUT)
                (event,) = await told.until("republished")
                derived = event.packet
                if still_republishes:
                    clock.advance(1.0)
                    await other.retract(STUDY)
                    await told.until("retracted")
            if not still_republishes:  # the leaf goes while this site is away
                clock.advance(1.0)
                await other.retract(STUDY)
                async with loop_on(network, 1, clock, republish=False, **first):
                    await told.until("retracted")
            (event,) = told.of("retracted")
            gone = event.packet
            assert isinstance(gone.outcome, Retraction)
            assert (gone.outcome.role, gone.outcome.reason) == ("derived", "superseded")
            assert gone.routing_commitment == derived.routing_commitment
            assert gone.expires_at >= derived.expires_at
            async with asyncio.timeout(20):
                async for _ in reader:
                    if gone in reader.store:
                        break
            review = reader.store.evidence(STUDY, now=clock.now)
            assert [packet.issuer for packet in review] == [site(1).issuer]  # its own stays
            assert derived not in [left.packet for left in review.excluded]

    asyncio.run(scenario())


def test_it_is_replaced_where_a_synthesis_is_left_and_published_again_later():
    async def scenario():
        network, clock, told = qis.MemoryNetwork(now=NOW), VirtualClock(NOW), Watcher()
        async with (
            loop_on(network, 1, clock, on_event=told) as loop,
            loop_on(network, 2, clock, republish=False) as second,
            loop_on(network, 3, clock, republish=False) as third,
        ):
            await loop.publish(effect(-0.4), about=ABOUT)
            await second.publish(effect(0.2), about=ABOUT)
            await told.until("republished")
            await third.publish(effect(0.3), about=ABOUT)
            await told.until("republished", 2)
            clock.advance(1.0)
            await third.retract(STUDY)
            again = (await told.until("republished", 3))[-1].packet
            assert again.outcome.sites == 2
            assert not told.of("retracted")
            clock.advance(1.0)
            await loop.retract(STUDY)  # its own leaf, and with one site nothing may replace it
            retracted = await told.until("retracted", 2)
            assert [each.packet.outcome.role for each in retracted] == ["primary", "derived"]
            clock.advance(1.0)
            # A synthesis is no outcome that somebody has withdrawn: it may come back.
            await third.publish(effect(0.1, n=400), about=ABOUT, reinstate=True)
            last = (await told.until("republished", 4))[-1].packet
            assert last.outcome.sites == 2

    asyncio.run(scenario())


def test_no_two_sites_wait_equally_long():
    waits = [random_part(60.0) for _ in range(100)]
    assert all(0.0 <= wait < 60.0 for wait in waits)
    assert len(set(waits)) > 95
    assert max(waits) - min(waits) > 30.0


@pytest.mark.parametrize("outcome", [
    Derived(study=STUDY, measure="OR", model="fixed", estimate=0.1, standard_error=0.2, sites=2),
    Anchor(question="does it help | death", model="logistic", coefficients=(0.5,)),
])  # fmt: skip
def test_what_a_wrong_clock_has_dated_is_withdrawn_in_its_own_role(outcome):
    """An expired synthesis or anchor that is superseded leaves the site's evidence in force."""

    async def scenario():
        clock = VirtualClock(NOW)
        async with loop_on(qis.MemoryNetwork(now=NOW), 1, clock) as loop:
            own = await loop.publish(effect(-0.4), about=ABOUT)
            aside = qis.Packet.sign(
                site(1),
                outcome=outcome,
                fingerprint=SCHEME.fingerprint(ABOUT),
                issued_at=int(NOW) - 100,
                lifetime_s=50,
                routing_keys=SCHEME.routing_keys(ABOUT),
            )
            known = qis.loop.outbox.Own(aside, tuple(SCHEME.routing_keys(ABOUT)))
            packet = loop._parts.publisher.publish_again(known, above=aside.sequence)
            assert packet.outcome.role == type(outcome).__name__.lower()
            assert own in loop.store.evidence(STUDY, now=NOW)

    asyncio.run(scenario())

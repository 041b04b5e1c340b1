"""A retraction can always be sent: after a wrong date, and after a lost disk."""

import asyncio

import pytest

import qis
from qis.errors import InputError
from qis.loop import Outbox
from qis.packet import MAX_LIFETIME_S
from qis.testing import VirtualClock
from tests._builders import first_synthesis, loop_of, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
STUDY = qis.Study(question="does it help | death", measure="OR", model="fixed")
NOW = 1_800_000_000.0


def loop_on(network, number, **options):
    options.setdefault("disclosure", None)
    transport = qis.MemoryTransport(network, site(number))
    return loop_of(transport, site(number), SCHEME, ABOUT, **options)


def effect(**others):
    return qis.Effect(
        **{"study": STUDY, **others}, measure="OR", estimate=0.1, standard_error=0.2, n=200
    )


@pytest.mark.parametrize("study", [STUDY, STUDY.id])
def test_after_a_lost_disk_key_study_and_cohort_are_enough(study):
    async def scenario():
        network, clock = qis.MemoryNetwork(now=NOW), VirtualClock(NOW)
        followers = [
            loop_on(network, 2, interest=SCHEME.interest([-1.0, 1.0, -1.0]), studies=[STUDY]),
            loop_on(network, 3),  # to which only the similarity brought it
        ]
        async with followers[0], followers[1]:
            async with loop_on(network, 1, clock=clock) as loop:
                former = await loop.publish(effect(cohort="women"), about=ABOUT)
                assert await loop.flush(20)
            for follower in followers:
                await first_synthesis(follower, lambda s: len(s.sites) == 1)
            clock.advance(10.0)
            # Nothing comes back to it either.
            told = []
            deaf = {"interest": SCHEME.interest([1.0, 1.0, -1.0]), "clock": clock}
            deaf["on_event"] = told.append
            async with loop_on(network, 1, **deaf) as loop:
                withdrawn = await loop.retract(study, "women", reason="error")
                assert await loop.flush(20)
                assert withdrawn.sequence > former.sequence
                assert withdrawn.expires_at == int(clock.now) + MAX_LIFETIME_S
                (limit,) = [event for event in told if event.kind == "limit"]
                assert "about=" in limit.reason
                await first_synthesis(followers[0], lambda s: not s.sites)
                # Who has it by similarity alone is reached with the features.
                again = await loop.retract(study, "women", about=ABOUT)
                assert again.travels_under(SCHEME.routing_keys(ABOUT))
                await first_synthesis(followers[1], lambda s: not s.sites)

    asyncio.run(scenario())


def test_a_slip_of_the_pen_is_no_lost_disk():
    async def scenario():
        async with loop_on(qis.MemoryNetwork(now=NOW), 1) as loop:
            await loop.publish(effect(cohort="women"), about=ABOUT)
            with pytest.raises(InputError, match=r"in force are: .*women.*force=True"):
                await loop.retract(STUDY, "woman")
            assert len(loop.store) == 1
            await loop.retract(STUDY, "woman", force=True)
            await loop.retract(STUDY, "men", about=ABOUT)
            assert (await loop.retract(STUDY, "women")).outcome.cohort == "women"
            with pytest.raises(InputError, match="withdrawn before"):
                await loop.retract(STUDY, "women")

    asyncio.run(scenario())


@pytest.mark.parametrize("days", [1, 300, 1_000])
def test_what_was_dated_far_ahead_can_be_replaced_and_withdrawn(days, tmp_path):
    """Its expiry lies beyond what any packet of today may have: the end is capped."""

    async def scenario():
        ahead = qis.Packet.sign(
            site(1),
            outcome=effect(),
            fingerprint=SCHEME.fingerprint(ABOUT),
            issued_at=int(NOW) + days * 86_400,
            lifetime_s=MAX_LIFETIME_S,
            sequence=int(NOW * 1e6) - 1,
            routing_keys=SCHEME.routing_keys(ABOUT),
        )
        with Outbox(tmp_path / "outbox.db") as outbox:
            outbox.put(ahead, tuple(SCHEME.routing_keys(ABOUT)))
            async with loop_on(qis.MemoryNetwork(now=NOW), 1, outbox=outbox) as loop:
                packet = await loop.publish(effect(), about=ABOUT)
                assert packet.expires_at == int(NOW) + MAX_LIFETIME_S
                withdrawn = await loop.retract(STUDY)
                assert withdrawn.expires_at == int(NOW) + MAX_LIFETIME_S
                assert loop.store.evidence(STUDY, now=NOW) == []

    asyncio.run(scenario())

"""Whatever a network does, each packet has one end, and only what is held is called sent."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import TransportError
from qis.loop import Outbox
from qis.testing import VirtualClock

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0
SITE = qis.Identity.from_seed(bytes([1]) * 32)
QUESTIONS = ("a", "b", "c")
LIFETIME_S = 100

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(QUESTIONS)),
        st.tuples(st.just("retract"), st.sampled_from(QUESTIONS)),
        st.tuples(st.sampled_from(["refuse", "take", "hold", "lose"]), st.sampled_from(QUESTIONS)),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 60.0])),
        st.tuples(st.just("reopen"), st.just("")),
        st.tuples(st.just("turns"), st.integers(1, 20)),
    ),
    max_size=25,
)


class Moody(qis.MemoryTransport):
    """Refuses some questions, and holds some of those that it has taken."""

    def __init__(self, mood):
        super().__init__(qis.MemoryNetwork(now=NOW), SITE)
        self.mood = mood
        self.taken = {}

    async def publish(self, packet, routing_keys):
        if packet.outcome.question in self.mood["refused"]:
            raise TransportError("refused")
        self.taken[packet.id] = packet.outcome.question

    def holding(self, packet_id):
        is_held = self.taken[packet_id] in self.mood["holding"]
        if is_held:
            self.mood["held"].add(packet_id)
        return qis.Holding(is_held=is_held, reason="" if is_held else "not held")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    for name in ("FIRST_RETRY_S", "LAST_RETRY_S", "LAST_CHECK_S"):
        monkeypatch.setattr(f"qis.loop.sender.{name}", 0.0005)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def live(steps):
    clock, events, published = VirtualClock(NOW), [], []
    mood = {"refused": set(), "holding": set(), "held": set()}
    with Outbox() as outbox:
        while True:
            loop = qis.SynthesisLoop(
                SITE,
                Moody(mood),
                SCHEME,
                interest=SCHEME.interest(ABOUT),
                disclosure=qis.Disclosure.preset("none"),
                outbox=outbox,
                clock=clock,
                lifetime_s=LIFETIME_S,
                on_event=events.append,
            )
            async with loop:
                is_over = await act(steps, loop, clock, mood, published)
                if is_over:
                    check_on_the_way(loop, outbox, events, mood)
                    mood["refused"], mood["holding"] = set(), set(QUESTIONS)
                    assert await loop.flush(20)
                    assert loop.undelivered() == ()
                    assert outbox.unsent == 0
                    return events, mood, published


async def act(steps, loop, clock, mood, published):
    """Do what comes next until the loop has to be opened again; whether that was all."""
    while steps:
        what, value = steps.pop(0)
        if what == "publish":
            outcome = qis.Effect(question=value, measure="OR", estimate=-0.3, standard_error=0.2)
            published.append(await loop.publish(outcome, about=ABOUT, reinstate=True))
        elif what == "retract":
            try:
                published.append(await loop.retract(value))
            except qis.InputError:
                continue  # there is nothing to withdraw
        elif what == "reopen":
            return False
        elif what == "advance":
            clock.advance(value)
        elif what == "turns":
            await turns(value)
        else:
            name = "refused" if what in ("refuse", "take") else "holding"
            (mood[name].add if what in ("refuse", "hold") else mood[name].discard)(value)
    return True


def check_on_the_way(loop, outbox, events, mood):
    listed = [missing.packet.id for missing in loop.undelivered()]
    assert len(set(listed)) == len(listed) <= outbox.unsent
    assert {event.packet.id for event in events if event.kind == "sent"} <= mood["held"]
    assert all(missing.reason for missing in loop.undelivered())


@settings(max_examples=60)
@given(STEPS)
def test_each_packet_has_an_end_and_only_what_is_held_is_sent(steps):
    events, mood, published = asyncio.run(live(list(steps)))
    ends = Counter()
    for event in events:
        if event.kind in ("sent", "replaced", "expired"):
            ends[event.packet.id] += 1
            assert event.kind != "sent" or event.packet.id in mood["held"]
    # What is in force is handed over again when the loop opens, and then ends once more.
    assert set(ends) == {packet.id for packet in published}
    reopened = sum(what == "reopen" for what, _ in steps)
    assert max(ends.values(), default=1) <= 1 + reopened


def test_the_former_rule_is_seen_to_call_sent_what_nobody_holds(monkeypatch):
    monkeypatch.setattr("qis.loop.sender.Sender._is_held", lambda self, waiting: True)
    with pytest.raises(AssertionError):
        asyncio.run(live([("publish", "a"), ("turns", 20)]))

"""What goes to one member of direct mode: by measured round trips, paced, each frame done once."""

import random

from hypothesis import given, strategies as st

from qis._guard import Guard
from qis.direct.flow import (
    FIRST_WINDOW,
    LATER_LOST,
    LEAST_WINDOW,
    PORTION,
    TRIES_LIMIT,
    WAITING_LIMIT,
    WINDOW_LIMIT,
    Flow,
    QueuedFrame,
)
from qis.direct.frames import Acknowledgement, PacketFrame, Records, frames_of
from qis.direct.members import Change, OtherMember
from qis.direct.outgoing import ACK_DELAY_S, ACKS_AT_ONCE, Outgoing
from qis.overlay.record import NodeRecord
from qis.overlay.round_trips import FIRST_S

FRAME = Records((bytes(122),))


def filled(count):
    flow = Flow()
    items = [QueuedFrame(FRAME, n.to_bytes(8)) for n in range(1, count + 1)]
    assert all(map(flow.put, items))
    return flow, items


def numbers(frames):
    return [int.from_bytes(frame[1:5]) for frame in frames]


def test_a_first_window_leaves_and_acknowledgements_open_it():
    flow, items = filled(100)
    sent = numbers(flow.take(0.0))
    assert len(sent) == FIRST_WINDOW
    assert flow.take(0.0) == []
    assert flow.acknowledged(sent, 0.1) == items[: len(sent)]
    total = len(sent)
    now = 0.1
    while total < 100:
        now = max(now, flow.next_at())
        more = numbers(flow.take(now))
        assert len(more) <= PORTION  # spread over a round trip
        assert len(flow._under_way) <= WINDOW_LIMIT
        total += len(more)
        now += 0.1
        flow.acknowledged(more, now)
    assert flow.is_over


def test_what_is_not_acknowledged_goes_again_after_ever_longer():
    flow, _ = filled(1)
    now, pauses = 0.0, []
    for _ in range(4):
        assert len(flow.take(now)) == 1
        due = flow.next_at()
        pauses.append(due - now)
        assert not flow.expire(due - 0.001)
        assert flow.expire(due)
        now = due
    assert pauses == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert flow.expiries == 4
    (last,) = numbers(flow.take(now))
    flow.acknowledged([last], now + 0.05)
    assert flow.expiries == 0
    assert flow.is_over


def test_a_later_acknowledgement_shows_a_loss_and_halves_the_window_once():
    flow, items = filled(20)
    sent = numbers(flow.take(0.0))
    before = flow._window
    flow.acknowledged(sent[LATER_LOST:], 0.1)
    assert flow._window < before + len(sent)
    assert flow._window >= LEAST_WINDOW
    assert [item for item in items[:LATER_LOST] if not item.is_done] == items[:LATER_LOST]
    again = flow.take(1.0)
    assert again[0][7:] == flow_body(items[0])  # what was lost goes before what is new
    # A transmission that was believed lost counts all the same, and nothing is done twice.
    assert flow.acknowledged(sent[:1], 1.1) == items[:1]
    assert flow.acknowledged(sent[:1], 1.2) == []


def flow_body(item):
    return item.frame.body()


def test_a_frame_that_its_receiver_cannot_take_is_given_up_and_one_put_off_comes_later():
    flow, (item,) = filled(1)
    now = 0.0
    for _ in range(TRIES_LIMIT):
        (number,) = numbers(flow.take(now))
        flow.acknowledged([number], now)
        flow.put_off(item, now)
        now = flow.next_at() or now
    assert flow.take(now + 100.0) == []
    assert flow.is_over


def test_what_waits_is_bounded_and_a_packet_waits_once():
    flow, _ = filled(WAITING_LIMIT)
    assert not flow.put(QueuedFrame(FRAME, b"one more"))
    assert flow.put(QueuedFrame(FRAME, (1).to_bytes(8)))  # it does already
    assert len(flow.clear()) == WAITING_LIMIT
    assert flow.is_over


@given(st.integers(0, 2**32), st.floats(0.0, 0.5), st.integers(1, 40))
def test_everything_is_done_exactly_once_whatever_is_lost_late_or_repeated(seed, loss, count):
    rng = random.Random(seed)
    flow, items = filled(count)
    now, answers, done = 0.0, [], []
    for _ in range(5_000):
        for number in numbers(flow.take(now)):
            if rng.random() >= loss:
                answers += [(now + rng.uniform(0.01, 2.0), number)] * rng.choice((1, 1, 2))
        answers.sort()
        times = [answers[0][0]] if answers else []
        times += [flow.next_at()] if flow.next_at() is not None else []
        if not times:
            break
        now = max(now, min(times))
        while answers and answers[0][0] <= now:
            done += flow.acknowledged([answers.pop(0)[1]], now)
        flow.expire(now)
        assert len(flow._under_way) <= WINDOW_LIMIT
    given_up = [item for item in items if item.tries >= TRIES_LIMIT]
    assert len(done) == len(set(map(id, done)))
    assert {id(item) for item in items} == {id(item) for item in [*done, *given_up]}


def reached():
    record = NodeRecord(key=b"k" * 32, sequence=1, address=b"a" * 18, signature=b"")
    member = OtherMember(b"k" * 32, record=record)
    member.change(Change.RECORD)
    member.change(Change.HEARD)
    return member


def acknowledgements(datagrams):
    return [
        frame.numbers
        for data, _, _ in datagrams
        for frame, _ in frames_of(data)
        if isinstance(frame, Acknowledgement)
    ]


def test_acknowledgements_wait_a_little_and_leave_together():
    outgoing, member = Outgoing(Guard()), reached()
    outgoing.acknowledge(member, [1], 0.0)
    outgoing.acknowledge(member, [2], ACK_DELAY_S / 2)
    assert outgoing.datagrams(ACK_DELAY_S / 2) == []
    assert acknowledgements(outgoing.datagrams(ACK_DELAY_S)) == [(1, 2)]
    assert outgoing.datagrams(1.0) == []
    assert outgoing.active == []


def test_acknowledgements_go_with_a_packet_and_many_do_not_wait():
    outgoing, member = Outgoing(Guard()), reached()
    outgoing.acknowledge(member, [1], 0.0)
    outgoing.put(member, PacketFrame(1, bytes(512)), b"id")
    (datagram,) = outgoing.datagrams(0.0)
    assert acknowledgements([datagram]) == [(1,)]
    outgoing.acknowledge(member, list(range(2, 2 + ACKS_AT_ONCE)), 0.0)
    assert len(acknowledgements(outgoing.datagrams(0.0))) == 1

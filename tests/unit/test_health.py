"""Notices, health and containment: counted, told once and then at tenfold counts."""

import asyncio
import logging

import pytest

from qis._guard import Guard
from qis.health import OTHERS, SUBJECTS_LIMIT, Condition, HealthState, Notices, together


@pytest.fixture(autouse=True)
def faults():
    """Instead of the one that refuses faults: here they are what is tested."""


@pytest.fixture
def notices():
    return Notices(logging.getLogger("qis.test"))


@pytest.fixture
def heard(notices):
    found = []
    notices.listen(found.append)
    return found


def test_a_flood_is_told_at_each_tenfold_count(notices, heard):
    for _ in range(1_234):
        notices.tell("limit", "inbox", "full")
    assert [notice.count for notice in heard] == [1, 10, 100, 1_000]
    assert notices.counts["limit", "inbox"] == 1_234


def test_several_at_once_are_told_when_a_digit_is_gained(notices, heard):
    notices.tell("limit", "inbox", "full", times=7)
    notices.tell("limit", "inbox", "full", times=2)
    notices.tell("limit", "inbox", "full", times=200)
    assert [notice.count for notice in heard] == [7, 209]


def test_subjects_that_a_stranger_chooses_take_bounded_memory(notices, heard):
    for number in range(2 * SUBJECTS_LIMIT + 500):
        notices.tell("refusal", str(number), "not on the roster")
    assert len(notices.counts) == 2 * SUBJECTS_LIMIT + 1
    assert notices.counts["refusal", OTHERS] == 500
    assert len(heard) == 2 * SUBJECTS_LIMIT + 3


def test_a_flood_of_strangers_names_keeps_nothing_else_from_being_told(notices, heard):
    for number in range(SUBJECTS_LIMIT + 10):
        notices.tell("limit", f"inbox: {number}", "full")
    heard.clear()
    for kind, subject in (
        ("limit", "outbox: 1"),
        ("limit", "outbox: 2"),
        ("limit", "sessions"),
        ("fault", "udp.handling: KeyError"),
        ("fault", "directory.poll: OSError"),
    ):
        notices.tell(kind, subject, "x")
    assert [notice.subject for notice in heard] == [
        f"outbox: {OTHERS}",
        "sessions",
        "udp.handling: KeyError",
        "directory.poll: OSError",
    ]


def test_what_strangers_name_takes_bounded_memory_whatever_comes_before(notices):
    for number in range(3 * SUBJECTS_LIMIT):
        notices.tell("refusal", f"{number}: {number}", "x")
    assert len(notices.counts) == 2 * SUBJECTS_LIMIT + 1


def test_a_listener_that_fails_is_logged_and_the_others_hear(notices, caplog):
    found = []
    notices.listen(lambda _: 1 / 0)
    notices.listen(found.append)
    notices.tell("fault", "seam", "x")
    assert len(found) == 1
    assert "listener" in caplog.text


def test_who_stops_listening_hears_no_more(notices, heard):
    found = []
    end = notices.listen(found.append)
    end()
    end()
    notices.tell("fault", "seam", "x")
    assert not found
    assert len(heard) == 1


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, OSError])
def test_the_guard_contains_and_tells(notices, heard, error):
    guard = Guard(notices)
    with guard.item("udp.datagrams"):
        raise error("a patient's name")
    assert guard.faults == 1
    assert heard[0].kind == "fault"
    assert heard[0].subject == f"udp.datagrams: {error.__name__}"
    assert "patient" not in heard[0].reason


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_the_guard_lets_pass_what_ends_a_task_or_the_process(notices, heard, error):
    with pytest.raises(error), Guard(notices).item("seam"):
        raise error
    assert not heard


def test_health_is_the_worst_reason_and_each_change_is_told(notices, heard):
    condition = Condition(notices, now=1.0)
    condition.set("slow", HealthState.DEGRADED, "the disk is slow", now=2.0)
    condition.set("blocked", HealthState.CUT_OFF, "nobody answers", now=3.0)
    condition.set("blocked", HealthState.CUT_OFF, "nobody answers", now=4.0)
    health = condition.health
    assert health.state is HealthState.CUT_OFF
    assert health.since == 3.0
    assert [reason.code for reason in health.reasons] == ["blocked", "slow"]
    assert [reason.since for reason in health.reasons] == [3.0, 2.0]
    condition.clear("blocked", now=5.0)
    assert condition.health.state is HealthState.DEGRADED
    assert condition.health.since == 5.0
    condition.clear("slow", now=6.0)
    condition.clear("slow", now=6.5)
    assert condition.health.state is HealthState.OK
    assert [notice.kind for notice in heard] == ["health"] * 4
    assert str(health) == "cut off; nobody answers; the disk is slow"


def test_the_state_without_a_reason_is_open_or_closed(notices, heard):
    condition = Condition(notices, now=1.0, state=HealthState.CLOSED)
    condition.rest(HealthState.OK, now=2.0)
    condition.rest(HealthState.OK, now=3.0)
    assert condition.health.since == 2.0
    assert [notice.subject for notice in heard] == ["ok"]


def test_the_health_of_a_whole_is_that_of_its_worst_part():
    parts = [Condition(Notices(None), now=float(at)) for at in (1, 2, 3)]
    parts[0].set("a", HealthState.DEGRADED, "first", now=10.0)
    parts[1].set("b", HealthState.CUT_OFF, "second", now=20.0)
    parts[2].set("c", HealthState.CUT_OFF, "third", now=30.0)
    whole = together(*(part.health for part in parts))
    assert whole.state is HealthState.CUT_OFF
    assert whole.since == 20.0
    assert [reason.code for reason in whole.reasons] == ["b", "c", "a"]
    assert str(whole) == "cut off; second; third; first"
    assert together(Condition(Notices(None), now=4.0).health).state is HealthState.OK

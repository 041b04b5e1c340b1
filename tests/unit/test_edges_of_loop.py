"""Edges of a loop's parts that a change of one operator crosses unseen elsewhere."""

import asyncio
from types import SimpleNamespace

import pytest

import qis
from qis.errors import InputError, StorageError
from qis.evidence.rules import evidence_key
from qis.health import Notices
from qis.loop import Outbox, intake as intake_module
from qis.loop.approval import name_of, verdict_of
from qis.loop.clock_watch import ClockWatch
from qis.loop.events import Event
from qis.loop.intake import Intake
from qis.loop.journal import Journal
from qis.loop.matches import Matches
from qis.loop.outbox import Own
from qis.loop.recovery import Recovery, _due_at
from qis.loop.republishing import LEAST_SITES, _outcome_of
from qis.packet import CLOCK_TOLERANCE_S
from tests._builders import NOW, effect, signed, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]


def packet(number, estimate=0.1, *, at=NOW, **about):
    return signed(number, effect(estimate, **about), scheme=SCHEME, about=ABOUT, at=at)


# --- the outbox -------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, True, 1.0, "3", None])
def test_an_outbox_has_room_for_a_whole_number_of_packets(limit):
    with pytest.raises(InputError, match="number"):
        Outbox(limit=limit)


def test_an_outbox_in_memory_judges_no_packet_from_before_it_began():
    with Outbox() as outbox:
        outbox.begins(NOW)
        assert outbox.noticed(packet(1, at=NOW - 1)) == 0
        assert outbox.noticed(packet(1, at=NOW + 1)) == 1
        assert outbox.noticed(packet(1, at=NOW + 1)) == 0  # told already


def test_what_a_restored_site_has_published_is_its_own_again(tmp_path):
    """Each that is the newest of its evidence key; none that a wrong clock has dated."""
    old, new = packet(1, 0.1, at=NOW), packet(1, 0.2, at=NOW + 10)
    aside, other = packet(1, 0.3, at=NOW + 20), packet(1, question="other", at=NOW + 30)
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.set_aside([Own(aside, ())], [], limit=None)
        for each in (aside, other, new, old):  # the one that is passed over comes first
            outbox.noticed(each)
        assert outbox.findings()
        outbox.adopt_unknown()
        assert {own.packet for own in outbox.own().values()} == {new, other}
        assert [each.packet for each in outbox.aside()] == [aside]
        for each in (old, new, other):
            assert outbox.noticed(each) == 0
        # What is found from now on is counted from one again.
        assert outbox.noticed(packet(1, question="later", at=NOW + 40)) == 1


def test_of_what_was_set_aside_under_a_key_the_newest_is_given():
    first, second = packet(1, 0.1), packet(1, 0.2, at=NOW + 1)
    other = packet(1, question="other", at=NOW + 2)
    with Outbox() as outbox:
        outbox.set_aside([Own(each, ()) for each in (second, other, first)], [], limit=None)
        found = SimpleNamespace(_outbox=outbox)
        assert Recovery.aside_under(found, evidence_key(first)).packet == second
        assert Recovery.aside_under(found, evidence_key(other)).packet == other
        assert Recovery.aside_under(found, evidence_key(packet(1, question="q2"))) is None


def test_a_packet_that_is_dated_ahead_is_due_when_others_admit_it():
    due_s = _due_at(packet(1))
    assert NOW - CLOCK_TOLERANCE_S < due_s < NOW
    numbered = signed(1, effect(), sequence=(NOW + 60) * 10**6)
    assert _due_at(numbered) == due_s + 60.0


# --- the audit log ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", [Journal.not_emitted, Journal.let_go])
def test_what_was_recorded_as_emitted_and_did_not_leave_has_a_line_by_its_id(call, tmp_path):
    with qis.AuditLog(tmp_path / "audit.jsonl") as audit:
        journal, mine = Journal(audit, "none", lambda: NOW), packet(1)
        call(journal, mine if call is Journal.not_emitted else [mine], "disk full")
        (entry,) = audit.entries()
        assert (entry.event, entry.subject) == ("refused", (mine.id.hex(),))
        assert "disk full" in entry.reason


# --- who decides ------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_rule_answers_yes_no_or_not_yet(answer):
    assert asyncio.run(verdict_of(lambda _: answer, None)) is answer


@pytest.mark.parametrize("answer", [1, 0, "no", "", [], 1.0])
def test_nothing_else_is_an_answer(answer):
    with pytest.raises(InputError, match="only True, False"):
        asyncio.run(verdict_of(lambda _: answer, None))


def test_who_approves_is_named():
    def rule(_):
        return True

    assert [name_of(each) for each in (None, "", "manual")] == ["none", "none", "manual"]
    assert name_of(rule).endswith("rule")


# --- what comes in ----------------------------------------------------------------------------


def test_each_record_is_given_once():
    matches = Matches(Notices(None))
    packets = [
        signed(n, qis.Record(question="q", content={"n": n}), scheme=SCHEME, about=ABOUT)
        for n in range(1, 4)
    ]
    for each in packets[:2]:
        matches.add(each)
    (_, first), (number, second) = matches.since(0)
    assert [first.packet, second.packet] == packets[:2]
    assert matches.since(number) == []
    matches.add(packets[2])
    assert [match.packet for _, match in matches.since(number)] == packets[2:]


def test_no_more_packets_than_the_limit_wait_to_be_stored(monkeypatch):
    monkeypatch.setattr(intake_module, "WAITING_LIMIT", 2)

    async def scenario():
        waiting = SimpleNamespace(
            _waiting=[], _has_room=asyncio.Event(), _has_some=asyncio.Event(), _undone={}
        )
        for number in (1, 2):
            await Intake._take(waiting, SimpleNamespace(packet=packet(number)))
        third = asyncio.create_task(Intake._take(waiting, SimpleNamespace(packet=packet(3))))
        await asyncio.sleep(0)
        assert len(waiting._waiting) == 2
        waiting._waiting.pop(0)
        waiting._has_room.set()
        await third
        assert len(waiting._waiting) == 2

    asyncio.run(scenario())


# --- clocks, events, syntheses ----------------------------------------------------------------


def test_the_clocks_of_others_are_waited_for_once():
    waits = []

    async def hear_clocks(timeout_s):
        waits.append(timeout_s)

    async def scenario():
        transport = SimpleNamespace(hear_clocks=hear_clocks)
        watch = SimpleNamespace(_has_waited=False, _transport=transport)
        for _ in range(3):
            await ClockWatch.hear(watch)

    asyncio.run(scenario())
    assert len(waits) == 1


def test_an_event_names_its_synthesis_by_digest():
    found = qis.synthesise([packet(1)], model="fixed")
    told = {"kind": "synthesised", "at": float(NOW)}
    assert found.digest.hex() in Event(**told, synthesis=found).fields().values()
    assert found.digest.hex() not in Event(**told).fields().values()


@pytest.mark.parametrize("sites", [LEAST_SITES - 1, LEAST_SITES, LEAST_SITES + 1])
def test_a_synthesis_leaves_from_so_many_sites_on(sites):
    found = qis.synthesise([packet(number) for number in range(1, sites + 1)], model="fixed")
    outcome = _outcome_of(found)
    assert (outcome is not None) == (sites >= LEAST_SITES)
    if outcome is not None:
        assert (outcome.sites, outcome.estimate) == (sites, found.estimate)


def test_a_study_whose_evidence_cannot_be_read_is_read_again(faults, monkeypatch):
    monkeypatch.setattr("qis._guard.FIRST_PAUSE_S", 0.001)
    faults.expect("loop.synthesis: StorageError")

    class Once(qis.MemoryStore):
        failures = 1

        def reviewer(self, *given, **options):
            if self.failures:
                self.failures -= 1
                raise StorageError("the share is away")
            return super().reviewer(*given, **options)

    async def scenario():
        network, store = qis.MemoryNetwork(now=NOW), Once(roster=qis.Roster.open())
        async with qis.SynthesisLoop(
            site(1),
            qis.MemoryTransport(network, site(1)),
            SCHEME,
            interest=SCHEME.interest(ABOUT),
            disclosure=qis.Disclosure.preset("none"),
            store=store,
        ) as loop:
            await loop.publish(effect(), about=ABOUT)
            async with asyncio.timeout(20):
                assert (await anext(aiter(loop))).estimate == 0.1
        assert store.failures == 0

    asyncio.run(scenario())

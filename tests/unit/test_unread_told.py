"""What a stricter rule no longer reads is said in the loop's health, until something stands in."""

import asyncio
import sqlite3

import pytest

import qis
from qis.disclosure import Disclosure
from qis.errors import InputError
from qis.evidence import AuditLog
from qis.loop import Outbox, Pending
from qis.loop.approval import Draft

NOW = 1_800_000_000
QUESTION = "a vs b | death"
SCHEME = qis.VectorScheme(dimensions=3)
OWN, OTHER = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2))


def signed(site, cohort, at=NOW):
    return qis.Packet.sign(
        site,
        outcome=qis.Suppressed(question=QUESTION, cohort=cohort),
        fingerprint=SCHEME.fingerprint([1.0, 0.0, 0.0]),
        issued_at=at,
        lifetime_s=86_400,
    )


@pytest.fixture
def older(tmp_path, monkeypatch):
    """Store and outbox that an older version has written, with its wider rule for texts."""
    store_path, outbox_path = tmp_path / "store.db", tmp_path / "outbox.db"
    with monkeypatch.context() as former:
        former.setattr("qis.outcomes._base.normal_text", lambda text, *_: text)
        theirs, ours = signed(OTHER, "north\u200b"), signed(OWN, "south\u200b")
        draft = Draft(
            outcome=qis.Suppressed(question=QUESTION, cohort="west\u200b"),
            fingerprint=ours.fingerprint,
            base_keys=(),
        )
        preview = Disclosure.preset("cms").preview(draft.outcome)
        waits = Pending.of(draft, preview, explain="as it would leave", now=NOW)
        store = qis.SQLiteStore(store_path, roster=qis.Roster.open())
        store.add_many([theirs], now=NOW)
        store.close()
        with Outbox(outbox_path) as outbox:
            outbox.put(ours, ())
            outbox.hold(waits)
    for path, change in (
        (store_path, "DELETE FROM rules"),
        (outbox_path, "DELETE FROM facts WHERE name = 'rules'"),
    ):
        database = sqlite3.connect(path)
        database.execute(change)
        database.commit()
        database.close()
    return store_path, outbox_path, waits.id


def loop_of(store, outbox, told, audit=None):
    return qis.SynthesisLoop(
        OWN,
        qis.DirectoryTransport(store.path.parent, OWN, clock=lambda: NOW + 10.0),
        SCHEME,
        interest=SCHEME.interest([1.0, 0.0, 0.0]),
        interest_people=0,
        store=store,
        outbox=outbox,
        audit=audit,
        disclosure=Disclosure.preset("none"),
        on_event=told.append,
        clock=lambda: NOW + 10.0,
    )


def test_it_is_in_the_health_and_an_event_until_something_newer_stands_in(older, tmp_path):
    async def scenario():
        store_path, outbox_path, waiting_id = older
        store, told = qis.SQLiteStore(store_path, roster=qis.Roster.open()), []
        with Outbox(outbox_path) as outbox, AuditLog(tmp_path / "audit.jsonl") as audit:
            async with loop_of(store, outbox, told, audit) as loop:
                reasons = {reason.code: reason.text for reason in loop.health.reasons}
                assert str(OTHER.issuer) in reasons["unread_evidence"]
                assert "U+200B" in reasons["unread_evidence"]
                assert waiting_id in reasons["unread_own"]
                subjects = [event.subject for event in told if event.kind == "health"]
                assert {"unread_evidence", "unread_own"} <= set(subjects)
                with pytest.raises(InputError, match="no longer read"):
                    await loop.release(waiting_id, approver="Ada")
                await loop.reject(waiting_id, approver="Ada")
                assert "rejected" in [event.kind for event in told]
                await loop.publish(
                    qis.Suppressed(question=QUESTION, cohort="south"),
                    about=[1.0, 0.0, 0.0],
                    people=0,
                )
            audit.verify()
            store.add_many([signed(OTHER, "north", NOW + 5)], now=NOW + 10)
            async with loop_of(store, outbox, told) as loop:
                codes = {reason.code for reason in loop.health.reasons}
                assert not codes & {"unread_evidence", "unread_own"}
        store.close()

    asyncio.run(scenario())

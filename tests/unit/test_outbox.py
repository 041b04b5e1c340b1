"""The outbox: what was put in is there after a crash, sequences only grow, one writer a key."""

import sqlite3

import pytest

import qis
from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence.rules import Role
from qis.loop import Outbox
from qis.loop.approval import Draft, Pending
from qis.loop.outbox import Look
from tests._builders import effect, signed

NOW = 1_800_000_000
SITE = qis.Identity.from_seed(bytes([1]) * 32)
OTHER = qis.Identity.from_seed(bytes([2]) * 32)
ABOUT = qis.Fingerprint(bytes(32), bytes(8))
KEYS = (b"key one.", b"key two.")


def packet(number, *, identity=SITE, question="q", cohort=""):
    outcome = effect(number / 10, question=question, cohort=cohort)
    options = {"fingerprint": ABOUT, "routing_keys": KEYS, "sequence": NOW * 10**6 + number}
    return signed(identity, outcome, at=NOW, lifetime_s=1000, **options)


def pending(number=1, *, subjects=None):
    draft = Draft(
        outcome=packet(number).outcome, fingerprint=ABOUT, base_keys=KEYS, subjects=subjects
    )
    preview = qis.Disclosure.preset("cms").preview(draft.outcome)
    return Pending.of(draft, preview, explain="as it would leave", now=float(NOW + number))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


@pytest.fixture(params=["memory", "file"])
def outbox(request, path):
    with Outbox(path if request.param == "file" else None, limit=3) as made:
        yield made


def test_a_queue_in_order_until_it_is_taken(outbox):
    packets = [packet(number) for number in (1, 2, 3)]
    for one in packets:
        assert outbox.put(one, KEYS) is False
    assert outbox.unsent == 3
    assert outbox.last_sequence == packets[-1].sequence
    queued = outbox.queued()
    assert [unsent.packet for unsent in queued] == packets
    assert {unsent.routing_keys for unsent in queued} == {KEYS}
    assert outbox.queued(after=queued[0].number, most=1) == queued[1:2]
    outbox.taken([each.number for each in queued[:2]])
    assert outbox.queued() == queued[2:]
    assert outbox.unsent == 1


def test_a_used_sequence_is_refused(outbox):
    outbox.put(packet(5), KEYS)
    for number in (4, 5):
        with pytest.raises(StorageError, match="used already"):
            outbox.put(packet(number, question="another"), KEYS)
    outbox.raise_sequence(NOW * 10**6 + 9)
    outbox.raise_sequence(NOW * 10**6 + 2)
    with pytest.raises(StorageError, match="used already"):
        outbox.put(packet(9), KEYS)
    assert [unsent.packet for unsent in outbox.queued()] == [packet(5)]


def test_the_newest_packet_of_each_key_is_kept_with_its_routing_keys(outbox):
    outbox.put(packet(1), KEYS)
    outbox.put(packet(2, cohort="second"), KEYS)
    outbox.put(packet(3), KEYS[:1])
    own = outbox.own()
    assert {key.cohort: own[key] for key in own} == {
        "": (packet(3), KEYS[:1]),
        "second": (packet(2, cohort="second"), KEYS),
    }
    assert {key.role for key in own} == {Role.PRIMARY}


def test_what_is_in_force_is_queued_again(outbox):
    outbox.put(packet(1), KEYS)
    outbox.put(packet(2), KEYS)
    outbox.put(packet(3, cohort="second"), KEYS)
    outbox.taken([each.number for each in outbox.queued()[:2]])
    again = outbox.queue_again(now=NOW)
    assert again == [packet(2)]  # the newest of its key; the other is still queued
    assert [unsent.packet.sequence % 10 for unsent in outbox.queued()] == [3, 2]
    assert outbox.unsent == 2
    assert outbox.queue_again(now=NOW) == []
    outbox.taken([each.number for each in outbox.queued()])
    assert outbox.queue_again(now=NOW + 1000) == []  # expired


def test_what_is_taken_back_was_never_there_but_its_sequence_stays_used(outbox):
    waiting = pending()
    outbox.put(packet(1), KEYS)
    outbox.hold(waiting)
    former = next(iter(outbox.own().values()))
    assert outbox.put(packet(2), KEYS, releases=waiting.id) is True
    assert outbox.waiting() == ()
    outbox.take_back(packet(2), former, waits=waiting)
    assert [unsent.packet for unsent in outbox.queued()] == [packet(1)]
    assert list(outbox.own().values()) == [former]
    assert outbox.waiting() == (waiting,)
    assert outbox.unsent == 1
    with pytest.raises(StorageError, match="used already"):
        outbox.put(packet(2), KEYS)
    outbox.take_back(packet(1), None)
    assert outbox.own() == {}


def test_outcomes_wait_with_all_that_a_person_needs(outbox):
    subjects = qis.disclosure.subject_hashes({"ann": "1", "bob": ""}, key=bytes(32))
    first, second = pending(2, subjects=subjects), pending(1)
    outbox.hold(first)
    outbox.hold(second)
    assert outbox.waiting() == (second, first)  # by when they were submitted
    assert outbox.waiting()[1].draft.subjects == subjects
    assert first.explain in str(first)
    assert first.preview in str(first)
    outbox.hold(pending(3))
    with pytest.raises(InputError, match="release or reject"):
        outbox.hold(pending(4))
    outbox.drop(first.id)
    assert outbox.waiting() == (second, pending(3))
    assert len({pending(number).id for number in range(20)}) == 20


def test_looks_are_counted(outbox):
    study = qis.Study(question="q").id
    assert outbox.look(study) == Look(b"", 0)
    outbox.looked(study, Look(b"what was seen", 3))
    assert outbox.look(study) == (b"what was seen", 3)


def test_everything_is_there_when_it_is_opened_again(path):
    with Outbox(path) as outbox, outbox.claimed(SITE.issuer):
        for number in (1, 2):
            outbox.put(packet(number), KEYS)
        outbox.taken([outbox.queued()[0].number])
        outbox.hold(pending())
        before = outbox.queued(), outbox.own(), outbox.waiting(), outbox.last_sequence
    assert path.stat().st_mode & 0o777 == 0o600
    with Outbox(path) as outbox:
        assert (outbox.queued(), outbox.own(), outbox.waiting(), outbox.last_sequence) == before
        assert outbox.unsent == 1
        # The queue's numbers go on, so what a stopped process had confirmed is not confused.
        outbox.put(packet(3), KEYS)
        assert outbox.queued()[1].number == 3


def test_one_writer_a_file_and_a_key(path):
    with Outbox(path) as outbox:
        with pytest.raises(StorageError, match="one writer"):
            Outbox(path)
        with outbox.claimed(SITE.issuer):
            with pytest.raises(StorageError, match="another loop"), outbox.claimed(SITE.issuer):
                pass
            with (
                Outbox(path.with_name("second.db")) as second,
                pytest.raises(StorageError, match="with this key"),
                second.claimed(SITE.issuer),
            ):
                pass
        with outbox.claimed(SITE.issuer):
            pass
        with pytest.raises(InputError, match="belongs to issuer"), outbox.claimed(OTHER.issuer):
            pass


def test_an_outbox_that_cannot_be_used_says_so(path, tmp_path):
    with pytest.raises(InputError, match="positive"):
        Outbox(limit=0)
    with pytest.raises(StorageError, match="unable to open"):
        Outbox(tmp_path / "nowhere" / "outbox.db")
    path.write_bytes(b"")
    with pytest.raises(StorageDamagedError, match="no account ever is"):
        Outbox(path)
    store = qis.SQLiteStore(tmp_path / "store.db", roster=qis.Roster.open())
    store.close()
    with pytest.raises(StorageDamagedError, match="no account of qis"):
        Outbox(store.path)
    closed = Outbox()
    closed.close()
    closed.close()
    for use in (closed.queued, closed.waiting, lambda: closed.put(packet(1), KEYS)):
        with pytest.raises(StorageError, match="closed"):
            use()
    with pytest.raises(StorageError, match="closed"), closed.claimed(SITE.issuer):
        pass


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE unsent SET packet = zeroblob(512)",
        "UPDATE own SET packet = zeroblob(512)",
        "UPDATE waiting SET body = x'ff'",
        "UPDATE waiting SET kind = 99",
        "UPDATE waiting SET subjects = '['",
    ],
)
def test_damage_inside_is_named(path, change):
    with Outbox(path) as outbox:
        outbox.put(packet(1), KEYS)
        outbox.hold(pending())
    database = sqlite3.connect(path)
    with database:
        database.execute(change)
    database.close()
    with Outbox(path) as outbox, pytest.raises(StorageDamagedError, match="left as it is"):
        assert (outbox.queued(), outbox.own(), outbox.waiting()) is None


def test_a_packet_that_is_no_longer_read_is_set_aside_and_named_once(tmp_path, monkeypatch, caplog):
    path = tmp_path / "outbox.db"
    with monkeypatch.context() as former:
        former.setattr("qis.outcomes._base.normal_text", lambda text, *_: text)
        ugly = qis.Packet.sign(
            qis.Identity.from_seed(bytes(32)),
            outcome=qis.Suppressed(question="a vs b | death", cohort="north\u200b"),
            fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
            issued_at=1_800_000_000,
            lifetime_s=86_400,
        )
    Outbox(path).close()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO unsent (packet, keys) VALUES (?, x'')", (bytes(ugly),))
    database.execute("INSERT INTO own VALUES (x'00', x'00', '', 0, ?, x'')", (bytes(ugly),))
    database.execute("DELETE FROM facts WHERE name = 'rules'")
    database.commit()
    database.close()
    with Outbox(path) as outbox:
        assert outbox.unread == [bytes(ugly)]
        assert outbox.unsent == 0
        assert outbox.queued() == []
        assert outbox.own() == {}
    assert str(ugly.sequence) in caplog.text
    assert "publish its outcome anew" in caplog.text
    caplog.clear()
    with Outbox(path) as outbox:
        assert outbox.unread == [bytes(ugly)]
    assert not caplog.text


def ugly_pending(monkeypatch):
    with monkeypatch.context() as former:
        former.setattr("qis.outcomes._base.normal_text", lambda text, *_: text)
        ugly = qis.Suppressed(question="a vs b | death", cohort="north\u200b")
        draft = Draft(outcome=ugly, fingerprint=ABOUT, base_keys=KEYS)
        preview = qis.Disclosure.preset("cms").preview(draft.outcome)
        # Of a clock that gives whole numbers, which the file keeps as reals.
        return Pending.of(draft, preview, explain="as it would leave", now=NOW)


def without_rules(path, *changes):
    database = sqlite3.connect(path)
    for change in ("DELETE FROM facts WHERE name = 'rules'", *changes):
        database.execute(change)
    database.commit()
    database.close()


def test_what_waits_and_is_no_longer_read_is_set_aside_and_named(path, monkeypatch, caplog):
    waits, ugly = pending(), ugly_pending(monkeypatch)
    with Outbox(path) as outbox:
        outbox.hold(waits)
        outbox.hold(ugly)
    without_rules(path)
    with Outbox(path) as outbox:
        assert outbox.waiting() == (waits,)
        (aside,) = outbox.unread_waiting
        assert (aside.id, aside.explain) == (ugly.id, "as it would leave")
        assert "U+200B" in aside.reason
        assert ugly.id in caplog.text
        outbox.drop(ugly.id)
        assert outbox.unread_waiting == []


def test_what_waits_and_was_changed_on_disk_is_damage_and_not_set_aside(path, monkeypatch):
    with Outbox(path) as outbox:
        outbox.hold(ugly_pending(monkeypatch))
    without_rules(path, "UPDATE waiting SET kind = 99")
    with Outbox(path) as outbox:
        assert outbox.unread_waiting == []
        with pytest.raises(StorageDamagedError):
            outbox.waiting()

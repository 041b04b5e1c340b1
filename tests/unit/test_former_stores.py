"""Files of former versions of the code: nothing is lost, and trust comes before the head."""

import gzip
from pathlib import Path

import pytest

import qis
from qis.evidence import Admission, Reason, Roster, Site, SiteKey, SQLiteStore

DATA = Path(__file__).parent.parent / "data" / "evidence"
NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]


@pytest.fixture(params=["schema1", "schema2"])
def path(request, tmp_path):
    found = tmp_path / "evidence.db"
    found.write_bytes(gzip.decompress((DATA / f"{request.param}.db.gz").read_bytes()))
    return found


def estimates(store):
    return sorted(packet.outcome.estimate for packet in store.evidence("q", now=NOW))


def test_all_is_there_and_a_wild_sequence_pins_nothing(path):
    for _ in range(2):
        store = SQLiteStore(path, roster=Roster.open())
        store.verify()
        assert len(store) == 10
        assert len(store.equivocations()) == 1
        assert estimates(store) == [0.3, 0.4]
        (ahead,) = store.review("q", now=NOW).excluded_for(Reason.SEQUENCE_AHEAD)
        assert (ahead.sequence, ahead.outcome.estimate) == (2**64 - 1, 9.0)
        store.close()
    store = SQLiteStore(path, roster=Roster.open())
    effect = qis.Effect(
        question="q", cohort="women", measure="OR", estimate=0.45, standard_error=1.0
    )
    newer = qis.Packet.sign(
        SITES[0],
        outcome=effect,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW + 30,
        lifetime_s=3600,
    )
    assert store.foreseen(newer, now=NOW) is Admission.ACCEPTED
    assert store.add(newer, now=NOW) is Admission.ACCEPTED
    assert estimates(store) == [0.3, 0.45]
    store.close()


def test_what_the_former_head_hid_is_found_when_the_roster_refuses_it(path):
    def site(number, **validity):
        return Site(name=f"site {number}", keys=(SiteKey(issuer=SITES[number].issuer, **validity),))

    store = SQLiteStore(path, roster=Roster((site(0, valid_until=NOW + 10),)))
    assert estimates(store) == [0.2, 0.4]
    for roster, expected in (
        (Roster((site(0, valid_until=NOW + 1),)), [0.1]),
        (Roster((site(0), site(1), site(2))), [0.3, 0.4]),
        (Roster((site(1), site(2, valid_until=NOW + 2))), [0.8]),
        (Roster((site(1, valid_until=NOW + 1),)), [0.5]),
    ):
        store.roster = roster
        assert estimates(store) == expected
    store.close()

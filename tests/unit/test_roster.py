"""Rosters from files: what they say, who signed them, and what a change does to the evidence."""

import os

import pytest

import qis
from qis.errors import (
    ConfigurationError,
    InputError,
    SignatureError,
    StorageDamagedError,
    StorageError,
)
from qis.evidence import Reason, RosterFile, sign_roster
from tests._builders import effect, signed as of_site

NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
COORDINATORS = [qis.Identity.from_seed(bytes([n]) * 32) for n in (11, 12, 13)]
KEYS = [identity.issuer for identity in COORDINATORS]
STUDY = qis.Study(question="q")

TEXT = f"""
version = 1

[[site]]
name = "north"
shares_patients_with = ["registry"]

[[site.key]]
issuer = "{SITES[0].issuer}"
valid_from = 2027-01-15T08:00:00Z
valid_until = 2027-06-01

[[site]]
name = "registry"
studies = ["{STUDY.id.hex()}"]

[[site.key]]
issuer = "{SITES[1].issuer}"
valid_from = 0
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "roster.toml"
    file.write_text(TEXT)
    return file


def change(path, old, new):
    text = path.read_text().replace(old, new)
    assert new in text
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def packet(site, second=0):
    return of_site(SITES[site], effect(), at=NOW + second)


def test_a_file_says_what_a_roster_says(path):
    roster = qis.Roster.load(path)
    north, registry = roster.sites
    assert (north.name, registry.name) == ("north", "registry")
    assert north.keys[0].valid_from == NOW  # 2027-01-15 08:00 UTC
    assert north.keys[0].valid_until == 1_811_808_000  # 2027-06-01 00:00 UTC
    assert north.enrolled_in(bytes(8))
    assert registry.enrolled_in(STUDY.id)
    assert not registry.enrolled_in(bytes(8))
    assert roster.overlaps_of("registry") == {"north"}
    assert not roster.accepts(SITES[2].issuer)
    assert not roster.is_open


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "versoin = 1", "unknown key 'versoin'"),
        ("version = 1", "version = -1", "whole number"),
        ("[[site.key]]", "[[site.keys]]", "unknown key 'keys'"),
        ("valid_from = 0", "revoked = 1", "true or false"),
        ("valid_from = 0", "valid_from = 2027-01-01T00:00:00", "zone"),
        ("valid_from = 0", 'valid_from = "soon"', "whole number"),
        (str(SITES[1].issuer), str(SITES[0].issuer), "first 8 bytes"),
        (str(SITES[1].issuer), "abcd", "32 bytes"),
        (str(SITES[1].issuer), "xyz", "hexadecimal"),
        ('"registry"]', '"regisrty"]', "no other site"),
        ('name = "registry"', 'name = "north"', "named 'north'"),
        (STUDY.id.hex(), "00", "8 bytes"),
        ("version = 1", "version = ", "TOML"),
    ],
)
def test_what_is_no_roster_is_refused_with_the_line(path, old, new, says):
    change(path, old, new)
    with pytest.raises(InputError, match=says) as caught:
        qis.Roster.load(path)
    assert "roster.toml" in str(caught.value)


def test_an_empty_or_missing_file_believes_nobody(path):
    path.write_text("")
    with pytest.raises(InputError, match=r"Roster\.open"):
        qis.Roster.load(path)
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"roster\.toml"):
        qis.Roster.load(path)


def test_signatures(path):
    def load(needed):
        return qis.Roster.load(path, coordinators=KEYS, needed=needed)

    with pytest.raises(SignatureError, match="0 coordinators"):
        load(1)
    sign_roster(path, COORDINATORS[0])
    sign_roster(path, COORDINATORS[0])
    sign_roster(path, SITES[0])
    assert load(1).sites[0].name == "north"
    with pytest.raises(SignatureError, match="1 coordinators"):
        load(2)
    sign_roster(path, COORDINATORS[2])
    assert load(2).sites[0].name == "north"
    change(path, "valid_from = 0", "valid_from = 1")
    with pytest.raises(SignatureError, match="0 coordinators"):
        load(1)
    with pytest.raises(InputError, match="3 coordinators"):
        load(4)


def test_a_change_is_followed_and_revoked_evidence_leaves(path):
    file = RosterFile(path)
    store = qis.MemoryStore(roster=file.roster)
    store.add_many([packet(0), packet(1)], now=NOW)
    assert store.evidence("q", now=NOW) == [packet(0)]  # the registry shares its patients
    assert not file.refresh()
    text = path.read_text()
    change(path, "valid_from = 2027-01-15T08:00:00Z", "revoked = true")
    with pytest.raises(InputError, match="version = 2 or more"):
        file.refresh()
    path.write_text(text)
    change(path, "version = 1", "version = 2")
    change(path, "valid_from = 2027-01-15T08:00:00Z", "revoked = true")
    assert file.refresh()
    store.roster = file.roster
    review = store.review("q", now=NOW)
    assert review.evidence == (packet(1),)
    assert review.excluded_for(Reason.REVOKED) == (packet(0),)
    assert not file.refresh()


def test_a_bad_change_leaves_the_roster_as_it_was(path):
    file = RosterFile(path)
    before = file.roster
    change(path, "version = 1", "version = ")
    for _ in range(2):
        with pytest.raises(InputError):
            file.refresh()
        assert file.roster is before
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"roster\.toml"):
        file.refresh()
    assert file.roster is before


def test_an_old_signed_roster_does_not_come_back(path):
    old = path.read_text()
    sign_roster(path, COORDINATORS[0])
    signature = path.with_name("roster.toml.sig")
    old_signature = signature.read_text()
    change(path, "version = 1", "version = 2")
    sign_roster(path, COORDINATORS[0])
    file = RosterFile(path, coordinators=KEYS)
    assert file.version == 2
    signature.write_text(old_signature)
    path.write_text(old)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="revoked key"):
        file.refresh()
    assert file.version == 2


def signed(path, *coordinators):
    """Sign the file as it is now, and by nobody else."""
    path.with_name("roster.toml.sig").unlink(missing_ok=True)
    for coordinator in coordinators:
        sign_roster(path, coordinator)


@pytest.mark.parametrize(
    "arguments",
    [
        {"coordinators": [], "needed": 2},
        {"coordinators": [], "needed": 1},
        {"coordinators": []},
        {"coordinators": iter(())},
        {"needed": 1},
        {"needed": 2},
        {"coordinators": KEYS, "needed": 0},
        {"coordinators": KEYS, "needed": True},
        {"coordinators": KEYS, "needed": "1"},
        {"coordinators": [KEYS[0], KEYS[0]], "needed": 2},
        {"coordinators": [bytes(KEYS[0])]},
    ],
)
def test_signatures_that_nobody_could_check_are_no_reason_to_believe(path, arguments):
    signed(path, COORDINATORS[0])
    for load in (qis.Roster.load, RosterFile):
        with pytest.raises(InputError) as caught:
            load(path, **arguments)
        assert caught.value.field in {"coordinators", "needed"}


REVOKED = "valid_from = 2027-01-15T08:00:00Z", "revoked = true"


@pytest.mark.parametrize("memory", ["beside", "elsewhere"])
def test_neither_an_old_file_nor_a_second_of_one_version_comes_back_after_a_restart(
    path, tmp_path, memory
):
    memory = True if memory == "beside" else tmp_path / "elsewhere"

    def start():
        return RosterFile(path, coordinators=KEYS, memory=memory).roster

    signed(path, COORDINATORS[0])
    first, first_signature = path.read_text(), path.with_name("roster.toml.sig").read_text()
    assert start().accepts(SITES[0].issuer)
    change(path, "version = 1", "version = 2")
    change(path, *REVOKED)
    signed(path, COORDINATORS[0])
    assert not start().accepts(SITES[0].issuer)
    assert not start().accepts(SITES[0].issuer)  # the same file is believed again

    change(path, *reversed(REVOKED))  # validly signed, version 2 too
    signed(path, COORDINATORS[0])
    with pytest.raises(InputError, match=r"roster\.toml has version 2, and so had another"):
        start()
    path.write_text(first)
    path.with_name("roster.toml.sig").write_text(first_signature)
    with pytest.raises(InputError, match="version 1, and 2 was read before") as caught:
        start()
    assert (caught.value.actual, caught.value.limit) == (1, 2)
    assert RosterFile(path, coordinators=KEYS, memory=False).version == 1  # what it does without


def test_a_file_without_signature_and_version_is_believed_as_it_is(path):
    change(path, "version = 1", "")
    file = RosterFile(path)
    change(path, *REVOKED)
    assert file.refresh()
    assert [one.name for one in path.parent.iterdir()] == ["roster.toml"]  # nothing to remember


def test_a_damaged_memory_is_told_and_nothing_is_believed(path):
    memory = path.with_name("roster.toml.seen")
    RosterFile(path)
    content = memory.read_bytes()
    for offset in range(len(content)):
        cut = content[:offset]
        flipped = bytes([*cut, content[offset] ^ 1, *content[offset + 1 :]])
        for damaged in (cut, flipped):
            if damaged == content.rstrip(b"\n"):
                continue
            memory.write_bytes(damaged)
            with pytest.raises(StorageDamagedError, match=r"roster\.toml\.seen"):
                RosterFile(path)
    memory.write_bytes(content)
    assert RosterFile(path).version == 1


def test_what_cannot_be_remembered_is_not_believed(path, tmp_path):
    with pytest.raises(StorageError, match="memory=") as caught:
        RosterFile(path, memory=tmp_path / "no" / "folder")
    assert caught.value.field == "memory"
    file = RosterFile(path, memory=tmp_path / "seen")
    (tmp_path / "seen").unlink()
    (tmp_path / "seen").mkdir()
    change(path, "version = 1", "version = 2")
    for _ in range(2):
        with pytest.raises(StorageError, match="seen"):
            file.refresh()
        assert file.version == 1

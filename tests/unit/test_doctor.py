"""The doctor names what is wrong with a site, and raises no alarm about a healthy one."""

import json
import os
import secrets
import time

import pytest

import qis
from qis.command import main
from qis.site import ExitCode
from qis.site.doctor import examine
from qis.transport import encode_carried

SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange"
"""
OTHER = qis.Identity.from_seed(bytes([9]) * 32)
DAY_S = 86_400


def roster_of(issuer, extra="", version=2):
    return (
        f'version = {version}\n[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{issuer}"\n{extra}\n'
        f'[[site]]\nname = "Bern"\n[[site.key]]\nissuer = "{OTHER.issuer}"\n'
    )


def arrives(home, *, issued_at, written_at):
    """A packet of the other site lies in the folder."""
    packet = qis.Packet.sign(
        OTHER,
        outcome=qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2),
        fingerprint=qis.VectorScheme(dimensions=3).fingerprint([1.0, 0.0, 0.0]),
        issued_at=issued_at,
        lifetime_s=30 * DAY_S,
    )
    file = home / "exchange" / f"{packet.id.hex()}.qis"
    file.write_bytes(encode_carried(packet, []))
    os.utime(file, (written_at, written_at))


@pytest.fixture
def home(tmp_path):
    """A healthy site."""
    identity = qis.Identity.generate()
    identity.save(tmp_path / "key.pem")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "exchange").mkdir()
    for name, text in (
        ("site.toml", SITE),
        ("study.toml", 'question = "a vs b | c"\nmeasure = "OR"\nmodel = "fixed"\n'),
        ("secret", secrets.token_hex(32)),
        ("roster.toml", roster_of(identity.issuer)),
    ):
        (tmp_path / name).write_text(text)
    now = time.time()
    arrives(tmp_path, issued_at=now - 3_600, written_at=now - 3_500)
    return tmp_path


def wrong(home, **options):
    return {each.code for each in examine(home / "site.toml", **options) if each.is_wrong}


def issuer_of(home):
    return qis.Identity.load(home / "key.pem").issuer


def key_says(line):
    return lambda home: (home / "roster.toml").write_text(
        roster_of(issuer_of(home), line, version=3)
    )


def replaced(name, old, new):
    def change(home):
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new))

    return change


def an_older_roster(home):
    examine(home / "site.toml")
    replaced("roster.toml", "version = 2", "version = 1")(home)


def another_of_the_same_version(home):
    examine(home / "site.toml")
    replaced("roster.toml", "Bern", "Basel")(home)


def a_cut_audit_log(home):
    with qis.AuditLog(home / "audit.jsonl") as log:
        for _ in range(3):
            log.record("configured", rule="cms", now=time.time())
    lines = (home / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (home / "audit.jsonl").write_bytes(b"".join([lines[0], *lines[2:]]))


def an_account_from_a_backup(home):
    file, witness = home / "outbox.db", home / "outbox.db.witness"
    with qis.Outbox(file):
        pass
    later = json.loads(witness.read_text())
    former = file.read_bytes()
    assert later
    with qis.Outbox(file) as outbox:
        outbox.put(_packet_of(home), ())
    file.write_bytes(former)


def _packet_of(home):
    identity = qis.Identity.load(home / "key.pem")
    return qis.Packet.sign(
        identity,
        outcome=qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2),
        fingerprint=qis.VectorScheme(dimensions=3).fingerprint([1.0, 0.0, 0.0]),
        issued_at=time.time(),
        lifetime_s=DAY_S,
    )


FAULTS = {
    "no site.toml": ("configuration", lambda home: (home / "site.toml").unlink()),
    "a key that is unknown": ("configuration", replaced("site.toml", "studies", "study")),
    "no key": ("key", lambda home: (home / "key.pem").unlink()),
    "a key that others can read": ("key", lambda home: (home / "key.pem").chmod(0o644)),
    "a key that is not on the roster": (
        "key_not_on_roster",
        lambda home: (home / "roster.toml").write_text(roster_of("ab" * 32, version=3)),
    ),
    "a revoked key": ("key_revoked", key_says("revoked = true")),
    "a key that has ended": ("key_ended", key_says(f"valid_until = {int(time.time()) - DAY_S}")),
    "a key that ends soon": (
        "key_ends_soon",
        key_says(f"valid_until = {int(time.time()) + DAY_S}"),
    ),
    "a key from tomorrow on": (
        "key_not_yet_valid",
        key_says(f"valid_from = {int(time.time()) + DAY_S}"),
    ),
    "no roster": ("roster", lambda home: (home / "roster.toml").unlink()),
    "an older roster": ("roster", an_older_roster),
    "another roster of the same version": ("roster", another_of_the_same_version),
    "no study": ("declared", lambda home: (home / "study.toml").unlink()),
    "no secret": ("declared", lambda home: (home / "secret").unlink()),
    "no folder": ("folder_missing", replaced("site.toml", '"exchange"', '"elsewhere"')),
    "a cut audit log": ("audit", a_cut_audit_log),
    "an account from a backup": ("account_older", an_account_from_a_backup),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(home, name):
    assert wrong(home) == set()
    code, change = FAULTS[name]
    change(home)
    assert code in wrong(home)


@pytest.mark.parametrize(
    ("shift_days", "code"), [(-40, "clock_behind"), (2, ""), (400, "folder_quiet")]
)
def test_a_wrong_clock_is_seen_by_what_others_have_signed(home, shift_days, code):
    found = wrong(home, now=time.time() + shift_days * DAY_S)
    assert found == ({code} if code else set())  # two days are not told from a quiet folder


def test_a_folder_to_which_nobody_writes_any_more(home):
    (file,) = (home / "exchange").iterdir()
    os.utime(file, (time.time() - 4 * DAY_S,) * 2)
    assert wrong(home) == {"folder_quiet"}


def test_what_outsiders_put_into_the_folder_raises_no_alarm(home):
    (home / "exchange" / "nonsense.qis").write_bytes(b"nonsense")
    (home / "exchange" / "link.qis").symlink_to("/dev/zero")
    (home / "exchange" / "folder.qis").mkdir()
    os.mkfifo(home / "exchange" / "fifo.qis")
    assert wrong(home) == set()


def healthy_open_roster(home):
    replaced("site.toml", 'file = "roster.toml"', "open = true")(home)


def healthy_used(home):
    with qis.Outbox(home / "outbox.db") as outbox:
        outbox.put(_packet_of(home), ())
    with qis.AuditLog(home / "audit.jsonl") as log:
        log.record("configured", rule="cms", now=time.time())


def healthy_alone(home):
    for file in (home / "exchange").iterdir():
        file.unlink()


def healthy_clear(home):
    replaced("site.toml", 'secret_file = "secret"\n', "")(home)
    replaced("site.toml", "people = 0\n", "people = 0\n[disclosure]\nallow_unkeyed = true\n")(home)


@pytest.mark.parametrize(
    "change",
    [
        healthy_open_roster,
        healthy_used,
        healthy_alone,
        healthy_clear,
        key_says(f"valid_until = {int(time.time()) + 40 * DAY_S}"),
        key_says(f"valid_from = {int(time.time()) - DAY_S}"),
        replaced("site.toml", 'studies = ["study.toml"]', ""),
        replaced("site.toml", '"exchange"', '"./exchange/"'),
        replaced("roster.toml", "version = 2", "version = 3"),
    ],
)
def test_a_healthy_site_raises_no_alarm(home, change):
    examine(home / "site.toml")
    change(home)
    assert wrong(home) == set()


def test_a_site_that_is_running_raises_no_alarm(home):
    with qis.Outbox(home / "outbox.db") as outbox, outbox.claimed(issuer_of(home)):
        assert wrong(home) == set()


def test_the_command_ends_with_the_first_finding_and_publishes_nothing(home, capsys):
    assert main(["doctor", str(home / "site.toml"), "--json"]) == ExitCode.OK
    before = json.loads(capsys.readouterr().out)
    assert before["wrong"] == 0
    (home / "key.pem").chmod(0o644)
    files = sorted((home / "exchange").iterdir())
    assert main(["doctor", str(home / "site.toml")]) == ExitCode.CONFIGURATION
    assert "WRONG  key:" in capsys.readouterr().out
    assert sorted((home / "exchange").iterdir()) == files

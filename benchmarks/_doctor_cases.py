"""A healthy site in a folder, what may be wrong with it, and what may differ and be right."""

import json
import os
import secrets
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import qis
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
STUDY = 'question = "a vs b | c"\nmeasure = "OR"\nmodel = "fixed"\n'
ABOUT = [0.2, -1.0, 0.7]
OTHER = qis.Identity.from_seed(bytes([9]) * 32)
DAY_S = 86_400
Change = Callable[[Path], object]
"""Changes a healthy site; a context manager where the change ends with the examination."""


def make(home: Path) -> None:
    """Write a healthy site into an empty folder."""
    identity = qis.Identity.generate()
    identity.save(home / "key.pem")
    (home / "secret").touch(mode=0o600)
    (home / "exchange").mkdir()
    for name, text in (
        ("site.toml", SITE),
        ("study.toml", STUDY),
        ("secret", secrets.token_hex(32)),
        ("roster.toml", roster_of(identity.issuer)),
    ):
        (home / name).write_text(text)
    now = time.time()
    arrives(home, issued_at=now - 3_600, written_at=now - 3_500)


def roster_of(issuer: object, extra: str = "", version: int = 2) -> str:
    """A roster of the site and of the other one."""
    return (
        f'version = {version}\n[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{issuer}"\n{extra}\n'
        f'[[site]]\nname = "Bern"\n[[site.key]]\nissuer = "{OTHER.issuer}"\n'
    )


def issuer_of(home: Path) -> qis.Issuer:
    """The site's key."""
    return qis.Identity.load(home / "key.pem").issuer


def packet_of(
    home: Path,
    *,
    by: qis.Identity | None = None,
    issued_at: float | None = None,
    study: qis.Study | None = None,
    secret: bytes | None = None,
) -> qis.Packet:
    """A packet of the site, or of another, under its study and scheme unless told otherwise."""
    secret = bytes.fromhex((home / "secret").read_text()) if secret is None else secret
    scheme = qis.VectorScheme(dimensions=3, secret=secret)
    return qis.Packet.sign(
        qis.Identity.load(home / "key.pem") if by is None else by,
        outcome=qis.Effect(
            study=study or qis.Study.load(home / "study.toml"),
            measure="OR",
            estimate=0.1,
            standard_error=0.2,
        ),
        fingerprint=scheme.fingerprint(ABOUT),
        seal=scheme.seal,
        issued_at=int(time.time() if issued_at is None else issued_at),
        lifetime_s=30 * DAY_S,
    )


def arrives(home: Path, *, issued_at: float, written_at: float, **options: object) -> None:
    """A packet of the other site lies in the folder."""
    packet = packet_of(home, by=OTHER, issued_at=issued_at, **options)  # type: ignore[arg-type]
    file = home / "exchange" / f"{packet.id.hex()}.qis"
    file.write_bytes(encode_carried(packet, []))
    os.utime(file, (written_at, written_at))


def replaced(name: str, old: str, new: str) -> Change:
    """Change a text of a file."""

    def change(home: Path) -> None:
        text = (home / name).read_text()
        if old not in text:
            raise ValueError(old)
        (home / name).write_text(text.replace(old, new))

    return change


def key_says(line: str) -> Change:
    """Let the roster say something more of the site's key."""
    return lambda home: (home / "roster.toml").write_text(
        roster_of(issuer_of(home), line, version=3)
    )


def after_a_look(change: Change) -> Change:
    """Change something after the site was opened once."""

    def changed(home: Path) -> object:
        from qis.site import examine  # noqa: PLC0415

        examine(home / "site.toml")
        return change(home)

    return changed


def _cut_audit_log(home: Path) -> None:
    with qis.AuditLog(home / "audit.jsonl") as log:
        for _ in range(3):
            log.record("configured", rule="cms", now=time.time())
    lines = (home / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (home / "audit.jsonl").write_bytes(b"".join([lines[0], *lines[2:]]))


def _account_from_a_backup(home: Path) -> None:
    file = home / "outbox.db"
    with qis.Outbox(file):
        pass
    former = file.read_bytes()
    with qis.Outbox(file) as outbox:
        outbox.put(packet_of(home), ())
    file.write_bytes(former)


def _cut_ledger(home: Path) -> None:
    from qis.account import Account  # noqa: PLC0415
    from qis.account.chain import append_line  # noqa: PLC0415

    with closing(Account(home / "outbox.db")) as account:
        for number in range(3):
            with account.transaction():
                append_line(account, "emission", json.dumps({"number": number}))
    with closing(sqlite3.connect(home / "outbox.db")) as database, database:
        database.execute("DELETE FROM lines WHERE number = 2")


@contextmanager
def _full_disk(_: Path) -> Iterator[None]:
    usage = SimpleNamespace(total=10**12, used=10**12, free=1_000)
    with mock.patch.object(shutil, "disk_usage", return_value=usage):
        yield


@contextmanager
def _without_the_extra(home: Path) -> Iterator[None]:
    replaced("site.toml", 'kind = "directory"\npath = "exchange"', 'kind = "nats"\nservers = []')(
        home
    )
    face = vars(qis.transport)  # a package keeps its parts as attributes too
    with mock.patch.dict(sys.modules, {"nats": None}), mock.patch.dict(face):
        for name in [each for each in sys.modules if each.startswith("qis.transport.nats")]:
            sys.modules.pop(name)
        face.pop("nats", None)
        yield


@contextmanager
def _the_other_qis(home: Path) -> Iterator[None]:
    made = home / "packages" / "qis-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: qis\nVersion: 1.0\n")
    sys.path.insert(0, str(made.parent))
    try:
        yield
    finally:
        sys.path.remove(str(made.parent))


@contextmanager
def _open_elsewhere(home: Path) -> Iterator[None]:
    with (
        qis.Outbox(home / "outbox.db") as outbox,
        outbox.claimed(issuer_of(home), key_path=home / "key.pem"),
    ):
        yield


def _study_differs(home: Path) -> None:
    for file in (home / "exchange").iterdir():
        file.unlink()
    other = qis.Study(question="a vs b | c", measure="OR", model="random")
    arrives(home, issued_at=time.time() - 60, written_at=time.time() - 50, study=other)


def _now_is(days: float) -> float:
    return time.time() + days * DAY_S


FAULTS: dict[str, tuple[str, Change]] = {
    "no site.toml": ("configuration", lambda home: (home / "site.toml").unlink()),
    "a key that is unknown": ("configuration", replaced("site.toml", "studies", "study")),
    "no key": ("key", lambda home: (home / "key.pem").unlink()),
    "a key that others can read": ("key", lambda home: (home / "key.pem").chmod(0o644)),
    "a key that is not on the roster": (
        "key_not_on_roster",
        lambda home: (home / "roster.toml").write_text(roster_of("ab" * 32, version=3)),
    ),
    "a revoked key": ("key_revoked", key_says("revoked = true")),
    "a key that has ended": ("key_ended", key_says(f"valid_until = {int(_now_is(-1))}")),
    "a key that ends soon": ("key_ends_soon", key_says(f"valid_until = {int(_now_is(1))}")),
    "a key from tomorrow on": ("key_not_yet_valid", key_says(f"valid_from = {int(_now_is(1))}")),
    "no roster": ("roster", lambda home: (home / "roster.toml").unlink()),
    "an older roster": (
        "roster",
        after_a_look(replaced("roster.toml", "version = 2", "version = 1")),
    ),
    "another roster of the same version": (
        "roster",
        after_a_look(replaced("roster.toml", "Bern", "Basel")),
    ),
    "no study": ("declared", lambda home: (home / "study.toml").unlink()),
    "no secret": ("declared", lambda home: (home / "secret").unlink()),
    "a study that differs by one field": ("study_differs", _study_differs),
    "another secret than the others'": (
        "scheme_differs",
        lambda home: (home / "secret").write_text(secrets.token_hex(32)),
    ),
    "another table of features": (
        "scheme_differs",
        replaced("site.toml", "dimensions = 3", "dimensions = 3\nscale = [1.0, 2.0, 1.0]"),
    ),
    "no folder": ("folder_missing", replaced("site.toml", '"exchange"', '"elsewhere"')),
    "a folder to which nobody writes": (
        "folder_quiet",
        lambda home: [os.utime(file, (_now_is(-4),) * 2) for file in (home / "exchange").iterdir()],
    ),
    "a cut audit log": ("audit", _cut_audit_log),
    "an account from a backup": ("account_older", _account_from_a_backup),
    "a cut ledger": ("account", _cut_ledger),
    "a full disk": ("disk_full", _full_disk),
    "a missing extra": ("transport", _without_the_extra),
    "the finance package of that name": ("another_qis", _the_other_qis),
}
"""What is wrong, and the code of the finding that names it."""

CLOCKS = {"a clock 40 days behind": (-40, "clock_behind"), "a year ahead": (400, "folder_quiet")}
"""Days by which the clock is wrong, and the code of the finding."""


def _used(home: Path) -> None:
    with qis.Outbox(home / "outbox.db") as outbox:
        outbox.put(packet_of(home), ())
    with qis.AuditLog(home / "audit.jsonl") as log:
        log.record("configured", rule="cms", now=time.time())


def _alone(home: Path) -> None:
    for file in (home / "exchange").iterdir():
        file.unlink()


def _clear(home: Path) -> None:
    _alone(home)
    replaced("site.toml", 'secret_file = "secret"\n', "")(home)
    replaced("site.toml", "people = 0\n", "people = 0\n[disclosure]\nallow_unkeyed = true\n")(home)


def _strangers_files(home: Path) -> None:
    folder = home / "exchange"
    (folder / "nonsense.qis").write_bytes(b"nonsense")
    (folder / "link.qis").symlink_to("/dev/zero")
    (folder / "folder.qis").mkdir()
    os.mkfifo(folder / "fifo.qis")


def _stranger(home: Path) -> None:
    packet = packet_of(home, by=qis.Identity.generate(), secret=bytes(32))
    (home / "exchange" / f"{packet.id.hex()}.qis").write_bytes(encode_carried(packet, []))


def _other_question(home: Path) -> None:
    study = qis.Study(question="d vs e | f", measure="HR")
    outcome = qis.Effect(study=study, measure="HR", estimate=0.1, standard_error=0.2)
    packet = qis.Packet.sign(
        OTHER,
        outcome=outcome,
        fingerprint=qis.VectorScheme(dimensions=9).fingerprint([1.0] * 9),
        issued_at=int(time.time()),
        lifetime_s=DAY_S,
    )
    (home / "exchange" / f"{packet.id.hex()}.qis").write_bytes(encode_carried(packet, []))


def _corrected_since(home: Path) -> None:
    """The other site published under a wrong study and corrected it."""
    other = qis.Study(question="a vs b | c", measure="OR", model="random")
    now = time.time()
    arrives(home, issued_at=now - 9_000, written_at=now - 9_000, study=other)


def _own_file(home: Path) -> None:
    packet = packet_of(home)
    with qis.Outbox(home / "outbox.db") as outbox:
        outbox.put(packet, ())
    (home / "exchange" / f"{packet.id.hex()}.qis").write_bytes(encode_carried(packet, []))


def _elsewhere(home: Path) -> None:
    (home / "deeper").mkdir()
    (home / "exchange").rename(home / "deeper" / "exchange")
    replaced("site.toml", '"exchange"', '"deeper/exchange"')(home)


def _two_studies(home: Path) -> None:
    (home / "second.toml").write_text('question = "d vs e | f"\nmeasure = "HR"\n')
    replaced("site.toml", '["study.toml"]', '["study.toml", "second.toml"]')(home)


def _rotated(home: Path) -> None:
    old = qis.Identity.generate().issuer
    key_says(
        f'[[site.key]]\nissuer = "{old}"\nvalid_until = {int(_now_is(-9))}\n'
    )(home)  # fmt: skip


HEALTHY: dict[str, Change] = {
    "as it was made": lambda _: None,
    "an open roster": replaced("site.toml", 'file = "roster.toml"', "open = true"),
    "in use for a while": _used,
    "nobody else has written yet": _alone,
    "without a secret": _clear,
    "a key that ends in 40 days": key_says(f"valid_until = {int(_now_is(40))}"),
    "a key since yesterday": key_says(f"valid_from = {int(_now_is(-1))}"),
    "a key that was rotated": _rotated,
    "no study": replaced("site.toml", 'studies = ["study.toml"]', ""),
    "two studies": _two_studies,
    "a folder written another way": replaced("site.toml", '"exchange"', '"./exchange/"'),
    "a folder elsewhere": _elsewhere,
    "a newer roster": after_a_look(replaced("roster.toml", "version = 2", "version = 3")),
    "outsiders' files in the folder": _strangers_files,
    "a stranger's packet in the folder": _stranger,
    "a member's packet of another study": _other_question,
    "a study that was corrected since": _corrected_since,
    "an own packet in the folder": _own_file,
    "open in another process": _open_elsewhere,
    "metrics and report beside it": lambda home: (home / "report.html").write_text("x"),
    "a file of heads": lambda home: (home / "site.toml").write_text(
        (home / "site.toml").read_text() + '[files]\nheads = "heads"\n'
    ),
}
"""What may be otherwise in a site that is well."""


@contextmanager
def changed(home: Path, change: Change) -> Iterator[None]:
    """Make a change, for as long as the context lasts where it is one."""
    made = change(home)
    if not isinstance(made, AbstractContextManager):
        yield
        return
    with made:
        yield

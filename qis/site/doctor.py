"""Examines a site as its file describes it, without opening it: nothing is sent, nothing released.

Each check looks at one thing and says what it found, what is wrong and what to do. What only a
running site knows (peers, health, what is held) `loop.health` and `loop.check()` say.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, distribution
from os import PathLike
from pathlib import Path
from typing import Final

from qis import __version__
from qis._gate import checked
from qis.account import Account, Lines
from qis.account.account import key_witness
from qis.errors import QISError, StorageError
from qis.evidence import AuditLog, Roster, RosterFile, SiteKey
from qis.identity import Identity
from qis.site import doctor_folder, parts
from qis.site.answering import ask
from qis.site.exit_codes import ExitCode
from qis.site.finding import Examined, SiteFinding, date_of, failed, wrong
from qis.site.opening import FILE_KEYS, FILES, TABLES
from qis.site.table import read

_DAY_S: Final = 86_400
_SOON_S: Final = 14 * _DAY_S
"""A key that ends within this time is told."""
_ANSWER_S: Final = 5.0
"""How long an open site has to say how it is; one that does not hangs, which is a finding."""
_LEAST_ROOM: Final = 100_000_000
"""Bytes that have to be free where the site's files lie."""


@checked
def examine(path: str | PathLike[str], *, now: float | None = None) -> tuple[SiteFinding, ...]:
    """Examine the site that a TOML file describes.

    Parameters
    ----------
    path
        The file, as for `open_site`.
    now
        Unix seconds; default: this machine's clock, which is examined too.

    Returns
    -------
    tuple of SiteFinding
        In the order of the checks. One that fails ends no other, unless it needs what is missing.

    Examples
    --------
    >>> from qis.site import examine
    >>> [(each.code, each.is_wrong) for each in examine("no such file.toml")]
    [('configuration', True)]

    """
    try:
        table = read(Path(path), TABLES)
    except QISError as error:
        return (failed("configuration", error),)
    site = Examined(table, time.time() if now is None else now)
    findings: list[SiteFinding] = [SiteFinding(code="configuration", text=f"{path} is read")]
    for code, check in _CHECKS.items():
        try:
            findings += check(site)
        except QISError as error:
            findings.append(failed(code, error))
        except OSError as error:
            findings.append(failed(code, StorageError(f"{error}")))
    return tuple(findings)


def _key(site: Examined) -> Iterator[SiteFinding]:
    site.identity = parts.identity_of(site.table)
    yield SiteFinding(code="key", text=f"issuer {site.identity.issuer}")


def _roster(site: Examined) -> Iterator[SiteFinding]:
    found = parts.roster_of(site.table)
    site.roster = found.roster if isinstance(found, RosterFile) else found
    if site.roster.is_open:
        yield SiteFinding(code="roster", text="open: everybody is believed")
        return
    yield SiteFinding(code="roster", text=f"{len(site.roster.sites)} sites, {found!r}")
    if site.identity is not None:
        yield from _own_entry(site.roster, site.identity, site.now)


def _own_entry(roster: Roster, identity: Identity, now: float) -> Iterator[SiteFinding]:
    entry: SiteKey | None = roster.key_of(identity.issuer)
    if entry is None:
        yield wrong(
            "key_not_on_roster",
            f"issuer {identity.issuer} is not on the roster: no other site believes what this one "
            "publishes; have the coordinator add it, or check which key file is used",
        )
    elif entry.revoked:
        yield wrong("key_revoked", "this key is revoked: make a new one and have it enrolled")
    elif entry.valid_from is not None and now < entry.valid_from:
        yield wrong("key_not_yet_valid", f"this key is valid from {date_of(entry.valid_from)}")
    elif entry.valid_until is not None and now >= entry.valid_until:
        yield wrong(
            "key_ended", f"this key ended at {date_of(entry.valid_until)}: use its successor"
        )
    elif entry.valid_until is not None and entry.valid_until - now < _SOON_S:
        yield wrong("key_ends_soon", f"this key ends at {date_of(entry.valid_until)}: rotate it")


def _declared(site: Examined) -> Iterator[SiteFinding]:
    studies = site.studies = parts.studies_of(site.table)
    for study in studies:
        yield SiteFinding(code="study", text=f"{study.id.hex()}: {study.question}")
    scheme = site.scheme = parts.scheme_of(site.table)
    yield SiteFinding(
        code="scheme", text=f"{scheme.id.hex()}; sites with another id compare no sketches"
    )
    parts.interest_of(site.table, scheme, studies)


def _transport(site: Examined) -> Iterator[SiteFinding]:
    if site.identity is None or site.roster is None:
        return
    transport = parts.transport_of(site.table, site.identity, site.roster)  # it is not opened
    yield SiteFinding(code="transport", text=repr(transport))


def _package(_: Examined) -> Iterator[SiteFinding]:
    try:
        other = distribution("qis")
    except PackageNotFoundError:
        yield SiteFinding(code="package", text=f"qis-protocol {__version__}")
        return
    yield wrong(
        "another_qis",
        f"the package qis {other.version}, a finance library, is installed too, and is imported by "
        "the same name: which one a program gets depends on the order of installation. Give "
        "qis-protocol an environment of its own, or remove qis and install qis-protocol anew",
    )


def _disk(site: Examined) -> Iterator[SiteFinding]:
    names = site.table.table("files", FILE_KEYS)
    site.paths = {key: names.path(key, default) for key, default in FILES.items()}
    for folder in sorted({path.parent for path in site.paths.values()}):
        if not os.access(folder, os.W_OK | os.X_OK):
            yield wrong("not_writable", f"{folder} may not be written", ExitCode.FORBIDDEN)
            continue
        room = shutil.disk_usage(folder).free
        if room < _LEAST_ROOM:
            yield wrong("disk_full", f"{folder} has {room // 1_000_000} MB left", ExitCode.LATER)
        else:
            yield SiteFinding(code="disk", text=f"{folder} has {room // 1_000_000} MB left")


def _running(site: Examined) -> Iterator[SiteFinding]:
    if site.identity is None:
        return
    witness = key_witness(site.identity.issuer, site.identity.path, site.paths.get("outbox"))
    if witness is None or not witness.path.exists():
        return
    try:
        with witness.held("it is open"):
            yield SiteFinding(code="running", text="no process has this site open")
    except StorageError as error:
        names = site.table.table("files", FILE_KEYS)
        said = "what it sees of the network `site.health` and its report tell"
        if "health" in names:
            answer = ask(names.path("health"), within_s=_ANSWER_S)
            said = "it says: " + "; ".join(
                [answer["state"], *(r["text"] for r in answer["reasons"])]
            )
        yield SiteFinding(
            code="running",
            text="a process has this site open, and a second one would be refused "
            f"({error}); {said}",
        )


def _account(site: Examined) -> Iterator[SiteFinding]:
    if not site.paths.get("outbox", Path()).is_file():
        yield SiteFinding(code="account", text="nothing has left yet: there is no outbox")
        return
    # The account alone: the queue beside it belongs to the loop that may be running.
    with closing(Account(site.paths["outbox"])) as account:
        found = account.findings()
        for kind in ("emission", "payment"):
            Lines(account, kind, dict)  # raises if one is gone, or is not what was written
    yield from (wrong(each.code, each.text, ExitCode.DAMAGED) for each in found)
    if not found:
        yield SiteFinding(code="account", text="it agrees with its witness")


def _audit(site: Examined) -> Iterator[SiteFinding]:
    path = site.paths.get("audit")
    if path is None or not path.is_file():
        yield SiteFinding(code="audit", text="there is no audit log yet")
        return
    yield SiteFinding(code="audit", text=f"{AuditLog.read(path).verify().count} entries verify")


_CHECKS: Final[dict[str, Callable[[Examined], Iterator[SiteFinding]]]] = {
    "key": _key,
    "roster": _roster,
    "declared": _declared,
    "disk": _disk,
    "running": _running,
    "account": _account,
    "audit": _audit,
    "transport": _transport,
    "folder": doctor_folder.folder,
    "package": _package,
}

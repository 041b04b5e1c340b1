"""Examines a site as its file describes it, without opening it: nothing is sent, nothing released.

Each check looks at one thing and says what it found, what is wrong and what to do. What only a
running site knows (peers, health, what is held) `loop.health` and `loop.check()` say.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Final

from qis import _layout
from qis._gate import checked
from qis.account import Account
from qis.errors import PeerError, QISError, StorageError
from qis.evidence import AuditLog, Roster, RosterFile, SiteKey
from qis.identity import Identity
from qis.packet import CLOCK_TOLERANCE_S, Packet
from qis.site import parts
from qis.site.exit_codes import ExitCode, exit_code_of
from qis.site.opening import FILES, TABLES
from qis.site.table import TomlTable, read
from qis.transport._shared_file import ForeignFileError, read_regular
from qis.transport.carried import LARGEST

_DAY_S: Final = 86_400
_SOON_S: Final = 14 * _DAY_S
"""A key that ends within this time is told."""
_QUIET_S: Final = 3 * _DAY_S
"""A shared folder without a new file of anybody else for this long is told."""
_LEAST_ROOM: Final = 100_000_000
"""Bytes that have to be free where the site's files lie."""
_MOST_FILES: Final = 2_000
"""Newest files of a shared folder that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFinding:
    """What one check has found.

    Parameters
    ----------
    code
        What was looked at, or what is wrong: the same word in every version.
    text
        In words: what is there, and what to do.
    is_wrong
        True if somebody has to do something.
    exit_code
        What a job would end with for it.

    Examples
    --------
    >>> from qis.site import SiteFinding
    >>> print(SiteFinding(code="disk", text="/srv/qis has 4321 MB left"))
    ok     disk: /srv/qis has 4321 MB left

    """

    code: str
    text: str
    is_wrong: bool = False
    exit_code: ExitCode = ExitCode.OK

    def __str__(self) -> str:
        return f"{'WRONG' if self.is_wrong else 'ok':5}  {self.code}: {self.text}"


@dataclass(slots=True)
class _Site:
    """What the checks have found out so far; later ones build upon it."""

    table: TomlTable
    now: float
    identity: Identity | None = None
    roster: Roster | None = None
    paths: dict[str, Path] = field(default_factory=dict)


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
        return (_failed("configuration", error),)
    site = _Site(table, time.time() if now is None else now)
    findings: list[SiteFinding] = [SiteFinding(code="configuration", text=f"{path} is read")]
    for code, check in _CHECKS.items():
        try:
            findings += check(site)
        except QISError as error:
            findings.append(_failed(code, error))
        except OSError as error:
            findings.append(_failed(code, StorageError(f"{error}")))
    return tuple(findings)


def _failed(code: str, error: QISError) -> SiteFinding:
    return SiteFinding(code=code, text=str(error), is_wrong=True, exit_code=exit_code_of(error))


def _wrong(code: str, text: str, exit_code: ExitCode = ExitCode.CONFIGURATION) -> SiteFinding:
    return SiteFinding(code=code, text=text, is_wrong=True, exit_code=exit_code)


def _key(site: _Site) -> Iterator[SiteFinding]:
    site.identity = parts.identity_of(site.table)
    yield SiteFinding(code="key", text=f"issuer {site.identity.issuer}")


def _roster(site: _Site) -> Iterator[SiteFinding]:
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
        yield _wrong(
            "key_not_on_roster",
            f"issuer {identity.issuer} is not on the roster: no other site believes what this one "
            "publishes; have the coordinator add it, or check which key file is used",
        )
    elif entry.revoked:
        yield _wrong("key_revoked", "this key is revoked: make a new one and have it enrolled")
    elif entry.valid_from is not None and now < entry.valid_from:
        yield _wrong("key_not_yet_valid", f"this key is valid from {_date(entry.valid_from)}")
    elif entry.valid_until is not None and now >= entry.valid_until:
        yield _wrong(
            "key_ended", f"this key ended at {_date(entry.valid_until)}: use its successor"
        )
    elif entry.valid_until is not None and entry.valid_until - now < _SOON_S:
        yield _wrong("key_ends_soon", f"this key ends at {_date(entry.valid_until)}: rotate it")


def _declared(site: _Site) -> Iterator[SiteFinding]:
    studies = parts.studies_of(site.table)
    for study in studies:
        yield SiteFinding(code="study", text=f"{study.id.hex()}: {study.question}")
    scheme = parts.scheme_of(site.table)
    yield SiteFinding(
        code="scheme", text=f"{scheme.id.hex()}; sites with another id compare no sketches"
    )
    parts.interest_of(site.table, scheme, studies)


def _disk(site: _Site) -> Iterator[SiteFinding]:
    names = site.table.table("files", (*FILES, "heads"))
    site.paths = {key: names.path(key, default) for key, default in FILES.items()}
    for folder in sorted({path.parent for path in site.paths.values()}):
        if not os.access(folder, os.W_OK | os.X_OK):
            yield _wrong("not_writable", f"{folder} may not be written", ExitCode.FORBIDDEN)
            continue
        room = shutil.disk_usage(folder).free
        if room < _LEAST_ROOM:
            yield _wrong("disk_full", f"{folder} has {room // 1_000_000} MB left", ExitCode.LATER)
        else:
            yield SiteFinding(code="disk", text=f"{folder} has {room // 1_000_000} MB left")


def _account(site: _Site) -> Iterator[SiteFinding]:
    if not site.paths.get("outbox", Path()).is_file():
        yield SiteFinding(code="account", text="nothing has left yet: there is no outbox")
        return
    # The account alone: the queue beside it belongs to the loop that may be running.
    with closing(Account(site.paths["outbox"])) as account:
        found = account.findings()
    yield from (_wrong(each.code, each.text, ExitCode.DAMAGED) for each in found)
    if not found:
        yield SiteFinding(code="account", text="it agrees with its witness")


def _audit(site: _Site) -> Iterator[SiteFinding]:
    path = site.paths.get("audit")
    if path is None or not path.is_file():
        yield SiteFinding(code="audit", text="there is no audit log yet")
        return
    yield SiteFinding(code="audit", text=f"{AuditLog.read(path).verify().count} entries verify")


def _folder(site: _Site) -> Iterator[SiteFinding]:
    transport = site.table.table("transport", parts.TRANSPORT_KEYS)
    if transport.choice("kind", parts.TRANSPORT_KINDS) != "directory":
        return
    folder = transport.path("path")
    if not folder.is_dir():
        yield _wrong("folder_missing", f"{folder} is not there: is the share mounted?")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield _wrong("folder_not_writable", f"{folder} may not be written", ExitCode.FORBIDDEN)
    newest, latest_issue = _seen_in(folder, site)
    if site.now < latest_issue - CLOCK_TOLERANCE_S:
        yield _wrong(
            "clock_behind",
            f"this machine says {_date(site.now)}, and a member's packet was issued at "
            f"{_date(latest_issue)}: set the clock",
            ExitCode.CLOCK,
        )
    if not newest:
        yield SiteFinding(code="folder", text=f"{folder}: nobody else has written a packet yet")
    elif site.now - newest > _QUIET_S:
        yield _wrong(
            "folder_quiet",
            f"nobody else has written to {folder} since {_date(newest)}: is it the right folder, "
            "is it still copied, and is this machine's clock right?",
            ExitCode.LATER,
        )
    else:
        yield SiteFinding(code="folder", text=f"last packet of another site: {_date(newest)}")


def _seen_in(folder: Path, site: _Site) -> tuple[float, int]:
    """When somebody else wrote a packet last, and the latest issue of all, in Unix seconds."""
    newest, latest_issue = 0.0, 0
    for written_at, file in _newest_files(folder):
        try:
            packet = Packet.parse(read_regular(file, LARGEST)[: _layout.PACKET_SIZE])
        except (PeerError, ForeignFileError, FileNotFoundError):
            continue  # half copied, another's file, or tidied away: the transport looks at it too
        if site.roster is not None and not site.roster.accepts(packet.issuer):
            continue
        if site.identity is None or packet.issuer != site.identity.issuer:
            newest = max(newest, written_at)
        latest_issue = max(latest_issue, packet.issued_at)
    return newest, latest_issue


def _newest_files(folder: Path) -> list[tuple[float, Path]]:
    """The files written last, with when that was, in Unix seconds."""
    files = []
    for path in folder.glob("*.qis"):
        with suppress(FileNotFoundError):  # its site has tidied it away meanwhile
            files.append((path.lstat().st_mtime, path))
    return sorted(files)[-_MOST_FILES:]


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


_CHECKS: Final[dict[str, Callable[[_Site], Iterator[SiteFinding]]]] = {
    "key": _key,
    "roster": _roster,
    "declared": _declared,
    "disk": _disk,
    "account": _account,
    "audit": _audit,
    "folder": _folder,
}

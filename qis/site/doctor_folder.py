"""What a shared folder tells: whether it is used, the clock, and who declares otherwise.

Members' packets say when they were issued, under which study and scheme. A site whose study file or
secret differs from the others' by one character hears nobody, and nothing else would tell it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from qis import _layout
from qis.errors import PeerError
from qis.packet import CLOCK_TOLERANCE_S, Packet
from qis.site import parts
from qis.site.exit_codes import ExitCode
from qis.site.finding import Examined, SiteFinding, date_of, wrong
from qis.transport._shared_file import ForeignFileError, read_regular
from qis.transport.carried import LARGEST

_QUIET_S: Final = 3 * 86_400
"""A shared folder without a new file of anybody else for this long is told."""
_MOST_FILES: Final = 2_000
"""Newest files of a shared folder that are looked at."""


class _Seen(NamedTuple):
    """A packet of a member, and when its file was written, in Unix seconds."""

    written_at: float
    packet: Packet


def folder(site: Examined) -> Iterator[SiteFinding]:
    """Look at the folder of a site whose transport is one."""
    transport = site.table.table("transport", parts.TRANSPORT_KEYS)
    if transport.choice("kind", parts.TRANSPORT_KINDS) != "directory":
        return
    path = transport.path("path")
    if not path.is_dir():
        yield wrong("folder_missing", f"{path} is not there: is the share mounted?")
        return
    if not os.access(path, os.W_OK | os.X_OK):
        yield wrong("folder_not_writable", f"{path} may not be written", ExitCode.FORBIDDEN)
    seen = list(_seen_in(path, site))
    own = None if site.identity is None else site.identity.issuer
    others = [each for each in seen if each.packet.issuer != own]
    yield from _clock(site, max((each.packet.issued_at for each in seen), default=0))
    yield from _activity(site, path, max((each.written_at for each in others), default=0.0))
    yield from _declared_otherwise(site, others)


def _clock(site: Examined, latest_issue: int) -> Iterator[SiteFinding]:
    if site.now < latest_issue - CLOCK_TOLERANCE_S:
        yield wrong(
            "clock_behind",
            f"this machine says {date_of(site.now)}, and a member's packet was issued at "
            f"{date_of(latest_issue)}: set the clock",
            ExitCode.CLOCK,
        )


def _activity(site: Examined, path: Path, newest: float) -> Iterator[SiteFinding]:
    if not newest:
        yield SiteFinding(code="folder", text=f"{path}: nobody else has written a packet yet")
    elif site.now - newest > _QUIET_S:
        yield wrong(
            "folder_quiet",
            f"nobody else has written to {path} since {date_of(newest)}: is it the right folder, "
            "is it still copied, and is this machine's clock right?",
            ExitCode.LATER,
        )
    else:
        yield SiteFinding(code="folder", text=f"last packet of another site: {date_of(newest)}")


def _declared_otherwise(site: Examined, others: list[_Seen]) -> Iterator[SiteFinding]:
    """Compare what is declared here with the newest packet of each member under a study."""
    newest: dict[tuple[bytes, str], Packet] = {}
    for each in sorted(others, key=lambda each: each.packet.sequence):
        newest[each.packet.issuer.key, each.packet.outcome.question] = each.packet
    ids = {study.question: study.id for study in site.studies}
    alike = [packet for (_, question), packet in newest.items() if question in ids]
    for packet in alike:
        theirs, ours = packet.outcome.study_id, ids[packet.outcome.question]
        if theirs != ours:
            yield wrong(
                "study_differs",
                f"{_name(site, packet)} has published {packet.outcome.question!r} under the study "
                f"{theirs.hex()}, and here it is {ours.hex()}: some field of the two files "
                "differs, so nothing pools; compare them (python -m qis study check)",
            )
        elif site.scheme is not None and packet.fingerprint.scheme_id != site.scheme.id:
            yield wrong(
                "scheme_differs",
                f"{_name(site, packet)} has made its fingerprint of {packet.outcome.question!r} by "
                f"the scheme {packet.fingerprint.scheme_id.hex()}, and here it is "
                f"{site.scheme.id.hex()}: the secret or a parameter differs, so nobody is similar",
            )


def _name(site: Examined, packet: Packet) -> str:
    name = None if site.roster is None else site.roster.name_of(packet.issuer)
    return name or f"key {str(packet.issuer)[:16]}"


def _seen_in(path: Path, site: Examined) -> Iterator[_Seen]:
    for written_at, file in _newest_files(path):
        try:
            packet = Packet.parse(read_regular(file, LARGEST)[: _layout.PACKET_SIZE])
        except (PeerError, ForeignFileError, FileNotFoundError):
            continue  # half copied, another's file, or tidied away: the transport looks at it too
        if site.roster is None or site.roster.accepts(packet.issuer):
            yield _Seen(written_at, packet)


def _newest_files(folder: Path) -> list[tuple[float, Path]]:
    """The files written last, with when that was, in Unix seconds."""
    files = []
    for path in folder.glob("*.qis"):
        with suppress(FileNotFoundError):  # its site has tidied it away meanwhile
            files.append((path.lstat().st_mtime, path))
    return sorted(files)[-_MOST_FILES:]

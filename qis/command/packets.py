"""`inspect` and `verify`: what a packet says, and whether it is one."""

import argparse
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from qis import _layout
from qis._paths import opening
from qis.command._adding import Commands, add
from qis.command.result import CommandResult
from qis.errors import InputError, PeerError
from qis.packet.packet import Packet
from qis.site.exit_codes import ExitCode
from qis.transport._shared_file import ForeignFileError, read_regular
from qis.transport.carried import LARGEST, decode_carried

_MOST_SHOWN: Final = 100
"""Packets of a file that `inspect` describes unless it is told otherwise."""
SUFFIX: Final = ".qis"
"""Files of a shared folder: one packet and its routing keys."""


class PacketFound(NamedTuple):
    """A packet of a file, or why there is none at that place."""

    where: str
    packet: Packet | PeerError


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands of this module."""
    parser = add(commands, common, "inspect", inspect)
    parser.add_argument("source", metavar="FILE|HEX", help="a file of packets, or 1024 hex digits")
    parser.add_argument(
        "--most", type=int, default=_MOST_SHOWN, help="packets to show (%(default)s)"
    )
    parser = add(commands, common, "verify", verify)
    parser.add_argument("sources", metavar="FILE|HEX", nargs="+")
    parser.add_argument(
        "--now",
        action="store_true",
        help="refuse also what has expired, or is not valid yet, by this machine's clock",
    )


def inspect(options: argparse.Namespace) -> CommandResult:
    """Show every field of packets in words. Their signatures are verified first."""
    if options.most < 1:
        raise InputError(f"--most is {options.most}; it is at least 1", field="most")
    texts: list[str] = []
    values: list[dict[str, Any]] = []
    bad = count = 0
    for found in packets_in(options.source):
        count += 1
        is_bad = isinstance(found.packet, PeerError)
        bad += is_bad
        if count > options.most:
            continue
        if isinstance(found.packet, PeerError):
            texts.append(f"{found.where}: NOT A PACKET: {found.packet}")
            values.append({"where": found.where, "error": str(found.packet)})
        else:
            texts.append(f"{found.where}\n{found.packet.explain()}")
            values.append({"where": found.where, **dict(_fields(found.packet))})
    if count > options.most:
        texts.append(f"… and {count - options.most} more; show them with --most {count}")
    return CommandResult(
        text="\n\n".join(texts) or "no packets",
        values={"packets": values, "count": count, "refused": bad, "shown": len(values)},
        code=ExitCode.DATA if bad else ExitCode.OK,
    )


def verify(options: argparse.Namespace) -> CommandResult:
    """Verify all packets of files: frame, signature and content."""
    now = time.time() if options.now else None
    count, refused = 0, []
    for source in options.sources:
        for found in packets_in(source, now=now):
            count += 1
            if isinstance(found.packet, PeerError):
                refused.append({"where": found.where, "error": str(found.packet)})
    lines = [f"{each['where']}: {each['error']}" for each in refused]
    lines.append(f"{count - len(refused)} of {count} are valid packets")
    return CommandResult(
        text="\n".join(lines),
        values={"count": count, "valid": count - len(refused), "refused": refused},
        code=ExitCode.DATA if refused or not count else ExitCode.OK,
    )


def packets_in(source: str, *, now: float | None = None) -> Iterator[PacketFound]:
    """Every packet of a file, or of a text of hexadecimal digits, each verified.

    A name that ends with ``.qis`` is a file of a shared folder; others hold packets one after
    another, and what is left at the end, if they are torn, is an error of its own.
    """
    if len(source) >= 64 and not set(source) - set(string.hexdigits):
        yield PacketFound(
            "the digits",
            _parsed(bytes.fromhex(source.ljust(len(source) + len(source) % 2, "0")), now),
        )
        return
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"{source!r:.200} is neither a file nor the {2 * _layout.PACKET_SIZE} "
            "hexadecimal digits of a packet"
        )
    if path.is_dir():
        raise InputError(
            f"{source} is a folder; name its files, or pool it with `synthesise`", field="source"
        )
    if path.suffix == SUFFIX:
        yield of_shared_file(path, now=now)
        return
    with opening(path, "read"), path.open("rb") as file:
        at = 0
        while data := file.read(_layout.PACKET_SIZE):
            yield PacketFound(f"{path}, packet {at}", _parsed(data, now))
            at += 1


def of_shared_file(path: Path, *, now: float | None = None) -> PacketFound:
    """The packet of a file as `DirectoryTransport` writes it.

    Anybody may have put it there, so it is opened as the transport does it: a FIFO would block.
    """
    try:
        with opening(path, "read"):
            data = read_regular(path, LARGEST)
    except ForeignFileError as error:
        return PacketFound(str(path), PeerError(f"it is {error}"))
    carried = decode_carried(data)
    if carried is None:
        return PacketFound(str(path), _parsed(data, now))
    packet = _parsed(carried[0], now)
    if isinstance(packet, Packet) and not packet.travels_under(carried[1]):
        return PacketFound(str(path), PeerError("its routing keys are not those that were signed"))
    return PacketFound(str(path), packet)


def _parsed(data: bytes, now: float | None) -> Packet | PeerError:
    try:
        return Packet.parse(data, now=now)
    except PeerError as error:
        return error


def _fields(packet: Packet) -> Iterator[tuple[str, Any]]:
    outcome = packet.outcome
    yield "id", packet.id.hex()
    yield "issuer", str(packet.issuer)
    yield "kind", type(outcome).__name__
    yield "study_id", outcome.study_id.hex()
    yield "question", outcome.question
    yield "cohort", outcome.cohort
    yield "issued_at", packet.issued_at
    yield "expires_at", packet.expires_at
    yield "sequence", packet.sequence
    yield "leaves", [leaf.hex() for leaf in packet.leaves]
    yield "scheme_id", packet.fingerprint.scheme_id.hex()
    yield "words", packet.explain()

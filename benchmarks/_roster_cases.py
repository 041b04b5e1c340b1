"""Rosters that must not be believed: each with what the former reader made of it, beside it.

The former reader (up to commit 3a3dd33) believed a file as it was if `coordinators` was empty, had
no limits on what it parsed, and remembered a version only within a process and only against lower
ones. `_former` does that with today's parts.
"""

import random
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import qis
from qis.errors import InputError, QISError, StorageError
from qis.evidence import RosterFile, roster_file, sign_roster

COORDINATORS = [qis.Identity.from_seed(bytes([n]) * 32) for n in (11, 12, 13)]
KEYS = [identity.issuer for identity in COORDINATORS]
SITES = [qis.Identity.from_seed(bytes([n]) * 32).issuer for n in (1, 2)]
SIGNED: dict[str, Any] = {"coordinators": KEYS}
Arguments = dict[str, Any]
Read = Callable[[Path, Arguments], object]
Fault = Callable[[Path, Read], object]


def text_of(version: int = 1, *, revoked: bool = False, extra: str = "") -> str:
    """A roster of two sites."""
    return (
        f'version = {version}\n[[site]]\nname = "north"\n{extra}\n[[site.key]]\n'
        f'issuer = "{SITES[0]}"\nrevoked = {str(revoked).lower()}\n'
        f'[[site]]\nname = "south"\n[[site.key]]\nissuer = "{SITES[1]}"\n'
    )


def write(path: Path, content: str | bytes, *signers: qis.Identity) -> None:
    """Put a roster, and the signatures of it, where they are read."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.with_name(path.name + ".sig").unlink(missing_ok=True)
    for signer in signers:
        signature = signer.sign(b"qis roster 1\n" + path.read_bytes())  # of anything, unlike ours
        line = f"{signer.issuer} {signature.hex()}"
        with path.with_name(path.name + ".sig").open("a", encoding="ascii") as signatures:
            signatures.write(f"{line}\n")


def now(path: Path, arguments: Arguments) -> object:
    """Today's reader, after a restart."""
    return RosterFile(path, **arguments)


def former(path: Path, arguments: Arguments) -> object:
    """The former reader, after a restart."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(str(error)) from error
    needed = arguments.get("needed", 1)
    if arguments.get("coordinators"):
        beside = path.with_name(path.name + ".sig")
        signatures = beside.read_bytes() if beside.exists() else b""
        roster_file._check_signatures(path, data, signatures, arguments["coordinators"], needed)  # noqa: SLF001  the former rule
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(error)) from error
    return roster_file._roster(table)  # noqa: SLF001  as above


def _believed(content: str | bytes, *signers: qis.Identity, **arguments: Any) -> Fault:
    """A file that is wrong by itself."""

    def fault(path: Path, read: Read) -> object:
        write(path, content, *signers)
        return read(path, arguments)

    return fault


def _after(content: str, **arguments: Any) -> Fault:
    """A validly signed file, after version 2 has revoked a key."""

    def fault(path: Path, read: Read) -> object:
        write(path, text_of(2, revoked=True), COORDINATORS[0])
        read(path, SIGNED | arguments)
        write(path, content, COORDINATORS[0])
        return read(path, SIGNED | arguments)

    return fault


def _changed(path: Path, read: Read) -> object:
    write(path, text_of(), COORDINATORS[0])
    path.write_text(text_of(revoked=True), encoding="utf-8")
    return read(path, SIGNED)


def _missing(path: Path, read: Read) -> object:
    return read(path.with_name("none.toml"), {})


def _damaged_memory(path: Path, read: Read) -> object:
    write(path, text_of(2, revoked=True), COORDINATORS[0])
    read(path, SIGNED)
    path.with_name("roster.toml.seen").write_bytes(b"qis roster memory 1 1")
    write(path, text_of(), COORDINATORS[0])
    return read(path, SIGNED)


FAULTS: dict[str, Fault] = {
    "nobody could have signed, two needed": _believed(text_of(), coordinators=[], needed=2),
    "nobody could have signed": _believed(text_of(), coordinators=[]),
    "two needed of nobody": _believed(text_of(), needed=2),
    "more needed than there are": _believed(text_of(), coordinators=KEYS, needed=4),
    "not signed": _believed(text_of(), coordinators=KEYS),
    "signed by one, two needed": _believed(text_of(), COORDINATORS[0], coordinators=KEYS, needed=2),
    "signed by one twice, two needed": _believed(
        text_of(), COORDINATORS[0], COORDINATORS[0], coordinators=KEYS, needed=2
    ),
    "signed by a stranger": _believed(
        text_of(), qis.Identity.from_seed(bytes([99]) * 32), coordinators=KEYS
    ),
    "changed after it was signed": _changed,
    "an older version, after a restart": _after(text_of()),
    "another file of the version, after a restart": _after(text_of(2)),
    "no version any more, after a restart": _after(text_of().replace("version = 1", "")),
    "the memory is damaged": _damaged_memory,
    "names within lists": _believed(text_of(extra="shares_patients_with = [[1]]")),
    "a number for a list": _believed(text_of(extra="studies = 0")),
    "lists within lists": _believed(text_of(extra=f"studies = {'[' * 2_000}{']' * 2_000}")),
    "tables within tables": _believed(f"{'a.' * 2_000}a = 1\n{text_of()}"),
    "a version of 5,000 digits": _believed(text_of(int("9" * 50)).replace("9" * 50, "9" * 5_000)),
    "a version beyond 64 bits": _believed(text_of(2**64)),
    "a time without a zone": _believed(
        text_of().replace("revoked = false", "valid_from = 2027-01-01T00:00:00")
    ),
    "not UTF-8": _believed(text_of().replace("north", "nörth").encode("latin-1")),
    "UTF-16": _believed(text_of().encode("utf-16")),
    "a NUL": _believed(text_of().replace("north", "no\0rth")),
    "empty": _believed(""),
    "an unknown key": _believed(f"sites = 3\n{text_of()}"),
    "two sites of one name": _believed(text_of().replace("south", "north")),
    "one key for two sites": _believed(text_of().replace(str(SITES[1]), str(SITES[0]))),
    "missing": _missing,
}


def _mutated(count: int) -> Iterator[tuple[str, Fault]]:
    """A signed file with some bytes changed."""
    rng, content = random.Random(14), text_of().encode()
    for number in range(count):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)

        def fault(path: Path, read: Read, changed: bytes = bytes(changed)) -> object:
            write(path, content, COORDINATORS[0])
            path.write_bytes(changed)
            return read(path, SIGNED)

        if bytes(changed) != content:
            yield f"changed bytes {number}", fault


def _outcome(fault: Fault, read: Read) -> str:
    """Whether it is refused by one of our errors, believed, or ends in one that nobody expects."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            fault(Path(folder) / "roster.toml", read)
        except QISError:
            return "refused"
        except Exception as error:  # noqa: BLE001  that is what is looked for
            return type(error).__name__
    return "believed"


def figures(full: bool) -> dict[str, float]:  # noqa: FBT001  the call of all parts
    """How many faults there are, and how many are refused by an error of ours."""
    with tempfile.TemporaryDirectory() as folder:  # what is right is believed
        path = Path(folder) / "roster.toml"
        path.write_text(text_of(), encoding="utf-8")
        for identity in COORDINATORS[:2]:
            sign_roster(path, identity)
        file = RosterFile(path, coordinators=KEYS, needed=2)
        write(path, text_of(2, revoked=True), *COORDINATORS[:2])
        if not file.refresh() or file.roster.accepts(SITES[0]):
            raise RuntimeError("a newer roster with two signatures is not believed")
    faults = FAULTS | dict(_mutated(2_000 if full else 100))
    refused = 0
    for name, fault in faults.items():
        outcome = _outcome(fault, now)
        refused += outcome == "refused"
        if name in FAULTS:
            print(f"{name}: {outcome}; formerly: {_outcome(fault, former)}")
    return {"roster_faults": len(faults), "roster_faults_refused": refused}


if __name__ == "__main__":
    print(figures(full=False))

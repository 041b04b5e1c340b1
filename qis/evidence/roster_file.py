"""A roster as a TOML file, signed by those who coordinate the study, read again when it changes.

::

    version = 3                        # higher with every change, if the file is signed

    [[site]]                           # first listed counts first where patients are shared
    name = "north"
    studies = ["9f2c01d4e5a6b788"]     # ids in hexadecimal; left out: enrolled in all
    shares_patients_with = ["registry"]

    [[site.key]]
    issuer = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    valid_from = 2026-01-01T00:00:00Z  # a time with its zone, a date (UTC), or Unix seconds
    valid_until = 2027-01-01
    revoked = false

Signatures are in a file beside it, named as it is with ``.sig`` added: a line each, of the
coordinator's key and the Ed25519 signature, in hexadecimal.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from qis.errors import InputError, SignatureError, StorageError
from qis.evidence.roster import Roster, Site, SiteKey
from qis.identity import Identity, Issuer, verify
from qis.outcomes._times import unix_seconds

_DOMAIN: Final = b"qis roster 1\n"
_FILE_KEYS: Final = ("version", "site")
_SITE_KEYS: Final = ("name", "key", "studies", "shares_patients_with")
_KEY_KEYS: Final = ("issuer", "valid_from", "valid_until", "revoked")

_Stamp = tuple[int, int, int, int]


class RosterFile:
    """A roster that follows its file.

    Parameters
    ----------
    path
        The TOML file.
    coordinators
        Keys that may sign it; none: the file is believed as it is.
    needed
        How many of them must have signed.

    Raises
    ------
    InputError
        If the file is no roster.
    SignatureError
        If too few coordinators signed it.
    StorageError
        If it cannot be read.

    """

    def __init__(
        self, path: str | PathLike[str], *, coordinators: Iterable[Issuer] = (), needed: int = 1
    ) -> None:
        self.path = Path(path)
        self._coordinators = tuple(coordinators)
        if self._coordinators and not 1 <= needed <= len(set(self._coordinators)):
            raise InputError(
                f"needed is {needed!r}; there are {len(set(self._coordinators))} coordinators",
                field="needed",
                actual=needed,
            )
        self._needed = needed
        self._stamp = self._stamp_now()
        self.version, self.roster = self._load()

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether `roster` is another one now.

        Raises
        ------
        InputError, SignatureError, StorageError
            If what is there now is not to be believed; `roster` stays as it was.

        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return False
        version, roster = self._load()
        if self._coordinators and version < self.version:
            raise InputError(
                f"{self.path} has version {version}, and {self.version} was read before: an old "
                "signed roster could bring back a revoked key",
                field="version",
                actual=version,
                limit=self.version,
            )
        changed = roster.digest != self.roster.digest
        self._stamp, self.version, self.roster = stamp, version, roster
        return changed

    def _load(self) -> tuple[int, Roster]:
        data = _read(self.path)
        if self._coordinators:
            _check_signatures(self.path, data, self._coordinators, self._needed)
        return _parsed(self.path, data)

    def _stamp_now(self) -> _Stamp:
        """What tells whether file or signatures changed; the file's number tells of a rename."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}", field="path") from error
        signatures = _signatures_of(self.path)
        signed = signatures.stat().st_mtime_ns if signatures.exists() else 0
        return status.st_ino, status.st_size, status.st_mtime_ns, signed


def sign_roster(path: str | PathLike[str], identity: Identity) -> None:
    """Add a coordinator's signature of a roster file to the file beside it."""
    file = Path(path)
    data = _read(file)
    _parsed(file, data)  # nobody signs what is no roster
    line = f"{identity.issuer} {identity.sign(_DOMAIN + data).hex()}\n"
    with _signatures_of(file).open("a", encoding="ascii") as signatures:
        signatures.write(line)
        signatures.flush()
        os.fsync(signatures.fileno())


def _check_signatures(path: Path, data: bytes, coordinators: Iterable[Issuer], needed: int) -> None:
    signatures = _signatures_of(path)
    lines = _read(signatures).decode("ascii", "replace") if signatures.exists() else ""
    valid: set[Issuer] = set()
    for line in lines.splitlines():
        issuer, _, signature = line.partition(" ")
        for coordinator in coordinators:
            if str(coordinator) == issuer and _signed(coordinator, data, signature):
                valid.add(coordinator)
    if len(valid) < needed:
        raise SignatureError(
            f"{path}: {len(valid)} coordinators signed it as it is now, {needed} are needed",
            field="signature",
            actual=len(valid),
            limit=needed,
        )


def _signed(coordinator: Issuer, data: bytes, signature: str) -> bool:
    try:
        verify(coordinator.key, _DOMAIN + data, bytes.fromhex(signature))
    except (SignatureError, ValueError):
        return False
    return True


def _signatures_of(path: Path) -> Path:
    return path.with_name(path.name + ".sig")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", field="path") from error


def _parsed(path: Path, data: bytes) -> tuple[int, Roster]:
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}", field="path") from error
    try:
        return _roster(table)
    except InputError as error:
        raise InputError(
            f"{path}: {error}", field=error.field, actual=error.actual, limit=error.limit
        ) from error


def _roster(table: Mapping[str, Any]) -> tuple[int, Roster]:
    """Version and roster."""
    _only(table, _FILE_KEYS, "a roster")
    version = _whole(table.get("version", 0), "version")
    sites = tuple(_site(entry) for entry in _tables(table, "site"))
    if not sites:
        raise InputError("it lists no site; to believe everybody, say Roster.open()", field="site")
    return version, Roster(sites)


def _site(table: Mapping[str, Any]) -> Site:
    _only(table, _SITE_KEYS, "a site")
    studies = table.get("studies")
    shares = table.get("shares_patients_with", [])
    if not isinstance(shares, list) or not isinstance(studies, list | None):
        raise InputError("studies and shares_patients_with are lists", field="site")
    keys = tuple(_key(entry) for entry in _tables(table, "key"))
    if not keys:
        raise InputError(f"site {table.get('name')!r:.60} has no key", field="key")
    return Site(
        name=table.get("name", ""),
        keys=keys,
        studies=None if studies is None else frozenset(_hex(item, "studies") for item in studies),
        shares_patients_with=frozenset(shares),
    )


def _key(table: Mapping[str, Any]) -> SiteKey:
    _only(table, _KEY_KEYS, "a key")
    revoked = table.get("revoked", False)
    if type(revoked) is not bool:
        raise InputError("revoked is true or false", field="revoked", actual=revoked)
    return SiteKey(
        issuer=Issuer(_hex(table.get("issuer"), "issuer")),
        valid_from=_time(table.get("valid_from"), "valid_from"),
        valid_until=_time(table.get("valid_until"), "valid_until"),
        revoked=revoked,
    )


def _tables(table: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = table.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{name} is written as [[{name}]]", field=name)
    return entries


def _only(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in table:
        if key not in known:
            raise InputError(
                f"unknown key {key!r:.60}; {what} has {', '.join(known)}", field=key, limit=known
            )


def _whole(value: object, field: str) -> int:
    if type(value) is not int or value < 0:
        raise InputError(f"{field} is a whole number, not {value!r:.60}", field=field)
    return value


def _hex(value: object, field: str) -> bytes:
    try:
        return bytes.fromhex(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{field} is in hexadecimal, not {value!r:.70}", field=field) from None


def _time(value: object, field: str) -> int | None:
    return None if value is None else unix_seconds(value, field)

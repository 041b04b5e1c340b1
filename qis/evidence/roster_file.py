"""A roster as a TOML file, signed by those who coordinate the study, read again when it changes.

::

    version = 3                        # higher with every change; needed if the file is signed

    [[site]]                           # first listed counts first where patients are shared
    name = "north"
    studies = ["9f2c01d4e5a6b788"]     # ids in hexadecimal; left out: enrolled in all
    shares_patients_with = ["registry"]

    [[site.key]]
    issuer = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    valid_from = 2026-01-01T00:00:00Z  # a time with its zone, a date (UTC), or Unix seconds
    valid_until = 2027-01-01
    revoked = false
    node_salt = "5d0f9c3a7be21846" # drawn at random at enrolment, then never changed

Signatures are in a file beside it, named as it is with ``.sig`` added: a line each, of the
coordinator's key and the Ed25519 signature, in hexadecimal.

A file that is signed, or that has a version, may only be followed by one of a higher version, also
over a restart: the newest that was believed is remembered in a file beside it, named as it is with
``.seen`` added. Otherwise whoever keeps an old signed file could bring back a revoked key.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from qis._files import durable
from qis._gate import checked
from qis._paths import file_path
from qis._toml import parse_toml, read_bytes
from qis.errors import ConfigurationError, InputError, SignatureError
from qis.evidence._roster_memory import Seen, recall, remember, require_no_older
from qis.evidence.roster import Roster, Site, SiteKey
from qis.identity import Identity, Issuer, verify
from qis.outcomes._times import unix_seconds

_DOMAIN: Final = b"qis roster 1\n"
_FILE_KEYS: Final = ("version", "site", "keyed")
_SITE_KEYS: Final = ("name", "key", "studies", "shares_patients_with")
_KEY_KEYS: Final = ("issuer", "valid_from", "valid_until", "revoked", "node_salt")

_Content = tuple[bytes, bytes]
"""The bytes of the roster file, and of its signatures."""


class RosterFile:
    """A roster that follows its file.

    Parameters
    ----------
    path
        The TOML file.
    coordinators
        Keys that may sign it, at least one; `None`: the file is believed as it is.
    needed
        How many of them must have signed; 1 unless it is said. Without coordinators it is refused,
        as it would ask for signatures that nobody looks at.
    memory
        Where the newest version is remembered over restarts: a path; `True`: beside the file, with
        ``.seen`` added to its name; `False`: nowhere, so that a restart believes an old file again.
        A file that is neither signed nor has a version leaves nothing to remember.

    Raises
    ------
    InputError
        If what is passed is wrong.
    ConfigurationError
        If the file is missing, is no roster, or is older than one that was believed before.
    SignatureError
        If too few coordinators signed it.
    StorageError
        If it cannot be read, or the memory can be neither read nor written.
    StorageDamagedError
        If the memory is not what was written.

    Examples
    --------
    >>> import pathlib, tempfile, qis
    >>> folder, key = tempfile.TemporaryDirectory(), qis.Identity.from_seed(bytes(32))
    >>> file = pathlib.Path(folder.name) / "roster.toml"
    >>> lines = ("[[site]]", 'name = "Ulm"', "[[site.key]]", f'issuer = "{key.issuer}"')
    >>> file.write_text(chr(10).join(lines)) > 0
    True
    >>> [site.name for site in qis.RosterFile(file).roster.sites]
    ['Ulm']
    >>> folder.cleanup()

    """

    @checked
    def __init__(
        self,
        path: str | PathLike[str],
        *,
        coordinators: Iterable[Issuer] | None = None,
        needed: int | None = None,
        memory: str | PathLike[str] | bool = True,
    ) -> None:
        self.path = Path(path)
        self._coordinators = _coordinators(coordinators, needed)
        self._needed = 1 if needed is None else needed
        self._memory: Path | None = None
        if memory is True:
            self._memory = _beside(self.path, ".seen")
        elif memory is not False:
            self._memory = file_path(memory, field="memory", without="False")
        self._newest: Seen | None = None
        self._content = self._read()
        self.version, self.roster = self._believed(self._content)

    def refresh(self) -> bool:
        """Read the file again; return true if `roster` has changed.

        Raises
        ------
        ConfigurationError, SignatureError, StorageError
            If what is there now is not to be believed; `roster` stays as it was.

        """
        content = self._read()
        if content == self._content:
            return False
        version, roster = self._believed(content)
        changed = roster.digest != self.roster.digest
        self._content, self.version, self.roster = content, version, roster
        return changed

    def _read(self) -> _Content:
        # Whole, since times of change are too coarse to tell two changes of one second apart.
        data = read_bytes(self.path)
        signatures = _signatures_of(self.path)
        is_signed = bool(self._coordinators) and signatures.exists()
        return data, read_bytes(signatures) if is_signed else b""

    def _believed(self, content: _Content) -> tuple[int, Roster]:
        data, signatures = content
        if self._coordinators:
            _check_signatures(self.path, data, signatures, self._coordinators, self._needed)
        version, roster = _parsed(self.path, data)
        self._require_newest((version, blake3(data).digest()))
        return version, roster

    def _require_newest(self, found: Seen) -> None:
        """Refuse an older file; what is newer is on disk before it is believed."""
        recalled = None if self._memory is None else recall(self._memory)
        for newest in (recalled, self._newest):
            if newest is not None:
                require_no_older(self.path, newest, found)
        if not self._coordinators and not found[0]:
            return
        if self._memory is not None and found != recalled:
            remember(self._memory, found)
        self._newest = found

    def __repr__(self) -> str:
        sites = len(self.roster.sites)
        return f"<RosterFile {str(self.path)!r}, version {self.version}, {sites} sites>"


def _coordinators(given: Iterable[Issuer] | None, needed: object) -> tuple[Issuer, ...]:
    """The keys that may sign; empty only if nobody asked for signatures."""
    if given is None:
        if needed is not None:
            raise InputError(
                f"needed is {needed!r:.40}, and there are no coordinators who could sign: give "
                "their keys, or leave needed out to believe the file as it is",
                field="coordinators",
                actual=needed,
            )
        return ()
    found = tuple(dict.fromkeys(given))
    if not found:
        raise InputError(
            "coordinators is empty, so nobody could have signed: give their keys, or leave it out "
            "to believe the file as it is",
            field="coordinators",
        )
    if not all(isinstance(each, Issuer) for each in found):
        raise InputError("coordinators are keys: qis.Issuer", field="coordinators")
    if needed is not None and (type(needed) is not int or not 1 <= needed <= len(found)):
        raise InputError(
            f"needed is {needed!r:.40}; there are {len(found)} coordinators",
            field="needed",
            actual=needed,
            limit=len(found),
        )
    return found


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(file_path(path).name + suffix)


@checked
def sign_roster(path: str | PathLike[str], identity: Identity) -> None:
    """Add a coordinator's signature of a roster file to the file beside it.

    Examples
    --------
    >>> import pathlib, tempfile, qis
    >>> folder, key = tempfile.TemporaryDirectory(), qis.Identity.from_seed(bytes(32))
    >>> file = pathlib.Path(folder.name) / "roster.toml"
    >>> lines = ["version = 1", "[[site]]", 'name = "Ulm"']
    >>> lines += ["[[site.key]]", f'issuer = "{key.issuer}"']
    >>> file.write_text(chr(10).join(lines)) > 0
    True
    >>> qis.sign_roster(file, key)
    >>> qis.RosterFile(file, coordinators=[key.issuer], needed=1).version
    1
    >>> folder.cleanup()

    """
    file = Path(path)
    data = read_bytes(file)
    _parsed(file, data)  # nobody signs what is no roster
    line = f"{identity.issuer} {identity.sign(_DOMAIN + data).hex()}\n"
    with durable(_signatures_of(file), "ab") as signatures:
        signatures.write(line.encode("ascii"))


def _check_signatures(
    path: Path, data: bytes, signatures: bytes, coordinators: Iterable[Issuer], needed: int
) -> None:
    valid: set[Issuer] = set()
    for line in signatures.decode("ascii", "replace").splitlines():
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
    return _beside(path, ".sig")


def _parsed(path: Path, data: bytes) -> tuple[int, Roster]:
    table = parse_toml(path, data)
    try:
        return _roster(table)
    except InputError as error:
        raise ConfigurationError(
            f"{path}: {error}", field=error.field, actual=error.actual, limit=error.limit
        ) from error


def _roster(table: Mapping[str, Any]) -> tuple[int, Roster]:
    """Return version and roster."""
    _only(table, _FILE_KEYS, "a roster")
    version = _whole(table.get("version", 0), "version")
    sites = tuple(_site(entry) for entry in _tables(table, "site"))
    if not sites:
        raise InputError("it lists no site; to believe everybody, say Roster.open()", field="site")
    is_keyed = table.get("keyed", False)
    if type(is_keyed) is not bool:
        raise InputError(f"keyed is true or false, not {is_keyed!r:.60}", field="keyed")
    return version, Roster(sites, is_keyed=is_keyed)


def _site(table: Mapping[str, Any]) -> Site:
    _only(table, _SITE_KEYS, "a site")
    studies = table.get("studies")
    shares = table.get("shares_patients_with", [])
    for field, value in (
        ("studies", [] if studies is None else studies),
        ("shares_patients_with", shares),
    ):
        if not isinstance(value, list) or not all(type(item) is str for item in value):
            raise InputError(f"{field} is a list of texts, not {value!r:.60}", field=field)
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
    revoked, salt = table.get("revoked", False), table.get("node_salt")
    if type(revoked) is not bool:
        raise InputError("revoked is true or false", field="revoked", actual=revoked)
    return SiteKey(
        issuer=Issuer(_hex(table.get("issuer"), "issuer")),
        valid_from=_time(table.get("valid_from"), "valid_from"),
        valid_until=_time(table.get("valid_until"), "valid_until"),
        revoked=revoked,
        node_salt=b"" if salt is None else _hex(salt, "node_salt"),
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

"""Who is believed: the sites that one accepts, with their keys.

Packets are signed by keys, evidence comes from sites. A roster says which keys speak for which
site, so that a site that changes its key does not count twice. There is no default: whoever wants
to believe everybody says so, with `Roster.open()`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final, Self

from blake3 import blake3

from qis._canonical import encode_sorted
from qis._gate import checked
from qis._given import byte_string, instance, several, truth_value, whole_second
from qis.errors import InputError
from qis.identity import Issuer

TAG_SIZE: Final = 8
"""Bytes of an issuer that a leaf carries."""
NODE_SALT_SIZE: Final = 8
"""Bytes drawn at random when a key is enrolled."""
_STUDY_ID_SIZE: Final = 8
DIRECT_LIMIT: Final = 128
"""Most sites of a closed roster in which each publication goes to every member, without routing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKey:
    """A key that speaks for a site.

    Parameters
    ----------
    issuer
        The public key.
    valid_from, valid_until
        Unix seconds: packets issued in [from, until) are believed; `None`: no bound. A key that
        was replaced by another gets an end: what it signed before stays evidence.
    revoked
        Nothing that the key ever signed is believed, since whoever has it can sign with any date.
    node_salt
        8 bytes that whoever enrols the key draws at random, never changed after that, or nothing.
        In keyed mode the place of the key's node in the network follows from both, so nobody can
        make keys until one lies next to a study's (docs/overlay.md).

    Examples
    --------
    >>> import qis
    >>> old, new = (qis.Identity.from_seed(bytes([n]) * 32).issuer for n in (1, 2))
    >>> site = qis.Site(
    ...     name="Ulm",
    ...     keys=(
    ...         qis.SiteKey(issuer=old, valid_until=1_800_000_000),
    ...         qis.SiteKey(issuer=new, valid_from=1_800_000_000),
    ...     ),
    ... )

    """

    issuer: Issuer
    valid_from: int | None = None
    valid_until: int | None = None
    revoked: bool = False
    node_salt: bytes = b""

    def __post_init__(self) -> None:
        instance(self.issuer, "issuer", Issuer, "Issuer(bytes.fromhex(…)), or identity.issuer")
        for name in ("valid_from", "valid_until"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_second(given, name))
        truth_value(self.revoked, "revoked")
        if type(self.node_salt) is not bytes or self.node_salt:
            byte_string(self.node_salt, "node_salt", NODE_SALT_SIZE)
        start, end = self.valid_from, self.valid_until
        if start is not None and end is not None and start >= end:
            raise InputError(
                f"valid_until ({end}) is not after valid_from ({start})",
                field="valid_until",
                actual=end,
                limit=start,
            )

    @checked
    def covers(self, issued_at: int) -> bool:
        """True if the key is valid at this issue time (Unix seconds)."""
        return (self.valid_from is None or self.valid_from <= issued_at) and (
            self.valid_until is None or issued_at < self.valid_until
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site on a roster.

    Parameters
    ----------
    name
        Unique in the roster.
    keys
        The keys that speak for it, former ones too.
    studies
        Ids of the studies that it is enrolled in; `None`: in all.
    shares_patients_with
        Names of the sites that may hold the same people (a registry and its hospitals).

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> qis.Site.of("Ulm", key.issuer).name
    'Ulm'

    """

    name: str
    keys: tuple[SiteKey, ...]
    studies: frozenset[bytes] | None = None
    shares_patients_with: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if type(self.name) is not str or not self.name or not self.name.isprintable():
            raise InputError(
                f"a site's name is printable text, not {self.name!r:.60}", field="name"
            )
        keys = several(self.keys, "keys", "qis.SiteKey")
        for key in keys:
            instance(key, "keys", SiteKey, "SiteKey(issuer=…), or Site.of(name, issuer)")
        object.__setattr__(self, "keys", tuple(keys))
        if self.studies is not None:
            studies = [
                byte_string(study, "studies (ids: Study(…).id)", _STUDY_ID_SIZE)
                for study in several(self.studies, "studies", "study ids")
            ]
            object.__setattr__(self, "studies", frozenset(studies))
        shares = several(self.shares_patients_with, "shares_patients_with", "names")
        if not all(isinstance(name, str) for name in shares):
            raise InputError("shares_patients_with is a set of names", field="shares_patients_with")
        object.__setattr__(self, "shares_patients_with", frozenset(shares))

    @classmethod
    def of(cls, name: str, *issuers: Issuer) -> Self:
        """A site with these keys, valid always, enrolled in all studies."""
        for issuer in issuers:
            instance(issuer, "issuers", Issuer, "Issuer(bytes.fromhex(…)), or identity.issuer")
        return cls(name=name, keys=tuple(SiteKey(issuer=issuer) for issuer in issuers))

    @checked
    def enrolled_in(self, study_id: bytes) -> bool:
        """True if the site takes part in the study."""
        return self.studies is None or study_id in self.studies


@dataclass(frozen=True, slots=True)
class Roster:
    """The sites that are believed, in the order in which they count where they share patients.

    Parameters
    ----------
    sites
        First listed counts first: of two sites that share patients, the later one is left out.
    is_open
        True: everybody is believed, each key as a site of its own. Anybody can make any number
        of keys, so an open roster is for trials and simulations.
    is_keyed
        True: packets are routed by keys however few the sites are (`is_direct`). All members have
        to have the same, as they have the roster.

    Raises
    ------
    InputError
        If two sites have one name, two keys one 8-byte tag, or a site shares patients with an
        unknown one.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> roster = qis.Roster((qis.Site.of("Ulm", key.issuer),))
    >>> roster.name_of(key.issuer)
    'Ulm'

    """

    sites: tuple[Site, ...] = ()
    is_open: bool = field(default=False, kw_only=True)
    is_keyed: bool = field(default=False, kw_only=True)
    digest: bytes = field(init=False, compare=False, repr=False)
    _by_key: dict[bytes, tuple[int, SiteKey]] = field(init=False, compare=False, repr=False)
    _overlaps: dict[str, frozenset[str]] = field(init=False, compare=False, repr=False)
    _by_tag: dict[bytes, bytes] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        truth_value(self.is_open, "is_open")
        truth_value(self.is_keyed, "is_keyed")
        sites = several(self.sites, "sites", "qis.Site")
        for site in sites:
            instance(site, "sites", Site, "Site.of(name, issuer)")
        object.__setattr__(self, "sites", tuple(sites))
        if self.is_open and self.sites:
            raise InputError("an open roster lists no sites", field="sites")
        by_key: dict[bytes, tuple[int, SiteKey]] = {}
        by_tag: dict[bytes, bytes] = {}
        for rank, site in enumerate(self.sites):
            for key in site.keys:
                tag = key.issuer.key[:TAG_SIZE]
                if tag in by_tag:
                    raise InputError(
                        f"{site.name!r}: the first 8 bytes of key {key.issuer} are on the roster "
                        "already, so leaves could not tell the two keys apart: make a new key",
                        field="keys",
                        actual=str(key.issuer),
                    )
                by_tag[tag] = key.issuer.key
                by_key[key.issuer.key] = (rank, key)
        object.__setattr__(self, "_by_key", by_key)
        object.__setattr__(self, "_by_tag", by_tag)
        object.__setattr__(self, "_overlaps", _symmetric_overlaps(self.sites))
        object.__setattr__(self, "digest", blake3(encode_sorted(self._content())).digest())

    @classmethod
    def open(cls) -> Self:
        """Believe everybody; each key is a site of its own.

        Examples
        --------
        >>> import qis
        >>> qis.Roster.open().accepts(qis.Identity.generate().issuer)
        True

        """
        return cls(is_open=True)

    @property
    def is_direct(self) -> bool:
        """True if its sites send each packet to every member (docs/direct.md), without routing.

        So it is where a roster is closed, lists at most 128 sites and does not ask for keyed mode.
        All that have the roster agree on it, and nobody outside can change it.
        """
        return not (self.is_open or self.is_keyed) and len(self.sites) <= DIRECT_LIMIT

    @property
    def node_keys(self) -> frozenset[bytes]:
        """The 32-byte keys, not revoked, that a closed roster lists."""
        return frozenset(key for key, (_, entry) in self._by_key.items() if not entry.revoked)

    @checked
    def node_salt(self, key: bytes) -> bytes:
        """The random bytes with which a 32-byte key was enrolled; empty if it has none."""
        found = self._by_key.get(key)
        return b"" if found is None else found[1].node_salt

    @classmethod
    @checked
    def load(
        cls,
        path: str | PathLike[str],
        *,
        coordinators: Iterable[Issuer] | None = None,
        needed: int | None = None,
        memory: str | PathLike[str] | bool = True,
    ) -> "Roster":
        """Read a roster from a TOML file (`qis.evidence.roster_file` shows one).

        To follow the file while running, use `qis.evidence.RosterFile`.

        Parameters
        ----------
        path
            The file.
        coordinators
            Keys that may sign it; `None`: the file is believed as it is.
        needed
            How many of them must have signed; default: 1.
        memory
            Where the newest version is remembered, so that an older file is refused after a
            restart: a path; `True`: beside the file, with ``.seen`` added; `False`: nowhere.

        Raises
        ------
        InputError, ConfigurationError, SignatureError, StorageError
            If the arguments, the file, its signatures or its memory are wrong; see
            `qis.evidence.RosterFile`.

        Examples
        --------
        >>> import pathlib, tempfile, qis
        >>> key = qis.Identity.from_seed(bytes(32)).issuer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "roster.toml")
        ...     size = file.write_text(f'''
        ... [[site]]
        ... name = "Ulm"
        ... [[site.key]]
        ... issuer = "{key}"
        ... ''')
        ...     roster = qis.Roster.load(file)
        >>> roster.name_of(key)
        'Ulm'

        """
        from qis.evidence.roster_file import RosterFile  # noqa: PLC0415  it is built upon this

        file = RosterFile(path, coordinators=coordinators, needed=needed, memory=memory)
        return file.roster

    # These four are asked several times for every packet: they check what they are given
    # themselves, which costs a fifth of what `checked` does.

    def accepts(self, issuer: Issuer) -> bool:
        """True if an issuer is on the roster and not revoked, and for everybody if it is open."""
        instance(issuer, "issuer", Issuer, "packet.issuer")
        if self.is_open:
            return True
        found = self._by_key.get(issuer.key)
        return found is not None and not found[1].revoked

    def site_of(self, issuer: Issuer) -> Site | None:
        """The site that a key speaks for (an open roster makes one up), or `None`."""
        instance(issuer, "issuer", Issuer, "packet.issuer")
        if self.is_open:
            return Site.of(str(issuer), issuer)
        found = self._by_key.get(issuer.key)
        return None if found is None else self.sites[found[0]]

    def name_of(self, issuer: Issuer) -> str | None:
        """The name of the site that a key speaks for, or `None`."""
        instance(issuer, "issuer", Issuer, "packet.issuer")
        if self.is_open:
            return str(issuer)
        site = self.site_of(issuer)
        return None if site is None else site.name

    def key_of(self, issuer: Issuer) -> SiteKey | None:
        """The roster's entry for a key."""
        instance(issuer, "issuer", Issuer, "packet.issuer")
        if self.is_open:
            return SiteKey(issuer=issuer)
        found = self._by_key.get(issuer.key)
        return None if found is None else found[1]

    @checked
    def rank_of(self, issuer: Issuer) -> int:
        """Index of the issuer's site in the roster, from 0; always 0 in an open one."""
        instance(issuer, "issuer", Issuer, "packet.issuer")
        return 0 if self.is_open else self._by_key[issuer.key][0]

    @checked
    def issuer_of_tag(self, tag: bytes) -> Issuer | None:
        """The issuer on the roster whose key begins with these 8 bytes."""
        key = self._by_tag.get(tag)
        return None if key is None else Issuer(key)

    @checked
    def overlaps_of(self, name: str) -> frozenset[str]:
        """Names of the sites that share patients with this one, whichever of the two said so."""
        return self._overlaps.get(name, frozenset())

    @checked
    def enrolled(self, study_id: bytes) -> tuple[Site, ...]:
        """The sites that take part in a study, revoked ones left out."""
        return tuple(
            site
            for site in self.sites
            if site.enrolled_in(study_id) and not all(key.revoked for key in site.keys)
        )

    def _content(self) -> dict[str, Any]:
        """What the roster says, for the digest."""
        return {
            **({"keyed": True} if self.is_keyed else {}),
            "open": self.is_open,
            "sites": [
                {
                    "name": site.name,
                    "keys": [
                        [
                            key.issuer.key,
                            key.valid_from,
                            key.valid_until,
                            key.revoked,
                            *([key.node_salt] if key.node_salt else []),
                        ]
                        for key in site.keys
                    ],
                    "studies": None if site.studies is None else sorted(site.studies),
                    "shares": sorted(site.shares_patients_with),
                }
                for site in self.sites
            ],
        }

    def _repr_html_(self) -> str:
        from qis.picture.html import grid_of  # noqa: PLC0415  for people only

        if self.is_open:
            return "<p>An open roster: everybody is believed.</p>"
        return grid_of(
            {
                "site": [site.name for site in self.sites],
                "keys": [
                    ", ".join(str(key.issuer)[:16] for key in site.keys) for site in self.sites
                ],
            },
            f"Roster of {len(self.sites)} sites",
        )


def _symmetric_overlaps(sites: Iterable[Site]) -> dict[str, frozenset[str]]:
    names: set[str] = set()
    shared: dict[str, set[str]] = {}
    sites = tuple(sites)
    for site in sites:
        if site.name in names:
            raise InputError(f"two sites are named {site.name!r}", field="name", actual=site.name)
        names.add(site.name)
    for site in sites:
        for other in site.shares_patients_with:
            if other not in names or other == site.name:
                raise InputError(
                    f"{site.name!r} shares patients with {other!r}, which is no other site here",
                    field="shares_patients_with",
                    actual=other,
                )
            shared.setdefault(site.name, set()).add(other)
            shared.setdefault(other, set()).add(site.name)
    return {name: frozenset(others) for name, others in shared.items()}

"""Turns each table of a site's file into the part of the loop that it describes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from qis.about import Interest
from qis.disclosure import PRESETS, Disclosure
from qis.evidence import Roster, RosterFile
from qis.fingerprint import (
    Cells,
    Level,
    LoadBudget,
    NearestCells,
    Ontology,
    Scheme,
    SetScheme,
    TermScheme,
    VectorScheme,
    build_cells,
)
from qis.identity import Identity, Issuer
from qis.outcomes import Study
from qis.site.secrets import consortium_secret, passphrase
from qis.site.table import TomlTable
from qis.transport import DirectoryTransport, Transport

IDENTITY_KEYS: Final = ("file", "passphrase_env", "passphrase_file", "passphrase")
ROSTER_KEYS: Final = ("file", "open", "coordinators", "needed")
INTEREST_KEYS: Final = ("features", "people", "min_similarity", "top_fraction", "share_sketch")
DISCLOSURE_KEYS: Final = ("preset", "allow_unkeyed")


def identity_of(site: TomlTable) -> Identity:
    """Return the site's signing key, from `[identity]`."""
    table = site.table("identity", IDENTITY_KEYS)
    words = passphrase(table)
    with table.located("file"):
        return Identity.load(table.path("file"), passphrase=words)


def roster_of(site: TomlTable) -> Roster | RosterFile:
    """Return the roster, from `[roster]`, which has to have `file` or `open = true`."""
    table = site.table("roster", ROSTER_KEYS)
    if table.flag("open", default=False):
        if "file" in table:
            raise table.complaint("open", "and file are both there: give one")
        return Roster.open()
    if "file" not in table:
        raise table.complaint("file", "is missing; to believe everybody, say open = true")
    coordinators = None
    if "coordinators" in table:
        coordinators = [_key(table, text) for text in table.items("coordinators", str)]
    with table.located():
        return RosterFile(
            table.path("file"),
            coordinators=coordinators,
            needed=table.whole("needed") if "needed" in table else None,
            memory=table.beside("roster.seen"),
        )


def studies_of(site: TomlTable) -> tuple[Study, ...]:
    """Return the studies, from the files that `studies` lists."""
    names = site.items("studies", str)
    with site.located("studies"):
        return tuple(Study.load(site.beside(name)) for name in names)


def scheme_of(site: TomlTable) -> Scheme[Any]:
    """Return the fingerprint scheme, from `[scheme]`."""
    known = {key for _, keys in _SCHEMES.values() for key in keys}
    kind = site.table("scheme", ("kind", *known, "secret_file")).choice("kind", _SCHEMES)
    make, keys = _SCHEMES[kind]
    table = site.table("scheme", ("kind", *keys, "secret_file"))
    secret = consortium_secret(table)
    with table.located():
        return make(table, secret)


def interest_of(
    site: TomlTable, scheme: Scheme[Any], studies: tuple[Study, ...]
) -> tuple[Interest, int | None]:
    """Return the interest and the number of people it is made from, from `[interest]`.

    Without a threshold there, that of the studies is used.
    """
    table = site.table("interest", INTEREST_KEYS)
    features = table.items("features", int, float, str)
    limits: dict[str, Any] = {
        key: table.real(key) for key in ("min_similarity", "top_fraction") if key in table
    }
    declared = {study.min_similarity for study in studies} - {None}
    if not limits and len(declared) == 1:
        limits["min_similarity"] = declared.pop() or 0.0
    if "share_sketch" in table:
        limits["share_sketch"] = table.flag("share_sketch", default=False)
    with table.located():
        interest = scheme.interest(features, **limits)
    people = table.whole("people") if "people" in table else None
    return interest, people


def transport_of(site: TomlTable, identity: Identity, roster: Roster) -> Transport:
    """Return the transport, from `[transport]`."""
    kind = site.table("transport", TRANSPORT_KEYS).choice("kind", TRANSPORT_KINDS)
    make, keys = _TRANSPORTS[kind]
    table = site.table("transport", ("kind", *keys))
    with table.located():
        return make(table, identity, roster)


def disclosure_of(site: TomlTable, ledger: Any) -> Disclosure:
    """Return the disclosure rules, from `[disclosure]`; by default the preset "cms"."""
    table = site.table("disclosure", DISCLOSURE_KEYS)
    disclosure = Disclosure.preset(table.choice("preset", PRESETS, "cms"), ledger=ledger)
    if table.flag("allow_unkeyed", default=False):
        disclosure.rules = replace(disclosure.rules, keyed_schemes=False)
    return disclosure


def _vectors(table: TomlTable, secret: bytes | None) -> Scheme[Any]:
    return VectorScheme(
        table.whole("dimensions"),
        secret=secret,
        bands=table.whole("bands", 24),
        band_bits=table.whole("band_bits", 5),
        **{key: table.items(key, int, float) for key in ("centre", "scale") if key in table},
    )


def _sets(table: TomlTable, secret: bytes | None) -> Scheme[Any]:
    return SetScheme(secret=secret, bands=table.whole("bands", 24), rows=table.whole("rows", 2))


def _terms(table: TomlTable, secret: bytes | None) -> Scheme[Any]:
    path = table.path("ontology")
    annotations = table.path("annotations") if "annotations" in table else None
    is_obo = path.name.removesuffix(".gz").endswith(".obo")
    read = Ontology.from_obo if is_obo else Ontology.from_obographs
    ontology = read(path, annotations)
    return TermScheme(ontology, secret=secret, levels=_levels(table, ontology))


def _levels(table: TomlTable, ontology: Ontology) -> list[Level]:
    """Return cells, a load budget, or both if the file has keys of both; a budget by default."""
    levels: list[Level] = []
    if "cells_file" in table:
        digest = _digest(table) if "cells_digest" in table else None
        cells = Cells.load(table.path("cells_file"), digest=digest)
        levels.append(NearestCells(cells, table.whole("cell_keys", 12)))
    elif "cells" in table:
        path = table.path("annotations")
        digest = _digest(table) if "cells_digest" in table else None
        count = table.whole("cells")
        cells = build_cells(ontology, path, source=path.name, count=count, digest=digest)
        levels.append(NearestCells(cells, table.whole("cell_keys", 12)))
    if not levels or "budget" in table or "target_information" in table:
        budget, target = table.real("budget", 1.5), table.real("target_information", 4.0)
        levels.append(LoadBudget(budget, target))
    return levels


def _digest(table: TomlTable) -> bytes:
    try:
        return bytes.fromhex(table.text("cells_digest"))
    except ValueError:
        raise table.complaint("cells_digest", "is no hexadecimal number") from None


def _directory(table: TomlTable, identity: Identity, roster: Roster) -> Transport:
    return DirectoryTransport(
        table.path("path"), identity, roster=roster, poll_s=table.real("poll_s", 1.0)
    )


def _udp(table: TomlTable, identity: Identity, roster: Roster) -> Transport:
    from qis.transport import UDPTransport  # noqa: PLC0415  sockets, for those who use them

    return UDPTransport(
        identity,
        roster=roster,
        bind=_address(table, "bind", "127.0.0.1:0"),
        advertise=_address(table, "advertise") if "advertise" in table else None,
        bootstrap=table.items("bootstrap", str),
        cache=table.path("cache") if "cache" in table else None,
    )


def _cloud(table: TomlTable, identity: Identity, roster: Roster) -> Transport:
    from qis.transport.cloud import CloudTransport  # noqa: PLC0415  an extra

    return CloudTransport(
        table.text("url"),
        identity,
        roster=roster,
        secret=consortium_secret(table),
        clear=table.flag("clear", default=False),
        seen=table.path("seen", "seen.db"),
        poll_s=table.real("poll_s", 60.0),
    )


def _nats(table: TomlTable, identity: Identity, roster: Roster) -> Transport:
    from qis.transport.nats import NATSTransport  # noqa: PLC0415  an extra
    from qis.transport.nats.options import options_of  # noqa: PLC0415

    files = {
        key: table.path(key) for key in ("ca", "certificate", "key", "credentials") if key in table
    }
    return NATSTransport(
        table.items("servers", str),
        identity,
        roster=roster,
        domain=table.text("domain", "qis"),
        secret=consortium_secret(table),
        clear=table.flag("clear", default=False),
        by_study=table.flag("by_study", default=False),
        proxy=table.text("proxy") if "proxy" in table else None,
        jetstream_domain=table.text("jetstream_domain") if "jetstream_domain" in table else None,
        options=options_of(**files),
    )


_SCHEMES: Final[
    dict[str, tuple[Callable[[TomlTable, bytes | None], Scheme[Any]], tuple[str, ...]]]
] = {
    "vector": (_vectors, ("dimensions", "bands", "band_bits", "centre", "scale")),
    "set": (_sets, ("bands", "rows")),
    "term": (
        _terms,
        (
            "ontology",
            "annotations",
            "budget",
            "target_information",
            "cells",
            "cells_file",
            "cell_keys",
            "cells_digest",
        ),
    ),
}
_TRANSPORTS: Final[
    dict[str, tuple[Callable[[TomlTable, Identity, Roster], Transport], tuple[str, ...]]]
] = {
    "directory": (_directory, ("path", "poll_s")),
    "udp": (_udp, ("bind", "advertise", "bootstrap", "cache")),
    "cloud": (_cloud, ("url", "secret_file", "clear", "seen", "poll_s")),
    "nats": (
        _nats,
        (
            *("servers", "domain", "secret_file", "clear", "by_study", "proxy"),
            *("jetstream_domain", "ca", "certificate", "key", "credentials"),
        ),
    ),
}
SCHEME_KINDS: Final = tuple(_SCHEMES)
"""What `kind` in `[scheme]` may be."""
SCHEME_KEYS: Final = tuple(dict.fromkeys(key for _, keys in _SCHEMES.values() for key in keys))
"""Every key that `[scheme]` may have besides `kind` and `secret_file`, whatever its kind."""
TRANSPORT_KINDS: Final = tuple(_TRANSPORTS)
"""What `kind` in `[transport]` may be."""
TRANSPORT_KEYS: Final = (
    "kind",
    *dict.fromkeys(key for _, keys in _TRANSPORTS.values() for key in keys),
)
"""Every key that `[transport]` may have, whatever its kind."""


def _address(table: TomlTable, key: str, default: str | None = None) -> tuple[str, int]:
    text = table.text(key, default)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise table.complaint(key, f"is {text!r:.60}; it is host:port")
    return host.strip("[]"), int(port)


def _key(table: TomlTable, text: str) -> Issuer:
    try:
        return Issuer(bytes.fromhex(text))
    except ValueError:  # not hexadecimal, or not 32 bytes
        raise table.complaint(
            "coordinators", f"are keys of 64 hexadecimal digits, not {text!r:.70}"
        ) from None

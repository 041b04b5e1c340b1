"""The JSON schema of a site's file, for editors: they complete its keys and mark what is none.

The file is TOML; editors that know schemas of TOML take a JSON schema (draft 2020-12). What a
schema cannot say, such as which keys exclude each other, `open_site` says when it reads the file.
"""

from typing import Any, Final

from qis.disclosure import PRESETS
from qis.packet import MAX_LIFETIME_S
from qis.site import parts
from qis.site.opening import APPROVALS, FILES, LOOP_KEYS, TABLES

_TEXT: Final = {"type": "string", "minLength": 1}
_NUMBERS: Final = {"type": "array", "items": {"type": "number"}}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_FLAG: Final = {"type": "boolean"}
_NUMBER: Final = {"type": "number"}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_SECRET: Final = (
    _TEXT,
    "File with the consortium's 32 bytes, or 64 hexadecimal digits; mode 0600.",
)
_CLEAR: Final = (_FLAG, "True: packets are not sealed, so whoever runs the broker reads them.")

Key = tuple[dict[str, Any], str]
"""What a value may be, and what it means."""
_IDENTITY: Final[dict[str, Key]] = {
    "file": (_TEXT, "The site's signing key, as `keygen` makes it; mode 0600."),
    "passphrase_env": (_TEXT, "Environment variable with the key's passphrase."),
    "passphrase_file": (_TEXT, "File with the key's passphrase; mode 0600."),
}
_ROSTER: Final[dict[str, Key]] = {
    "file": (_TEXT, "The roster: who is believed."),
    "open": (_FLAG, "True: everybody is believed, and there is no file."),
    "coordinators": (_TEXTS, "Keys of those who sign the roster, 64 hexadecimal digits each."),
    "needed": (_WHOLE, "How many of them have to have signed it."),
}
_INTEREST: Final[dict[str, Key]] = {
    "features": (
        {"type": "array", "items": {"type": ["number", "string"]}},
        "What the site works on: numbers, or terms, as the scheme takes them.",
    ),
    "people": (_WHOLE, "How many people the features are made from; 0: they describe a study."),
    "min_similarity": ({**_NUMBER, "minimum": 0, "maximum": 1}, "From which similarity on."),
    "top_fraction": ({**_NUMBER, "minimum": 0, "maximum": 1}, "Which fraction of random pairs."),
    "share_sketch": (_FLAG, "Register the sketch beside the routing keys."),
}
_SCHEME: Final[dict[str, Key]] = {
    "dimensions": (_WHOLE, "Of vectors: how many numbers."),
    "bands": (_WHOLE, "Of vectors and sets: how many routing keys."),
    "band_bits": (_WHOLE, "Of vectors: bits in each routing key."),
    "rows": (_WHOLE, "Of sets: hashes in each routing key."),
    "centre": (_NUMBERS, "Of vectors: subtracted from each; the same at all sites."),
    "scale": (_NUMBERS, "Of vectors: what each is divided by; the same at all sites."),
    "ontology": (_TEXT, "Of terms: the release, OBO or obographs JSON."),
    "annotations": (_TEXT, "Of terms: phenotype.hpoa, which says how rare each is."),
    "budget": (_NUMBER, "Of terms: share of all profiles that the routing keys may meet."),
    "target_information": (_NUMBER, "Of terms: how informative routing keys should be, in nats."),
    "cells": (_WHOLE, "Of terms: number of cells, which are routing keys too."),
    "cells_file": (_TEXT, "Of terms: a file of cells, instead of building them."),
    "cell_keys": (_WHOLE, "Of terms: in how many cells the site is."),
    "cells_digest": (_TEXT, "Of terms: what the network agreed on, in hexadecimal digits."),
    "secret_file": _SECRET,
}
_TRANSPORT: Final[dict[str, Key]] = {
    "path": (_TEXT, "directory: the shared folder."),
    "poll_s": (_NUMBER, "directory, cloud: seconds between two looks."),
    "bind": (_TEXT, "udp: host:port to listen on."),
    "advertise": (_TEXT, "udp: host:port at which others reach this site, if not `bind`."),
    "bootstrap": (_TEXTS, "udp: some sites of the network, each key@host:port."),
    "cache": (_TEXT, "udp: file that remembers peers."),
    "url": (_TEXT, "cloud: s3://bucket/prefix, or sftp://host/folder."),
    "seen": (_TEXT, "cloud: file that remembers what was read."),
    "secret_file": _SECRET,
    "clear": _CLEAR,
    "servers": (_TEXTS, "nats: addresses of the servers."),
    "domain": (_TEXT, "nats: the network's name, as the operator has set up its stream."),
    "by_study": (_FLAG, "nats: read the subjects of the studies only."),
    "proxy": (_TEXT, "nats: an HTTP proxy."),
    "jetstream_domain": (_TEXT, "nats: the server's JetStream domain."),
    "ca": (_TEXT, "nats: certificates of who may sign the server's."),
    "certificate": (_TEXT, "nats: this site's certificate."),
    "key": (_TEXT, "nats: the key of that certificate."),
    "credentials": (_TEXT, "nats: a file of credentials."),
}
_DISCLOSURE: Final[dict[str, Key]] = {
    "preset": ({"enum": sorted(PRESETS)}, "The rules of what may leave; default: cms."),
    "allow_unkeyed": (_FLAG, "True: fingerprints without a secret may leave the machine."),
}
_FILES: Final[dict[str, Key]] = {
    **{name: (_TEXT, f"Default: {default}.") for name, default in FILES.items()},
    "heads": (_TEXT, "Where the audit log's newest head is appended to, best elsewhere."),
    "health": (_TEXT, "A Unix socket on which the open site says how it is: `site health`."),
}
_LOOP: Final[dict[str, Key]] = {
    "approval": ({"enum": sorted(APPROVALS)}, "manual (default): what is published waits."),
    "lifetime_days": (
        {"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME_S // 86_400},
        "How long packets are valid; default: 30.",
    ),
    "republish": (_FLAG, "Publish syntheses as derived packets."),
    "monitor": (_FLAG, "A monitoring role, which an embargo does not bind."),
    "debounce_s": ({**_NUMBER, "minimum": 0}, "Least seconds between two syntheses."),
    "model": ({"enum": ["fixed", "random"]}, "Of studies that declare none."),
}


def site_schema() -> dict[str, Any]:
    """The schema of ``site.toml``, as plain values.

    Examples
    --------
    >>> from qis.site import site_schema
    >>> site_schema()["properties"]["identity"]["required"]
    ['file']

    """
    tables = {
        "identity": _table(_IDENTITY, "file"),
        "roster": _table(_ROSTER),
        "scheme": _table({"kind": _kind(parts.SCHEME_KINDS), **_SCHEME}, "kind"),
        "interest": _table(_INTEREST, "features"),
        "transport": _table({"kind": _kind(parts.TRANSPORT_KINDS), **_TRANSPORT}, "kind"),
        "disclosure": _table(_DISCLOSURE),
        "files": _table(_FILES),
        "loop": _table({name: _LOOP[name] for name in LOOP_KEYS}),
    }
    known = {"studies": {**_TEXTS, "description": "Files of the studies."}, **tables}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A site of qis",
        "type": "object",
        "properties": {name: known[name] for name in TABLES},
        "required": ["identity", "roster", "scheme", "interest", "transport"],
        "additionalProperties": False,
    }


def _kind(kinds: tuple[str, ...]) -> Key:
    return {"enum": list(kinds)}, "Which one; it decides which other keys there are."


def _table(keys: dict[str, Key], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {**kind, "description": said} for name, (kind, said) in keys.items()},
        "required": list(required),
        "additionalProperties": False,
    }

"""Outcome routing: signed 512-byte outcomes, peer to peer, by similarity, synthesised locally."""

import logging
from typing import TYPE_CHECKING, Any

from qis._layout import PACKET_SIZE
from qis.about import Fingerprint, Interest
from qis.errors import (
    ClockError,
    ConfigurationError,
    DisclosureError,
    EmbargoError,
    ExpiredError,
    IncompatibleEvidenceError,
    InputError,
    KeyFileError,
    MalformedPacketError,
    MissingExtraError,
    NoEstimateError,
    NotYetValidError,
    OutcomeTooLargeError,
    PacketSizeError,
    PeerError,
    QISError,
    RoutingKeysError,
    SchemeMismatchError,
    SequenceAheadError,
    SignatureError,
    StorageDamagedError,
    StorageError,
    TransportError,
    UntrustedIssuerError,
)
from qis.health import Health, HealthState
from qis.identity import Identity, Issuer
from qis.outcomes import Effect, Study
from qis.packet import Packet

if TYPE_CHECKING:
    from qis.disclosure import Disclosure
    from qis.evidence import (
        Admission,
        AuditLog,
        MemoryStore,
        Roster,
        RosterFile,
        Site,
        SiteKey,
        SQLiteStore,
        sign_roster,
    )
    from qis.fingerprint import (
        FingerprintIndex,
        Ontology,
        SetScheme,
        TermScheme,
        VectorScheme,
    )
    from qis.loop import DryRun, Event, LoopStatistics, Outbox, Pending, SynthesisLoop
    from qis.outcomes import (
        Anchor,
        Counts,
        Derived,
        LikelihoodProfile,
        Moments,
        QuadraticLikelihood,
        Record,
        Retraction,
        Suppressed,
    )
    from qis.packet.columns import packets_to_frame
    from qis.packet.file import read_packets, write_packets
    from qis.site import open_site
    from qis.synthesis import (
        Pooled,
        Posterior,
        Synthesis,
        bayes,
        combine_quadratics,
        inverse_variance,
        next_anchor,
        pool_profiles,
        shrink,
        synthesise,
    )
    from qis.transport import (
        Delivery,
        DirectoryTransport,
        Holding,
        MemoryNetwork,
        MemoryTransport,
        Transport,
        UDPTransport,
    )

__all__ = [
    "PACKET_SIZE",
    "Admission",
    "Anchor",
    "AuditLog",
    "ClockError",
    "ConfigurationError",
    "Counts",
    "Delivery",
    "Derived",
    "DirectoryTransport",
    "Disclosure",
    "DisclosureError",
    "DryRun",
    "Effect",
    "EmbargoError",
    "Event",
    "ExpiredError",
    "Fingerprint",
    "FingerprintIndex",
    "Health",
    "HealthState",
    "Holding",
    "Identity",
    "IncompatibleEvidenceError",
    "InputError",
    "Interest",
    "Issuer",
    "KeyFileError",
    "LikelihoodProfile",
    "LoopStatistics",
    "MalformedPacketError",
    "MemoryNetwork",
    "MemoryStore",
    "MemoryTransport",
    "MissingExtraError",
    "Moments",
    "NoEstimateError",
    "NotYetValidError",
    "Ontology",
    "Outbox",
    "OutcomeTooLargeError",
    "Packet",
    "PacketSizeError",
    "PeerError",
    "Pending",
    "Pooled",
    "Posterior",
    "QISError",
    "QuadraticLikelihood",
    "Record",
    "Retraction",
    "Roster",
    "RosterFile",
    "RoutingKeysError",
    "SQLiteStore",
    "SchemeMismatchError",
    "SequenceAheadError",
    "SetScheme",
    "SignatureError",
    "Site",
    "SiteKey",
    "StorageDamagedError",
    "StorageError",
    "Study",
    "Suppressed",
    "Synthesis",
    "SynthesisLoop",
    "TermScheme",
    "Transport",
    "TransportError",
    "UDPTransport",
    "UntrustedIssuerError",
    "VectorScheme",
    "bayes",
    "combine_quadratics",
    "inverse_variance",
    "next_anchor",
    "open_site",
    "packets_to_frame",
    "pool_profiles",
    "read_packets",
    "shrink",
    "sign_roster",
    "synthesise",
    "write_packets",
]

logging.getLogger("qis").addHandler(logging.NullHandler())

_LAZY = {
    "Disclosure": "qis.disclosure",
    "DirectoryTransport": "qis.transport",
    "AuditLog": "qis.evidence",
    "SQLiteStore": "qis.evidence",
    "FingerprintIndex": "qis.fingerprint",
    "SetScheme": "qis.fingerprint",
    "Ontology": "qis.fingerprint",
    "TermScheme": "qis.fingerprint",
    "packets_to_frame": "qis.packet.columns",
    "read_packets": "qis.packet.file",
    "write_packets": "qis.packet.file",
    "Suppressed": "qis.outcomes",
    "Derived": "qis.outcomes",
    "Record": "qis.outcomes",
    "Moments": "qis.outcomes",
    "Anchor": "qis.outcomes",
    "QuadraticLikelihood": "qis.outcomes",
    "combine_quadratics": "qis.synthesis",
    "next_anchor": "qis.synthesis",
    "Counts": "qis.outcomes",
    "Retraction": "qis.outcomes",
    "SiteKey": "qis.evidence",
    "Site": "qis.evidence",
    "SynthesisLoop": "qis.loop",
    "Outbox": "qis.loop",
    "Pending": "qis.loop",
    "Event": "qis.loop",
    "DryRun": "qis.loop",
    "LoopStatistics": "qis.loop",
    "open_site": "qis.site",
    "synthesise": "qis.synthesis",
    "Synthesis": "qis.synthesis",
    "Admission": "qis.evidence",
    "Delivery": "qis.transport",
    "Holding": "qis.transport",
    "MemoryNetwork": "qis.transport",
    "MemoryStore": "qis.evidence",
    "MemoryTransport": "qis.transport",
    "Roster": "qis.evidence",
    "RosterFile": "qis.evidence",
    "sign_roster": "qis.evidence",
    "Transport": "qis.transport",
    "UDPTransport": "qis.transport",
    "VectorScheme": "qis.fingerprint",
    "LikelihoodProfile": "qis.outcomes",
    "Pooled": "qis.synthesis",
    "Posterior": "qis.synthesis",
    "bayes": "qis.synthesis",
    "inverse_variance": "qis.synthesis",
    "pool_profiles": "qis.synthesis",
    "shrink": "qis.synthesis",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

        try:
            return version("qis-protocol")
        except PackageNotFoundError:  # a checkout that is not installed
            return "unknown"
    # numpy, asyncio and sockets are loaded by those who use them (PEP 562).
    if name in _LAZY:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

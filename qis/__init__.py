"""Outcome routing: signed 512-byte outcomes, peer to peer, by similarity, synthesised locally."""

import logging
from typing import TYPE_CHECKING

from qis._layout import (
    PACKET_SIZE as PACKET_SIZE,
)
from qis._lazy import attach
from qis.about import (
    Fingerprint as Fingerprint,
    Interest as Interest,
)
from qis.errors import (
    AccountError as AccountError,
    ClockError as ClockError,
    ConfigurationError as ConfigurationError,
    DisclosureError as DisclosureError,
    EmbargoError as EmbargoError,
    ExpiredError as ExpiredError,
    IncompatibleEvidenceError as IncompatibleEvidenceError,
    InputError as InputError,
    KeyFileError as KeyFileError,
    MalformedPacketError as MalformedPacketError,
    MissingExtraError as MissingExtraError,
    NoEstimateError as NoEstimateError,
    NotYetValidError as NotYetValidError,
    OutcomeTooLargeError as OutcomeTooLargeError,
    PacketSizeError as PacketSizeError,
    PeerError as PeerError,
    QISError as QISError,
    RoutingKeysError as RoutingKeysError,
    SchemeMismatchError as SchemeMismatchError,
    SequenceAheadError as SequenceAheadError,
    SignatureError as SignatureError,
    StorageDamagedError as StorageDamagedError,
    StorageError as StorageError,
    TransportError as TransportError,
    UntrustedIssuerError as UntrustedIssuerError,
)
from qis.health import (
    Health as Health,
    HealthState as HealthState,
)
from qis.identity import (
    Identity as Identity,
    Issuer as Issuer,
)
from qis.outcomes import (
    Effect as Effect,
    Moderator as Moderator,
    Study as Study,
)
from qis.packet import (
    Packet as Packet,
)

if TYPE_CHECKING:
    from qis.account import (
        Account as Account,
    )
    from qis.disclosure import (
        Disclosure as Disclosure,
    )
    from qis.evidence import (
        Admission as Admission,
        AuditLog as AuditLog,
        MemoryStore as MemoryStore,
        Roster as Roster,
        RosterFile as RosterFile,
        Site as Site,
        SiteKey as SiteKey,
        SQLiteStore as SQLiteStore,
        sign_roster as sign_roster,
    )
    from qis.fingerprint import (
        Everything as Everything,
        FingerprintIndex as FingerprintIndex,
        LoadBudget as LoadBudget,
        NearestCells as NearestCells,
        Ontology as Ontology,
        SetScheme as SetScheme,
        TermScheme as TermScheme,
        VectorScheme as VectorScheme,
        build_cells as build_cells,
    )
    from qis.here.for_site import (
        for_site as for_site,
    )
    from qis.here.meta_regression import (
        meta_regression as meta_regression,
    )
    from qis.loop import (
        DryRun as DryRun,
        Event as Event,
        LoopStatistics as LoopStatistics,
        Outbox as Outbox,
        Pending as Pending,
        SynthesisLoop as SynthesisLoop,
    )
    from qis.models import (
        FittedModel as FittedModel,
        ModelRows as ModelRows,
        fit_model as fit_model,
    )
    from qis.outcomes import (
        Anchor as Anchor,
        Counts as Counts,
        Derived as Derived,
        LikelihoodProfile as LikelihoodProfile,
        Moments as Moments,
        QuadraticLikelihood as QuadraticLikelihood,
        Record as Record,
        Retraction as Retraction,
        Suppressed as Suppressed,
    )
    from qis.packet.columns import (
        packets_to_frame as packets_to_frame,
    )
    from qis.packet.file import (
        read_packets as read_packets,
        write_packets as write_packets,
    )
    from qis.site import (
        open_site as open_site,
    )
    from qis.synthesis import (
        Pooled as Pooled,
        Posterior as Posterior,
        Synthesis as Synthesis,
        bayes as bayes,
        combine_quadratics as combine_quadratics,
        inverse_variance as inverse_variance,
        next_anchor as next_anchor,
        pool_profiles as pool_profiles,
        shrink as shrink,
        synthesise as synthesise,
    )
    from qis.transport import (
        Delivery as Delivery,
        DirectoryTransport as DirectoryTransport,
        Holding as Holding,
        MemoryNetwork as MemoryNetwork,
        MemoryTransport as MemoryTransport,
        Transport as Transport,
        UDPTransport as UDPTransport,
    )

logging.getLogger("qis").addHandler(logging.NullHandler())

# numpy, asyncio and sockets are loaded by those who use them.
__all__, __dir__, __getattr__ = attach(
    globals(),
    {
        "qis._version": ("__version__",),
        "qis.account": ("Account",),
        "qis.disclosure": ("Disclosure",),
        "qis.evidence": (
            "Admission",
            "AuditLog",
            "MemoryStore",
            "Roster",
            "RosterFile",
            "SQLiteStore",
            "Site",
            "SiteKey",
            "sign_roster",
        ),
        "qis.fingerprint": (
            "Everything",
            "FingerprintIndex",
            "LoadBudget",
            "NearestCells",
            "Ontology",
            "SetScheme",
            "TermScheme",
            "VectorScheme",
            "build_cells",
        ),
        "qis.here.for_site": ("for_site",),
        "qis.here.meta_regression": ("meta_regression",),
        "qis.loop": (
            "DryRun",
            "Event",
            "LoopStatistics",
            "Outbox",
            "Pending",
            "SynthesisLoop",
        ),
        "qis.models": (
            "FittedModel",
            "ModelRows",
            "fit_model",
        ),
        "qis.outcomes": (
            "Anchor",
            "Counts",
            "Derived",
            "LikelihoodProfile",
            "Moments",
            "QuadraticLikelihood",
            "Record",
            "Retraction",
            "Suppressed",
        ),
        "qis.packet.columns": ("packets_to_frame",),
        "qis.packet.file": (
            "read_packets",
            "write_packets",
        ),
        "qis.site": ("open_site",),
        "qis.synthesis": (
            "Pooled",
            "Posterior",
            "Synthesis",
            "bayes",
            "combine_quadratics",
            "inverse_variance",
            "next_anchor",
            "pool_profiles",
            "shrink",
            "synthesise",
        ),
        "qis.transport": (
            "Delivery",
            "DirectoryTransport",
            "Holding",
            "MemoryNetwork",
            "MemoryTransport",
            "Transport",
            "UDPTransport",
        ),
    },
)

"""For those who test code built on qis: a clock, conformance suites, hypothesis strategies.

The strategies need the extra `[test]`.
"""

from typing import TYPE_CHECKING

from qis._lazy import attach
from qis.testing.clock import (
    VirtualClock as VirtualClock,
)
from qis.testing.nats_server import (
    NATSServer as NATSServer,
)
from qis.testing.stores import (
    check_store as check_store,
)
from qis.testing.transports import (
    check_transport as check_transport,
)

if TYPE_CHECKING:
    from qis.testing.strategies import (
        anchors as anchors,
        counts as counts,
        derivations as derivations,
        effects as effects,
        fingerprints as fingerprints,
        identities as identities,
        moments as moments,
        mutations as mutations,
        outcomes as outcomes,
        packets as packets,
        profiles as profiles,
        quadratics as quadratics,
        questions as questions,
        records as records,
        retractions as retractions,
        routing_keys as routing_keys,
        suppressions as suppressions,
    )

# Strategies are loaded by those who use them, and have hypothesis.
__all__, __dir__, __getattr__ = attach(
    globals(),
    {
        "qis.testing.strategies": (
            "anchors",
            "counts",
            "derivations",
            "effects",
            "fingerprints",
            "identities",
            "moments",
            "mutations",
            "outcomes",
            "packets",
            "profiles",
            "quadratics",
            "questions",
            "records",
            "retractions",
            "routing_keys",
            "suppressions",
        )
    },
)

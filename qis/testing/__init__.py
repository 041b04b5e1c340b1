"""For those who test code built on qis: hypothesis strategies, a clock, conformance suites.

Needs the extra `[test]`.
"""

from qis.testing.clock import VirtualClock
from qis.testing.stores import check_store
from qis.testing.strategies import (
    anchors,
    counts,
    derivations,
    effects,
    fingerprints,
    identities,
    moments,
    mutations,
    outcomes,
    packets,
    profiles,
    quadratics,
    questions,
    records,
    retractions,
    routing_keys,
    suppressions,
)
from qis.testing.transports import check_transport

__all__ = [
    "VirtualClock",
    "anchors",
    "check_store",
    "check_transport",
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
]

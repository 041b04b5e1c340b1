"""For those who test code built on qis: hypothesis strategies, a clock, conformance suites.

Needs the extra `[test]`.
"""

from qis.testing.clock import VirtualClock
from qis.testing.strategies import (
    anchors,
    counts,
    effects,
    fingerprints,
    identities,
    mutations,
    outcomes,
    packets,
    profiles,
    quadratics,
    questions,
    retractions,
    routing_keys,
)
from qis.testing.transports import check_transport

__all__ = [
    "VirtualClock",
    "anchors",
    "check_transport",
    "counts",
    "effects",
    "fingerprints",
    "identities",
    "mutations",
    "outcomes",
    "packets",
    "profiles",
    "quadratics",
    "questions",
    "retractions",
    "routing_keys",
]

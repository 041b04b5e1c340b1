"""For those who test code built on qis: a clock, conformance suites, hypothesis strategies.

The strategies need the extra `[test]`.
"""

from typing import TYPE_CHECKING, Any

from qis.errors import MissingExtraError
from qis.testing.clock import VirtualClock
from qis.testing.stores import check_store
from qis.testing.transports import check_transport

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # The strategies are loaded by those who use them, and have hypothesis (PEP 562).
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from qis.testing import strategies  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'qis.testing.{name} needs hypothesis: pip install "qis-protocol[test]"'
        ) from error
    return getattr(strategies, name)

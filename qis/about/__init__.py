"""What a packet is about: the values that packets, schemes and transports share.

They live below all of these, so that packets know no scheme and transports compute no sketch.
"""

from qis.about.epochs import (
    EDGE_S,
    EPOCH_S,
    epoch_at,
    epochs_read_at,
    epochs_signed_at,
    last_expiry,
    next_change,
)
from qis.about.fingerprint import (
    SCHEME_ID_SIZE,
    SKETCH_SIZE,
    Fingerprint,
    OfScheme,
    bit_agreement,
    carried_fingerprint,
    require_same_scheme,
)
from qis.about.interest import Interest
from qis.about.nearness import Near, differing_fields
from qis.about.routing_keys import (
    MAX_INTEREST_KEYS,
    MAX_ROUTING_KEYS,
    ROUTING_KEY_SIZE,
    canonical_routing_keys,
    checked_commitment,
    routing_commitment,
)

__all__ = [
    "EDGE_S",
    "EPOCH_S",
    "MAX_INTEREST_KEYS",
    "MAX_ROUTING_KEYS",
    "ROUTING_KEY_SIZE",
    "SCHEME_ID_SIZE",
    "SKETCH_SIZE",
    "Fingerprint",
    "Interest",
    "Near",
    "OfScheme",
    "bit_agreement",
    "canonical_routing_keys",
    "carried_fingerprint",
    "checked_commitment",
    "differing_fields",
    "epoch_at",
    "epochs_read_at",
    "epochs_signed_at",
    "last_expiry",
    "next_change",
    "require_same_scheme",
    "routing_commitment",
]

"""The identifier space: where nodes and routing keys are, and how far apart.

Nodes and routing keys share one space of 256 bits with the XOR metric (Maymounkov & Mazières,
Kademlia, IPTPS 2002). A node's id follows from its key, so nobody chooses it freely; without a
roster, keys can be ground until one lands where it is wanted (some 20 µs a try). Where a roster has
random bytes for each key, drawn when it was enrolled, an id follows from these too: whoever makes a
key cannot tell where it will lie, and no id moves when others are enrolled.
"""

from typing import Final

from blake3 import blake3

ID_BITS: Final = 256
_NODE = b"qis node 1\x00"
_RENDEZVOUS = b"qis rendezvous 1\x00"


def node_id(key: bytes, salt: bytes = b"") -> int:
    """The id of the node whose 32-byte public key this is, in [0, 2²⁵⁶)."""
    return int.from_bytes(blake3(_NODE + key + salt).digest())


def rendezvous_id(routing_key: bytes, salt: bytes = b"") -> int:
    """The id that a routing key's holders are closest to, in [0, 2²⁵⁶)."""
    return int.from_bytes(blake3(_RENDEZVOUS + routing_key + salt).digest())

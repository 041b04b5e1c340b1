"""A packet together with its routing keys, as files and brokers carry it: the one codec for both.

The 512 bytes of the packet, then each routing key, 8 bytes; the study's id is among them.
"""

from collections.abc import Iterable
from typing import Final

from qis._layout import PACKET_SIZE
from qis.about import MAX_ROUTING_KEYS, ROUTING_KEY_SIZE
from qis.packet import Packet
from qis.transport.base import require_signed_keys

LARGEST: Final = PACKET_SIZE + MAX_ROUTING_KEYS * ROUTING_KEY_SIZE
"""Most bytes of a packet with its routing keys."""


def encode_carried(packet: Packet, routing_keys: Iterable[bytes]) -> bytes:
    """Join a packet and its routing keys.

    Raises
    ------
    InputError
        If the packet was signed for other routing keys, or is no `Packet`.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.transport import decode_carried, encode_carried
    >>> data, keys = decode_carried(encode_carried(packet, []))
    >>> data == bytes(packet), keys == (packet.outcome.study_id,)
    (True, True)

    """
    return bytes(packet) + b"".join(require_signed_keys(packet, routing_keys))


def decode_carried(data: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Split what `encode_carried` has joined: 512 bytes, not verified, and the routing keys.

    `None` if it is too short, too long, or ends within a key. Whether it is a packet, and was
    signed for these keys, is for `Reception` to say.

    Examples
    --------
    >>> from qis.transport import decode_carried
    >>> decode_carried(b"too short") is None
    True

    """
    rest = data[PACKET_SIZE:]
    if not PACKET_SIZE <= len(data) <= LARGEST or len(rest) % ROUTING_KEY_SIZE:
        return None
    keys = [rest[at : at + ROUTING_KEY_SIZE] for at in range(0, len(rest), ROUTING_KEY_SIZE)]
    return data[:PACKET_SIZE], tuple(keys)

"""Routing keys: how many there may be, in which order, and the commitment that a packet signs."""

from collections.abc import Iterable
from functools import lru_cache

from blake3 import blake3

from qis._given import iterable, several
from qis.about.fingerprint import check_size
from qis.errors import InputError

ROUTING_KEY_SIZE = 8
COMMITMENTS_REMEMBERED = 1_024
"""Lists of routing keys whose commitment is remembered: all that a site says of a topic has one."""
MAX_ROUTING_KEYS = 48
"""Most routing keys of one packet: 42 bands of 6 bits, and its study."""
MAX_INTEREST_KEYS = 2 * MAX_ROUTING_KEYS
"""Most routing keys and studies of one interest: the keys of two epochs."""


def canonical_routing_keys(
    keys: Iterable[bytes], most: int = MAX_ROUTING_KEYS
) -> tuple[bytes, ...]:
    """The distinct routing keys, sorted.

    Raises
    ------
    InputError
        If a key is not 8 bytes, or there are more than `most`.

    """
    given = several(keys, "routing_keys", "keys of 8 bytes")
    for key in given:
        check_size(key, "routing_keys", ROUTING_KEY_SIZE)
    distinct = set(given)
    if len(distinct) > most:
        raise InputError(
            f"{len(distinct)} routing keys; at most {most} of a packet fit a datagram: use a "
            "scheme with fewer bands or keys"
            if most == MAX_ROUTING_KEYS
            else f"{len(distinct)} routing keys and studies; at most {most} of one interest: "
            "use a scheme with fewer bands or keys, or several interests",
            field="routing_keys",
            actual=len(distinct),
            limit=most,
        )
    return tuple(sorted(distinct))


def routing_commitment(keys: Iterable[bytes]) -> bytes:
    """First 8 bytes of BLAKE3 over the sorted, distinct routing keys, whatever they are."""
    return _commitment(tuple(keys))


@lru_cache(maxsize=COMMITMENTS_REMEMBERED)
def _commitment(keys: tuple[bytes, ...]) -> bytes:
    return blake3(b"".join(sorted(set(keys)))).digest(8)


def checked_commitment(keys: Iterable[bytes]) -> bytes:
    """Check routing keys as `canonical_routing_keys` does, and return their commitment (8 bytes).

    Every signature needs it, so that of a list of keys is remembered.
    """
    keys = keys if type(keys) is tuple else tuple(iterable(keys, "routing_keys", "keys"))
    try:
        return _checked_commitment(keys)
    except TypeError:  # what has no hash is no key
        return _commitment(canonical_routing_keys(keys))


@lru_cache(maxsize=COMMITMENTS_REMEMBERED)
def _checked_commitment(keys: tuple[bytes, ...]) -> bytes:
    return _commitment(canonical_routing_keys(keys))

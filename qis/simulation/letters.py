"""Simulated packets: 512 bytes with what routing reads at its real offset, and no outcome."""

from functools import lru_cache

from blake3 import blake3

from qis._layout import BODY_START, ISSUER, PACKET_SIZE, SCHEME_ID, SEQUENCE, SKETCH
from qis.about import ROUTING_KEY_SIZE, Fingerprint
from qis.overlay.message_store import Carried

LIFETIME_S = 86_400.0
"""How long a simulated packet lives."""
_STUDY = slice(BODY_START, BODY_START + ROUTING_KEY_SIZE)


def write(issuer: bytes, number: int, fingerprint: Fingerprint | None, study: bytes) -> bytes:
    """The bytes of an issuer's packet; `study` is 8 bytes or empty."""
    letter = bytearray(PACKET_SIZE)
    letter[ISSUER] = issuer
    letter[SEQUENCE] = number.to_bytes(8)
    letter[_STUDY] = study.ljust(ROUTING_KEY_SIZE, b"\x00")
    if fingerprint is not None:
        letter[SKETCH] = fingerprint.sketch
        letter[SCHEME_ID] = fingerprint.scheme_id
    return bytes(letter)


@lru_cache(maxsize=1_024)
def fingerprint_of(letter: bytes) -> Fingerprint | None:
    """What it is about, if its publisher said."""
    if not any(letter[SCHEME_ID]):
        return None
    return Fingerprint(letter[SKETCH], letter[SCHEME_ID])


def study_of(letter: bytes) -> bytes:
    """The id of its study; zeros if there is none."""
    return letter[_STUDY]


def carried(letter: bytes, keys: tuple[bytes, ...], now: float) -> Carried:
    """The packet with the keys that it travels under, as a holder keeps it."""
    return Carried(
        id=blake3(letter).digest(),
        issuer=letter[ISSUER],
        expires_at=now + LIFETIME_S,
        keys=keys,
        packet=letter,
        scheme_id=letter[SCHEME_ID],
        sketch=letter[SKETCH],
    )

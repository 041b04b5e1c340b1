"""Writes signatures.json: packets on whose signatures verifiers of Ed25519 disagree; then frozen.

Most of them satisfy S B = R + h A, so that only a rule of docs/packet-format.md decides. A later
libsodium that judged one of them otherwise would split a network: the tests would say so.
"""

import hashlib
import json
from pathlib import Path

from nacl import bindings

from qis import _layout

HERE = Path(__file__).parent
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
IDENTITY = bytes([1]) + bytes(31)
SIGN = 1 << 255
SECRET, NONCE = (
    int.from_bytes(hashlib.sha256(name).digest(), "little") % ORDER for name in (b"a", b"b")
)


def small(order_8_times):
    """A multiple of a point of order 8."""
    point = IDENTITY
    for _ in range(order_8_times % 8):
        point = bindings.crypto_core_ed25519_add(point, ORDER_8)
    return point


def mixed(scalar, order_8_times):
    """A multiple of the base point, and one of a point of order 8."""
    if scalar == 0:
        return small(order_8_times)
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
    return bindings.crypto_core_ed25519_add(point, small(order_8_times))


def signed(  # noqa: PLR0917  what the equation is made of
    template, key, nonce_point, secret, nonce, torsion, *, holds=True, extra=0
):
    """The template under this key, its sketch such that the equation holds, or does not."""
    of_key, of_nonce = torsion
    for first in range(256):
        content = template[:10] + key + template[42:68] + bytes([first]) + template[69:446]
        digest = hashlib.sha512(nonce_point + key + _layout.signed_bytes(content)).digest()
        challenge = int.from_bytes(digest, "little") % ORDER
        if ((of_nonce + challenge * of_key) % 8 == 0) == holds:
            s = (nonce + challenge * secret) % ORDER + extra
            return content + b"\x58\x40" + nonce_point + s.to_bytes(32, "little")
    raise ValueError("no sketch will do")


def other_form(point):
    """The same point with y + p for y, or a sign for x = 0."""
    written = int.from_bytes(point, "little")
    y = written % SIGN
    if y < 19:
        yield "y + p", (written + PRIME).to_bytes(32, "little")
    if y in (1, PRIME - 1):
        yield "-0 for x", (written ^ SIGN).to_bytes(32, "little")
    if y == 1:
        yield "y + p and -0 for x", ((written + PRIME) ^ SIGN).to_bytes(32, "little")


def packets(template):
    """Name, whether it is valid, reason and bytes."""
    key, r = mixed(SECRET, 0), mixed(NONCE, 0)
    yield "an ordinary one", True, "", signed(template, key, r, SECRET, NONCE, (0, 0))
    for times in (1, 2):
        data = signed(template, key, r, SECRET, NONCE, (0, 0), extra=times * ORDER)
        yield f"S + {times} L", False, "S is not below L", data
    for part in range(1, 8):
        named = f"key with {part} times a point of order 8"
        of_key = mixed(SECRET, part)
        data = signed(template, of_key, r, SECRET, NONCE, (part, 0))
        yield named, True, "the equation holds", data
        data = signed(template, of_key, r, SECRET, NONCE, (part, 0), holds=False)
        yield f"{named}, 8 times", False, "the equation holds only multiplied by 8", data
    data = signed(template, key, mixed(NONCE, 1), SECRET, NONCE, (0, 1), holds=False)
    yield "R with a part of order 8", False, "the equation holds only multiplied by 8", data
    for part in range(8):
        point = small(part)
        for form, bytes_ in [("", point), *other_form(point)]:
            data = signed(template, bytes_, r, 0, NONCE, (part, 0))
            named = f"key {part} times a point of order 8{form and f', {form}'}"
            yield named, False, "a key of small order", data
        of_key = mixed(SECRET, 1 if part % 2 else part)
        torsion = (1 if part % 2 else part, part)
        data = signed(template, of_key, point, SECRET, 0, torsion)
        yield f"R {part} times a point of order 8", False, "an R of small order", data


def main():
    vectors = json.loads((HERE / "packets.json").read_text(encoding="utf-8"))
    template = bytes.fromhex(vectors[0]["packet"])
    made = [
        {"name": name, "valid": valid, "reason": reason, "packet": data.hex()}
        for name, valid, reason, data in packets(template)
    ]
    text = json.dumps(made, indent=1) + "\n"
    (HERE / "signatures.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

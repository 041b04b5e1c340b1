"""python-cwt verifies our packets, and makes packets of the same content."""

import base64
import json
import sys

from cwt import COSE, COSEKey
from cwt.exceptions import CWTError


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verified(packet: bytes, key: object) -> bool:
    try:
        COSE.new().decode(packet, key)
    except (CWTError, ValueError, TypeError, KeyError):
        return False
    return True


def main() -> None:
    asked = json.load(sys.stdin)
    issuer, seed = bytes.fromhex(asked["issuer"]), bytes.fromhex(asked["seed"])
    jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": unpadded(issuer)}
    # python-cwt finds the key by its identifier, which in a packet is the public key itself.
    jwk["kid"] = issuer
    public, private = COSEKey.from_jwk(jwk), COSEKey.from_jwk({**jwk, "d": unpadded(seed)})
    made = []
    for payload in asked["payloads"]:
        message = COSE.new().encode_and_sign(
            bytes.fromhex(payload), private, protected={1: -8, 4: issuer}, unprotected={}
        )
        made.append(message.hex())
    answers = {
        "verified": [verified(bytes.fromhex(packet), public) for packet in asked["packets"]],
        "tampered": [verified(bytes.fromhex(packet), public) for packet in asked["tampered"]],
        "made": made,
    }
    json.dump(answers, sys.stdout)


main()

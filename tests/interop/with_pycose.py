"""pycose verifies our packets, and makes packets of the same content."""

import json
import sys

from pycose.algorithms import EdDSA
from pycose.exceptions import CoseException
from pycose.headers import KID, Algorithm
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import CoseMessage, Sign1Message


def verified(packet: bytes, key: OKPKey) -> bool:
    try:
        message = CoseMessage.decode(packet)
        message.key = key
        return bool(message.verify_signature())
    except (CoseException, ValueError, TypeError, AttributeError):
        return False


def main() -> None:
    asked = json.load(sys.stdin)
    issuer, seed = bytes.fromhex(asked["issuer"]), bytes.fromhex(asked["seed"])
    public = OKPKey(crv=Ed25519, x=issuer)
    private = OKPKey(crv=Ed25519, x=issuer, d=seed)
    made = []
    for payload in asked["payloads"]:
        headers = {Algorithm: EdDSA, KID: issuer}
        message = Sign1Message(phdr=headers, uhdr={}, payload=bytes.fromhex(payload))
        message.key = private
        made.append(message.encode().hex())
    answers = {
        "verified": [verified(bytes.fromhex(packet), public) for packet in asked["packets"]],
        "tampered": [verified(bytes.fromhex(packet), public) for packet in asked["tampered"]],
        "made": made,
    }
    json.dump(answers, sys.stdout)


main()

"""Cost of packets as ratios to raw libsodium, interleaved in one run.

``python benchmarks/packet.py [--json]``. `sign_ratio`: from outcome and fingerprint to bytes, to
raw `crypto_sign` of 456 bytes; `sign_24_keys_ratio`: with the commitment to 24 routing keys.
`parse_ratio`: verification, strict decoding and id, to raw `crypto_sign_open`.
`reject_prefix_ratio`: the dearest of refusing a wrong prefix, a wrong length or an expired packet.
`verify_many_speedup`: 4,096 packets over all processors against one after another.
"""

import argparse
import json
import os
import platform
from pathlib import Path

from _ratio import median_seconds
from nacl import bindings

import qis
from qis import _layout
from qis.errors import PeerError

NOW = 1_800_000_000
SEED = bytes(range(32))


def signed(number: int) -> qis.Packet:
    """A packet of an ordinary site."""
    effect = qis.Effect(
        question="interferon gamma vs placebo | infection",
        measure="OR",
        estimate=-0.3,
        standard_error=0.1,
        n=120,
    )
    return qis.Packet.sign(
        qis.Identity.from_seed(SEED),
        outcome=effect,
        fingerprint=qis.Fingerprint(bytes(32), b"scheme-1"),
        issued_at=NOW + number,
        lifetime_s=86_400,
    )


def refused(data: bytes, now: float | None = None) -> None:
    """Parse what cannot be parsed."""
    try:
        qis.Packet.parse(data, now=now)
    except PeerError:
        return
    raise AssertionError("a bad packet was read")


def single() -> dict[str, float]:
    """Ratios of one packet at a time."""
    identity = qis.Identity.from_seed(SEED)
    effect = signed(0).outcome
    fingerprint = signed(0).fingerprint
    keys = [bytes([n]) * 8 for n in range(24)]
    public, secret = bindings.crypto_sign_seed_keypair(SEED)
    raw = bytes(signed(0))
    message = _layout.signed_bytes(raw)
    both = bindings.crypto_sign(message, secret)
    wrong = b"\0" + raw[1:]
    seconds = median_seconds(
        {
            "crypto_sign": lambda: bindings.crypto_sign(message, secret),
            "sign": lambda: qis.Packet.sign(
                identity,
                outcome=effect,
                fingerprint=fingerprint,
                issued_at=NOW,
                lifetime_s=86_400,
            ),
            "sign 24 keys": lambda: qis.Packet.sign(
                identity,
                outcome=effect,
                fingerprint=fingerprint,
                issued_at=NOW,
                lifetime_s=86_400,
                routing_keys=keys,
            ),
            "crypto_sign_open": lambda: bindings.crypto_sign_open(both, public),
            "parse": lambda: qis.Packet.parse(raw).id,
            "wrong prefix": lambda: refused(wrong),
            "wrong length": lambda: refused(raw[:-1]),
            "expired": lambda: refused(raw, now=NOW + 90_000),
        },
        calls=100,
        rounds=41,
    )
    refusals = (seconds[name] for name in ("wrong prefix", "wrong length", "expired"))
    return {
        "sign_ratio": seconds["sign"] / seconds["crypto_sign"],
        "sign_24_keys_ratio": seconds["sign 24 keys"] / seconds["crypto_sign"],
        "parse_ratio": seconds["parse"] / seconds["crypto_sign_open"],
        "reject_prefix_ratio": max(refusals) / seconds["crypto_sign_open"],
    }


def many() -> float:
    """How much faster all processors are than one."""
    buffers = [bytes(signed(number)) for number in range(4096)]
    seconds = median_seconds(
        {
            "one": lambda: qis.Packet.verify_many(buffers, workers=1),
            "all": lambda: qis.Packet.verify_many(buffers),
        },
        calls=1,
        rounds=7,
    )
    return seconds["one"] / seconds["all"]


def processor() -> str:
    """The processor's name, where the system tells it: ratios differ between them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} processors")
    results = {**single(), "verify_many_speedup": many()}
    if options.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name:24}{value:8.3f}")


if __name__ == "__main__":
    main()

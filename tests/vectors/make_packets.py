"""Writes packets.json: made once, then frozen. Run it only to add vectors, never to change them."""

import json
import math
from pathlib import Path

import qis
from qis import _layout
from qis.outcomes import (
    Anchor,
    Derived,
    Moments,
    QuadraticLikelihood,
    Record,
    Suppressed,
    UnknownOutcome,
)

NOW = 1_800_000_000
SEED = bytes(range(32))
SITE = qis.Identity.from_seed(SEED)
FINGERPRINT = qis.Fingerprint(bytes(range(100, 132)), b"scheme-1")
KEYS = [bytes([n]) * 8 for n in (3, 1, 2)]
Q = {"question": "a vs b | death"}

VALID = {
    "effect": qis.Effect(**Q, measure="OR", estimate=-0.3125, standard_error=0.125, n=212),
    "effect without n, in a cohort": qis.Effect(
        question="Wirkung | Tod nach 30 Tagen",
        cohort="Süd",
        measure="MD",
        estimate=3.5,
        standard_error=0.5,
    ),
    "counts": qis.Counts(**Q, events=3, total=20, control_events=5, control_total=22),
    "counts with person-time": qis.Counts(
        **Q,
        events=12,
        total=100,
        control_events=7,
        control_total=90,
        person_time=250.0,
        control_person_time=200.5,
    ),
    "moments": Moments(
        **Q, total=3, mean=2.0, ss=2.0, control_total=2, control_mean=1.5, control_ss=0.5
    ),
    "profile with a maximum": qis.LikelihoodProfile.from_function(
        **Q, measure="HR", log_likelihood=lambda x: -2.0 * (x - 0.25) ** 2, n=19, events=6
    ),
    "profile that rises for ever": qis.LikelihoodProfile.from_function(
        **Q, measure="OR", log_likelihood=lambda x: -3.0 * math.log1p(math.exp(x)), n=11
    ),
    "quadratic": QuadraticLikelihood.from_terms(
        question="age | death",
        model="logistic",
        score=[1.5, -0.25],
        information=[[4.0, 1.0], [1.0, 2.0]],
        anchor=[0.0, 0.0],
        n=40,
        events=11,
    ),
    "quadratic with its log-likelihood": QuadraticLikelihood.from_terms(
        question="age | death",
        cohort="north",
        model="poisson",
        score=[1.5, -0.25],
        information=[[4.0, 1.0], [1.0, 2.0]],
        anchor=[0.5, 0.0],
        n=40,
        events=11,
        log_likelihood=-27.625,
    ),
    "record": Record(**Q, content={"b": [1, 2.5, None], "a": {"x": True, "long": "é"}}),
    "anchor": Anchor(question="age | death", model="logistic", coefficients=(0.5, -1.25)),
    "retraction": qis.Retraction(**Q, reason="error"),
    "suppressed": Suppressed(**Q, cohort="north"),
    "profile of rounded counts": qis.LikelihoodProfile.from_function(
        **Q,
        measure="OR",
        log_likelihood=lambda x: -1.5 * (x + 0.5) ** 2,
        n=120,
        events=30,
        protection="rounded to 5",
    ),
    "joiners where Hindi and Persian need them": Suppressed(
        question="\u0915\u094d\u200d\u0937 | \u0645\u06cc\u200c\u0634\u0648\u062f",
        cohort="\u0645\u064e\u200c\u0627",
    ),
    "joiners where Bengali and Assamese need them": Suppressed(
        question="\u09b0\u200d\u09cd\u09af\u09be | \u09f0\u200d\u09cd\u09af\u09be\u09b2\u09c0",
        cohort="\u0995\u09b0\u200d\u09cd\u09af",
    ),
    "retraction of a derived packet": qis.Retraction(**Q, reason="superseded", role="derived"),
}
VALID["a kind to come"] = UnknownOutcome(
    **Q, cohort="north", kind=11, entries=((4, 40), (6, bytes(range(40))), (7, (1, -2, "é")))
)
DERIVED = Derived(
    **Q, measure="OR", model="random", estimate=-0.25, standard_error=0.1, tau2=0.04, sites=3
)


def sign(outcome, **changes):
    arguments = {
        "issued_at": NOW,
        "lifetime_s": 30 * 86_400,
        "sequence": NOW * 10**6 + 7,
        "routing_keys": KEYS,
        **changes,
    }
    return qis.Packet.sign(SITE, outcome=outcome, fingerprint=FINGERPRINT, **arguments)


def resigned(content):
    return content + b"\x58\x40" + SITE.sign(_layout.signed_bytes(content))


def invalid():
    """Name, bytes, error class and reason of packets that must be refused."""
    good = bytes(sign(VALID["effect"]))
    content = good[:446]
    yield "too short", good[:-1], "PacketSizeError", "511 bytes"
    yield "another tag", b"\xd1" + good[1:], "MalformedPacketError", "tag 17 is no COSE_Sign1"
    yield "one bit of the sketch", flipped(good, 70), "SignatureError", "the content was changed"
    yield "one bit of S", flipped(good, 500), "SignatureError", "the signature was changed"
    expired = resigned(content[:55] + (NOW + 40 * 86_400).to_bytes(4, "big") + content[59:])
    yield "ends before it begins", expired, "MalformedPacketError", "exp is before iat"
    kind = resigned(content[:111] + b"\x00" + content[112:])
    yield "no kind", kind, "MalformedPacketError", "kind 0 does not exist"
    text = resigned(content[:111] + b"\x18" + content[112:])
    yield "no kind either", text, "MalformedPacketError", "24 takes two bytes"
    padded = resigned(content[:-1] + b"\x01")
    yield "padding that is not zero", padded, "MalformedPacketError", "a second encoding"
    at = content.index(b"\x18\xd4")
    wide = content[:at] + b"\x19\x00\xd4" + content[at + 2 :]
    wide = wide[:-1]  # the padding's zeros are one fewer, its head still says otherwise
    yield "a number in a longer form", resigned(wide), "MalformedPacketError", "n is not minimal"
    for name, cohort in TEXTS.items():
        start = bytes(sign(Suppressed(**Q, cohort="x" * len(cohort.encode()))))[:446]
        text = start.replace(b"x" * len(cohort.encode()), cohort.encode())
        yield f"a cohort with {name}", resigned(text), "MalformedPacketError", "see Text"


TEXTS = {
    "a zero width space": "a\u200bb",
    "a soft hyphen": "a\u00adb",
    "a variation selector": "a\ufe0f",
    "a Hangul filler": "a\u3164",
    "a blank Braille pattern": "a\u2800",
    "a right-to-left override": "a\u202eb",
    "a tag": "a\U000e0061",
    "a no-break space": "a\u00a0b",
    "an ideographic space": "a\u3000b",
    "two spaces": "a  b",
    "a space at its end": "ab ",
    "a file separator": "a\u001cb",
    "a character of Unicode 15": "a\U0001fae8",
    "a character of Unicode 16": "\U000105c9",
    "a letter that is not in NFC": "e\u0301",
    "a joiner between Latin letters": "a\u200db",
    "a non-joiner after a letter that does not join": "\u062f\u200c\u0627",
    "a joiner between Arabic letters": "\u0645\u200d\u0634",
    "a non-joiner at its end": "\u0645\u200c",
    "a joiner before a virama after another letter than ra": "\u0995\u200d\u09cd\u09af",
    "a joiner before a virama and another letter than ya": "\u09b0\u200d\u09cd\u0995",
    "a joiner after a ra within a conjunct": "\u0995\u09cd\u09b0\u200d\u09cd\u09af",
    "a joiner before another script": "\u0915\u094d\u200d\u0995",
}


def flipped(data, offset):
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def described(name, packet):
    return {
        "name": name,
        "valid": True,
        "seed": SEED.hex(),
        "issued_at": packet.issued_at,
        "expires_at": packet.expires_at,
        "sequence": str(packet.sequence),
        "sketch": packet.fingerprint.sketch.hex(),
        "scheme_id": packet.fingerprint.scheme_id.hex(),
        "routing_keys": sorted(key.hex() for key in (*KEYS, packet.outcome.study_id)),
        "kind": packet.outcome.kind,
        "body": packet.outcome.encoded().hex(),
        "leaves": [leaf.hex() for leaf in packet.leaves],
        "id": packet.id.hex(),
        "packet": bytes(packet).hex(),
    }


def main():
    vectors = [described(name, sign(outcome)) for name, outcome in VALID.items()]
    leaves = [sign(VALID["effect"]).leaf, bytes(range(12))]
    vectors.append(described("derived, with two leaves", sign(DERIVED, leaves=leaves)))
    for name, data, error, reason in invalid():
        vectors.append(
            {
                "name": name,
                "valid": False,
                "error": error,
                "reason": reason,
                "packet": data.hex(),
            }
        )
    path = Path(__file__).parent / "packets.json"
    path.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

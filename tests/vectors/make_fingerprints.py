"""Writes fingerprints.json: made once, then frozen. Run it only to add, never to change."""

import json
import math
from pathlib import Path

from qis.fingerprint import LoadBudget, Ontology, TermScheme, VectorScheme

SECRET = bytes(range(32))
# A toy ontology: 60 terms in a ternary tree with a few second parents.
PARENTS = {
    f"T:{n}": [f"T:{(n - 1) // 3}", *([f"T:{(n - 1) // 5}"] if n % 7 == 0 else [])]
    for n in range(1, 60)
}
INFORMATION = {f"T:{n}": round(math.log(n + 1), 4) for n in range(60)}
SEALED_BY = (bytes(range(64, 96)), 1_800_000_000_000_000)
"""Issuer and sequence of the packets whose sealed sketches are frozen."""
ISSUED_AT = 1_800_000_000
TERM_SETS = (["T:0"], ["T:5", "T:17"], [f"T:{n}" for n in range(20, 60)])
VECTORS = (
    [1.0, 0.0, 0.0, 0.0],
    [0.2, -1.0, 0.7, 1e-9],
    [-3.5e6, 2.25e6, 1.0, -1.0],
)


def vectors():
    for parameters in ({}, {"bands": 42, "band_bits": 6}, {"secret": SECRET.hex()}):
        secret = bytes.fromhex(parameters["secret"]) if "secret" in parameters else None
        scheme = VectorScheme(
            4,
            secret=secret,
            **{k: v for k, v in parameters.items() if k != "secret"},
        )
        for features in VECTORS:
            yield described(scheme, {"dimensions": 4, **parameters}, features)


def terms():
    ontology = Ontology("toy", PARENTS, INFORMATION)
    for parameters in ({}, {"levels": [[0.5, 3.0], [2.0, 1.0]]}, {"secret": SECRET.hex()}):
        secret = bytes.fromhex(parameters["secret"]) if "secret" in parameters else None
        levels = [LoadBudget(*level) for level in parameters.get("levels", [[1.5, 4.0]])]
        scheme = TermScheme(ontology, secret=secret, levels=levels)
        for features in TERM_SETS:
            yield described(scheme, parameters, features)


def described(scheme, parameters, features):
    return {
        "parameters": parameters,
        "features": features,
        "scheme_id": scheme.id.hex(),
        "sketch": scheme.fingerprint(features).sketch.hex(),
        "sealed": scheme.seal(scheme.fingerprint(features), *SEALED_BY).sketch.hex(),
        "base_keys": [key.hex() for key in scheme.base_keys(features)],
        "routing_keys": [key.hex() for key in scheme.routing_keys(features, at=ISSUED_AT)],
    }


def main():
    content = {
        "ontology": {"parents": PARENTS, "information": INFORMATION},
        "vectors": list(vectors()),
        "terms": list(terms()),
    }
    path = Path(__file__).parent / "fingerprints.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

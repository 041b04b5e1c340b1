"""Frozen fingerprints: the same features give the same bits on every machine, for ever."""

import json
from pathlib import Path

import pytest

from qis.fingerprint import LoadBudget, Ontology, TermScheme, VectorScheme

PATH = Path(__file__).parents[1] / "vectors" / "fingerprints.json"
FROZEN = json.loads(PATH.read_text(encoding="utf-8"))
ONTOLOGY = Ontology("toy", FROZEN["ontology"]["parents"], FROZEN["ontology"]["information"])


def made(kind, parameters):
    parameters = dict(parameters)
    secret = parameters.pop("secret", None)
    parameters["secret"] = None if secret is None else bytes.fromhex(secret)
    if kind == "vectors":
        return VectorScheme(**parameters)
    levels = [LoadBudget(*level) for level in parameters.pop("levels", [[1.5, 4.0]])]
    return TermScheme(ONTOLOGY, **parameters, levels=levels)


@pytest.mark.parametrize(
    ("kind", "vector"),
    [(kind, vector) for kind in ("vectors", "terms") for vector in FROZEN[kind]],
)
def test_the_bits_are_those_that_were_frozen(kind, vector):
    scheme = made(kind, vector["parameters"])
    assert scheme.id.hex() == vector["scheme_id"]
    assert scheme.fingerprint(vector["features"]).sketch.hex() == vector["sketch"]
    issuer, sequence = bytes(range(64, 96)), 1_800_000_000_000_000
    sealed = scheme.seal(scheme.fingerprint(vector["features"]), issuer, sequence)
    assert sealed.sketch.hex() == vector["sealed"]
    assert (vector["sealed"] == vector["sketch"]) is (scheme.is_keyed is False)
    base = scheme.base_keys(vector["features"])
    assert [key.hex() for key in base] == vector["base_keys"]
    keys = scheme.routing_keys(vector["features"], at=1_800_000_000)
    assert [key.hex() for key in keys] == vector["routing_keys"]
    assert (keys == base) is (scheme.is_keyed is False)

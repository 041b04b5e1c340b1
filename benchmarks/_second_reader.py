"""What qis and the second reader, tests/port/reader.mjs in Node, say of the same bytes."""

import json
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import qis
from qis.outcomes.anchor import MODELS
from qis.outcomes.measures import MEASURES
from qis.outcomes.retraction import RETRACTED_ROLES, RETRACTION_REASONS

PORT: Final = Path(__file__).parents[1] / "tests" / "port"
_BATCH: Final = 5_000
_REALS: Final = frozenset(
    {
        "estimate",
        "standard_error",
        "tau2",
        "person_time",
        "control_person_time",
        "mean",
        "ss",
        "control_mean",
        "control_ss",
        "lower",
        "upper",
        "maximum",
        "slope_below",
        "slope_above",
        "values",
        "gradients",
        "points",
        "diagonal",
        "log_likelihood",
        "coefficients",
    }
)
_FIELDS: Final = {
    1: ("measure", "n", "estimate", "standard_error"),
    2: (
        "events",
        "total",
        "control_events",
        "control_total",
        "person_time",
        "control_person_time",
    ),
    3: ("total", "mean", "ss", "control_total", "control_mean", "control_ss"),
    4: (
        "measure",
        "n",
        "events",
        "protection",
        "lower",
        "upper",
        "slope_below",
        "slope_above",
        "maximum",
        "points",
        "values",
        "gradients",
    ),
    5: (
        "n",
        "events",
        "anchor_id",
        "model",
        "score_exponent",
        "whitened",
        "diagonal",
        "exponents",
        "factors",
        "log_likelihood",
    ),
    6: ("content",),
    7: ("model", "coefficients", "names_hash"),
    8: ("measure", "estimate", "standard_error", "tau2", "sites", "model"),
    9: ("reason", "role"),
    10: (),
}


def node() -> str | None:
    """The path of Node, if there is one."""
    return shutil.which("node")


def by_qis(data: bytes) -> dict[str, Any] | None:
    """The fields of a packet as the second reader prints them, or `None` if qis refuses it."""
    try:
        packet = qis.Packet.parse(data)
    except qis.PeerError:
        return None
    outcome = packet.outcome
    return {
        "id": packet.id.hex(),
        "issuer": str(packet.issuer),
        "issued_at": packet.issued_at,
        "expires_at": packet.expires_at,
        "sequence": str(packet.sequence),
        "sketch": packet.fingerprint.sketch.hex(),
        "scheme_id": packet.fingerprint.scheme_id.hex(),
        "commitment": packet.routing_commitment.hex(),
        "leaves": [leaf.hex() for leaf in packet.leaves],
        "kind": outcome.kind,
        "study": outcome.study_id.hex(),
        "question": outcome.question,
        "cohort": outcome.cohort,
        "values": {name: _field(outcome, name) for name in _FIELDS.get(outcome.kind, ())},
    }


def by_node(packets: Iterable[bytes], *, without: str = "") -> Iterator[dict[str, Any] | None]:
    """What the second reader says of each packet: its fields, or `None` if it refuses it.

    Parameters
    ----------
    packets
        Each of 512 bytes.
    without
        Rules of the reader to leave out, separated by commas.

    Raises
    ------
    FileNotFoundError
        If there is no Node.
    subprocess.CalledProcessError
        If the reader fails, which it does for nothing that a packet may hold.

    """
    data = list(packets)
    for start in range(0, len(data), _BATCH):
        batch = data[start : start + _BATCH]
        lines = run_node("reader.mjs", f"--without={without}", given=b"".join(batch)).splitlines()
        if len(lines) != len(batch):
            raise ValueError(f"{len(lines)} lines for {len(batch)} packets")
        for line in lines:
            verdict, _, rest = line.partition(b" ")
            yield json.loads(rest) if verdict == b"valid" else None


def generated(seed: int, count: int) -> list[bytes]:
    """Packets from the second reader's own generator; the same seed gives the same ones."""
    made = run_node("generator.mjs", str(seed), str(count))
    return [made[at : at + qis.PACKET_SIZE] for at in range(0, len(made), qis.PACKET_SIZE)]


def run_node(script: str, *arguments: str, given: bytes = b"") -> bytes:
    """What a script of tests/port prints."""
    command = [node() or "node", str(PORT / script), *arguments]
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603  our own scripts


def _field(outcome: Any, name: str) -> Any:
    value = getattr(outcome, name)
    if name in _REALS:
        return _hex(value)
    if name in _CODES:
        return _CODES[name](value)
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value


def _hex(value: Any) -> Any:
    """The 16 digits of a float64, which compare exactly."""
    if value is None:
        return None
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return [_hex(float(item)) for item in value]


def _typed(value: Any) -> Any:
    """A value of a record with its type, so that 1, 1.5, "1" and True stay different."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return ["map", [[key, _typed(item)] for key, item in value.items()]]
    if isinstance(value, tuple):
        return ["list", [_typed(item) for item in value]]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, float):
        return ["real", _hex(value)]
    return ["text", value] if isinstance(value, str) else ["integer", str(value)]


def _reason(name: str) -> int:
    known = RETRACTION_REASONS.get(name)
    return int(name.removeprefix("code ")) if known is None else known


_CODES: Final = {
    "content": _typed,
    "measure": lambda name: MEASURES[name].code,
    "model": lambda name: MODELS[name] if name in MODELS else ("fixed", "random").index(name),
    "protection": lambda text: text or None,
    "reason": _reason,
    "role": RETRACTED_ROLES.index,
}
"""How the fields that Python names in words stand on the wire."""

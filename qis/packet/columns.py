"""Packets as columns, one row a packet, for people who look at tables."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from qis._data_frame import data_frame
from qis._given import instance, iterable
from qis.outcomes import Outcome
from qis.packet.packet import Packet

_COMMON: Final = ("question", "cohort", "measure", "n")
_OWN: Final = (
    "estimate",
    "standard_error",
    "events",
    "total",
    "control_events",
    "control_total",
    "person_time",
    "control_person_time",
    "mean",
    "ss",
    "control_mean",
    "control_ss",
    "tau2",
    "sites",
    "reason",
)
"""Numbers that some kinds have; a column stands where a packet has it."""


def packet_columns(packets: Sequence[Packet]) -> dict[str, list[Any]]:
    """Columns of plain values: ids in hexadecimal digits, times with their zone (UTC).

    `all_events` are those of both arms, `events` those of the (treated) arm beside its `total`.
    Curves and models, which are no single number, are not in it.
    """
    outcomes = [packet.outcome for packet in packets]
    columns: dict[str, list[Any]] = {
        "id": [packet.id.hex() for packet in packets],
        "issuer": [str(packet.issuer) for packet in packets],
        "sequence": [packet.sequence for packet in packets],
        "issued_at": [_when(packet.issued_at) for packet in packets],
        "expires_at": [_when(packet.expires_at) for packet in packets],
        "kind": [type(outcome).__name__ for outcome in outcomes],
        "study": [outcome.study_id.hex() for outcome in outcomes],
    }
    for name in _COMMON:
        columns[name] = [getattr(outcome, name, None) for outcome in outcomes]
    columns["all_events"] = [_all_events(outcome) for outcome in outcomes]
    for name in _OWN:
        values = [_own(outcome, name) for outcome in outcomes]
        if any(value is not None for value in values):
            columns[name] = values
    return columns


def packets_to_frame(packets: Packet | Iterable[Packet], *, backend: str = "pandas") -> Any:
    """Show packets as a data frame, one row each, in the order given.

    Parameters
    ----------
    packets
        Verified packets, or a single one.
    backend
        "pandas", "polars" or "pyarrow": the library whose data frame it is.

    Returns
    -------
    DataFrame
        Columns `id`, `issuer`, `sequence`, `issued_at`, `expires_at` (UTC), `kind`, `study`,
        `question`, `cohort`, `measure`, `n`, `all_events`, and of `estimate`, `events`, `total`,
        `mean` and so on those that a packet here has. Estimates are on the natural log scale for
        ratios.

    Raises
    ------
    InputError
        If something in it is no packet, or the backend is another.
    MissingExtraError
        If the backend is not installed.

    Examples
    --------
    >>> import qis
    >>> packet = qis.Packet.sign(
    ...     qis.Identity.from_seed(bytes(32)),
    ...     outcome=qis.Counts(question="a vs b | death", events=3, total=20),
    ...     fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
    ...     issued_at=1_800_000_000,
    ...     lifetime_s=86_400,
    ... )
    >>> frame = packets_to_frame([packet])
    >>> frame[["kind", "measure", "events", "total"]].values.tolist()
    [['Counts', 'PLO', 3, 20]]

    """
    given = [packets] if isinstance(packets, Packet) else iterable(packets, "packets", "packets")
    checked = [
        instance(packet, "packets", Packet, "Packet.parse verifies bytes") for packet in given
    ]
    return data_frame(packet_columns(checked), backend)


def _when(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _all_events(outcome: Outcome) -> int | None:
    every = getattr(outcome, "all_events", None)
    found: int | None = getattr(outcome, "events", None) if every is None else every
    return found


def _own(outcome: Outcome, name: str) -> Any:
    if name == "events" and not hasattr(outcome, "total"):
        return None  # those of all arms, in `all_events` already
    return getattr(outcome, name, None)

"""What is given as evidence, gathered, unless the study hides its numbers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from qis._given import point_in_time
from qis.errors import EmbargoError
from qis.evidence import Roster
from qis.identity import Issuer
from qis.outcomes import Study
from qis.synthesis.gathering import Gathered
from qis.synthesis.given import gather_given


def gather_here(
    evidence: Any,
    *,
    study: Study | None,
    roster: Roster | None,
    names: Mapping[Issuer, str] | Iterable[str] | None,
    now: float | datetime | None,
    monitor: bool,
) -> Gathered:
    """Gather evidence for a result about sites, which an embargo hides.

    Raises
    ------
    InputError
        If the evidence cannot be read, or arguments contradict each other.
    EmbargoError
        If the study hides its numbers, and nobody monitors it.

    """
    now = None if now is None else point_in_time(now, "now")
    gathered = gather_given(
        evidence,
        study=study,
        roster=roster,
        names=names,
        now=now,
        model="random",
        field="evidence",
    )
    seen_at = gathered.now if now is None else now
    if study is not None and not monitor and study.is_embargoed(seen_at):
        raise EmbargoError(
            f"the study's numbers are hidden until {study.embargo_until} (Unix seconds)",
            field="embargo_until",
            limit=study.embargo_until,
        )
    return gathered

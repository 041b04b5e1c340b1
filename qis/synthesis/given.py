"""What `qis.synthesise` may be given, and what it becomes: evidence with the names of its sites."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from qis._given import instance, several, shown
from qis.errors import InputError
from qis.evidence import Review, Roster, Site
from qis.identity import Issuer
from qis.outcomes import Outcome, Study
from qis.packet import Packet
from qis.synthesis.gathering import Gathered, gather
from qis.synthesis.tabled import is_table, outcomes_of_table
from qis.synthesis.unsigned import gather_outcomes


def gather_given(
    packets: Any,
    *,
    study: Study | None,
    roster: Roster | None,
    names: Any,
    now: float | None,
    model: Literal["fixed", "random"],
    field: str = "packets",
) -> Gathered:
    """Gather whatever it is that `synthesise` was given, or what another function calls `field`."""
    try:
        return _gather(packets, study=study, roster=roster, names=names, now=now, model=model)
    except InputError as error:
        if field != "packets" and error.field == "packets":
            # Whoever reads it knows the parameter by the name it has there.
            error.field = field
            error.args = (re.sub(r"^packets\b", field, str(error)),)
        raise


def _gather(
    packets: Any,
    *,
    study: Study | None,
    roster: Roster | None,
    names: Any,
    now: float | None,
    model: Literal["fixed", "random"],
) -> Gathered:
    if roster is not None:
        instance(roster, "roster", Roster, "Roster.load(path)")
        if names is not None:
            raise InputError("give a roster or names, not both: a roster names", field="names")
    if isinstance(packets, Review):
        if roster is not None or names is not None:
            raise InputError(
                "this evidence was judged by its store's roster, which names the sites: set "
                "store.roster instead",
                field="roster" if names is None else "names",
            )
        return gather(packets, study, now, model=model)
    one = isinstance(packets, (Packet, Outcome))
    if not one and is_table(packets):
        return _gather_table(packets, study, roster, names, now)
    what = "packets (Packet.parse verifies bytes), outcomes, or a table"
    given = several([packets] if one else packets, "packets", what)
    if given and all(isinstance(each, Outcome) for each in given):
        if roster is not None:
            raise InputError("outcomes have no issuer: give names, one for each", field="roster")
        return gather_outcomes(given, study, names, now)
    for each in given:
        instance(each, "packets", Packet, "Packet.parse verifies bytes; or give outcomes only")
    if names is not None:
        roster = _roster_of(given, names)
    return gather(given, study, now, model=model, roster=roster)


def _gather_table(
    table: Any, study: Study | None, roster: Roster | None, names: Any, now: float | None
) -> Gathered:
    if roster is not None:
        raise InputError("a table has no issuers: name its rows' sites", field="roster")
    outcomes, sites = outcomes_of_table(table, study)
    if names is not None and sites is not None:
        raise InputError("the table's column site gives the names already", field="names")
    return gather_outcomes(outcomes, study, sites if names is None else names, now)


def _roster_of(packets: Sequence[Packet], names: Any) -> Roster:
    """A roster of the names given; whoever has none is a site named by the key."""
    if not isinstance(names, Mapping):
        raise InputError(
            f"names is {shown(names)}; with packets it maps issuers to names: "
            "{packet.issuer: 'name'}",
            field="names",
        )
    keys: dict[str, list[Issuer]] = {}
    for issuer in {*names, *(packet.issuer for packet in packets)}:
        instance(issuer, "names", Issuer, "packet.issuer")
        name = names.get(issuer, str(issuer))
        if type(name) is not str:
            raise InputError(f"names holds {shown(name)}; a name is a text", field="names")
        keys.setdefault(name, []).append(issuer)
    return Roster(tuple(Site.of(name, *sorted(keys[name])) for name in sorted(keys)))

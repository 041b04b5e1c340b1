"""A retraction: withdraws what a site has published under a study and cohort.

Body, beyond the common keys 0 (study), 1 (question) and 2 (cohort): key 8, the code of the reason,
0 to 255. A code that this version does not know withdraws all the same: refusing the packet would
leave in force what its issuer has taken back. Key 9 is there only if something else than the site's
own evidence is withdrawn: 1 its synthesis of the study, 2 its anchor. A reader that does not know
it refuses the packet, so it cannot take the site's evidence for withdrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from qis.errors import InputError
from qis.outcomes._base import KEY_DETAIL, KEY_ROLE, Body, Outcome, common_fields
from qis.outcomes.study import Study

RETRACTION_REASONS: Final = {
    "withdrawn": 0,
    "error": 1,
    "consent": 2,
    "superseded": 3,
    "key compromised": 4,
}
"""Reasons with their codes on the wire, which are fixed for ever."""
_CODES: Final = RETRACTION_REASONS | {
    f"code {code}": code for code in range(len(RETRACTION_REASONS), 256)
}
_BY_CODE: Final = {code: reason for reason, code in _CODES.items()}

RETRACTED_ROLES: Final = ("primary", "derived", "anchor")
"""What a retraction may be of; the position is the code on the wire, fixed for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction(Outcome):
    """Says that nothing of the issuer counts any more under this study, cohort and role.

    Parameters
    ----------
    reason
        A key of `RETRACTION_REASONS`: "withdrawn" (no reason given), "error" (the analysis was
        wrong), "consent" (people withdrew), "superseded" (published anew elsewhere),
        "key compromised"; or "code 5" to "code 255" for one that a later version defines.
    role
        What is withdrawn: "primary", the site's own evidence; "derived", its synthesis of others'
        packets; "anchor", its anchor. The other two stay in force.

    Raises
    ------
    InputError
        If the reason or the role is unknown.

    Examples
    --------
    >>> import qis
    >>> qis.Retraction(question="a vs b | death", reason="error").reason
    'error'

    """

    kind: ClassVar[int] = 9

    reason: str = "withdrawn"
    role: str = "primary"

    def __post_init__(self, study: Study | None) -> None:
        Outcome.__post_init__(self, study)
        if type(self.reason) is not str or self.reason not in _CODES:
            raise InputError(
                f"reason is {self.reason!r:.60}; it is one of {', '.join(RETRACTION_REASONS)}",
                field="reason",
                actual=self.reason,
                limit=tuple(RETRACTION_REASONS),
            )
        if type(self.role) is not str or self.role not in RETRACTED_ROLES:
            raise InputError(
                f"role is {self.role!r:.60}; it is one of {', '.join(RETRACTED_ROLES)}",
                field="role",
                actual=self.role,
                limit=RETRACTED_ROLES,
            )

    def body(self) -> Body:
        """The body map as it travels."""
        body = Outcome.body(self)
        body[KEY_DETAIL] = _CODES[self.reason]
        if self.role != "primary":
            body[KEY_ROLE] = RETRACTED_ROLES.index(self.role)
        return body

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        role = RETRACTED_ROLES[body.get(KEY_ROLE, 0)]
        return cls(**common_fields(body), reason=_BY_CODE[body[KEY_DETAIL]], role=role)

"""Outcomes that are used at this site and never leave it, and the answer for this site."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from qis._given import instance
from qis.about import Fingerprint
from qis.errors import InputError
from qis.evidence import Review, Roster
from qis.fingerprint import Scheme
from qis.here.for_site import for_site
from qis.identity import Issuer
from qis.outcomes import Outcome, Study
from qis.synthesis.currency import Poolable, is_poolable
from qis.synthesis.site_answer import SiteAnswer

MAX_KEPT: Final = 1_000
"""Most outcomes that are kept, of all studies and cohorts."""


class OwnData:
    """What `qis.SynthesisLoop.keep` was given, in memory only.

    It is in no file, no log and no packet: it ends with the process, and is kept anew when the next
    one begins.

    Parameters
    ----------
    scheme
        Turns what an outcome is about into a fingerprint.
    issuer
        This site's key, by which its published packets are known.

    """

    def __init__(self, scheme: Scheme[Any], issuer: Issuer) -> None:
        self._scheme, self._issuer = scheme, issuer
        self._kept: dict[bytes, dict[str, tuple[Poolable, Fingerprint]]] = {}
        self._changes: dict[bytes, int] = {}

    def keep(self, outcome: Outcome, about: Any) -> None:
        """Keep an outcome; of one study and cohort the last one counts.

        Raises
        ------
        InputError
            If it says nothing of one effect, the features are wrong, or too many are kept.

        """
        instance(outcome, "outcome", Outcome, "an Effect, Counts, Moments or a LikelihoodProfile")
        if not is_poolable(outcome):
            raise InputError(
                f"a {type(outcome).__name__} has no log-likelihood of one effect: keep an Effect, "
                "Counts, Moments or a LikelihoodProfile",
                field="outcome",
                actual=type(outcome).__name__,
            )
        fingerprint = self._scheme.fingerprint(about)
        cohorts = self._kept.setdefault(outcome.study_id, {})
        if outcome.cohort not in cohorts and sum(map(len, self._kept.values())) >= MAX_KEPT:
            raise InputError(
                f"{MAX_KEPT} outcomes are kept already: forget some first",
                field="outcome",
                limit=MAX_KEPT,
            )
        cohorts.pop(outcome.cohort, None)
        cohorts[outcome.cohort] = outcome, fingerprint
        self._changed(outcome.study_id)

    def forget(self, study_id: bytes, cohort: str) -> bool:
        """Forget what is kept under a study and cohort; false if nothing is."""
        if self._kept.get(study_id, {}).pop(cohort, None) is None:
            return False
        self._changed(study_id)
        return True

    def _changed(self, study_id: bytes) -> None:
        self._changes[study_id] = self._changes.get(study_id, 0) + 1

    def changes(self, study_id: bytes) -> int:
        """How often what is kept of a study has changed."""
        return self._changes.get(study_id, 0)

    def asking(
        self, review: Review, study: Study | None, roster: Roster, *, monitor: bool
    ) -> Callable[[], SiteAnswer] | None:
        """What gives the answer for this site; `None` if nothing of its data is known.

        What is kept replaces what was published of the same cohort, and is added to the rest.
        """
        name = roster.name_of(self._issuer) or str(self._issuer)
        mine = [packet for packet in review.evidence if review.site_names[packet.id] == name]
        outcomes = {p.outcome.cohort: p.outcome for p in mine if is_poolable(p.outcome)}
        kept = self._kept.get(review.study_id, {})
        outcomes.update({cohort: outcome for cohort, (outcome, _) in kept.items()})
        if not outcomes:
            return None
        about = mine[0].fingerprint if mine else None
        for _, fingerprint in kept.values():
            about = fingerprint
        return Asking(
            review=review,
            outcomes=tuple(outcomes[cohort] for cohort in sorted(outcomes)),
            site=name,
            about=about,
            study=study,
            scheme=self._scheme,
            monitor=monitor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked of `qis.for_site` when somebody reads `synthesis.here`."""

    review: Review
    outcomes: tuple[Poolable, ...]
    site: str
    about: Fingerprint | None
    study: Study | None
    scheme: Scheme[Any]
    monitor: bool

    def __call__(self) -> SiteAnswer:
        """Compute the answer."""
        about = self.about
        if about is not None and about.scheme_id != self.scheme.id:
            about = None  # published under a former scheme
        return for_site(
            self.review,
            self.outcomes,
            site=self.site,
            about=about,
            study=self.study,
            scheme=self.scheme,
            now=self.review.now,
            monitor=self.monitor,
        )

"""The answer for one site, from evidence and the site's own data: `qis.for_site`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
from blake3 import blake3

from qis._canonical import encode
from qis._gate import checked
from qis._given import instance
from qis.about import Fingerprint
from qis.errors import IncompatibleEvidenceError, InputError
from qis.evidence import Review, Roster
from qis.fingerprint import Scheme
from qis.here.asking import Asked, OwnSite, answer_of
from qis.here.evidence import gather_here
from qis.here.marginal import beyond_computing
from qis.here.model import MEAN_SCALE
from qis.identity import Issuer
from qis.outcomes import Outcome, Study, measure_named
from qis.packet import Packet
from qis.synthesis._sites import check_level, check_scale
from qis.synthesis.currency import is_poolable
from qis.synthesis.gathering import Gathered
from qis.synthesis.profiles import tau_scale_of
from qis.synthesis.site_answer import SiteAnswer
from qis.synthesis.tabled import Frame

VERSION: Final = 2
"""Version of the model; part of every digest."""
_SILENT: Final = (
    "neither the evidence nor the site itself has an outcome that depends on the effect: there is "
    "nothing to answer from but the prior"
)
_MEAN_SCALES: Final = 5.0
"""The prior on the mean, in scales of tau, where the measure has units."""


_APART: Final = 1e6
"""Most that the prior's two scales may differ by, as a factor."""


@checked
def for_site(
    evidence: Iterable[Packet] | Iterable[Outcome] | Review | Packet | Outcome | Frame,
    own: Outcome | Iterable[Outcome] | None = None,
    *,
    site: str | None = None,
    about: Any = None,
    study: Study | None = None,
    scheme: Scheme[Any] | None = None,
    roster: Roster | None = None,
    names: Mapping[Issuer, str] | Iterable[str] | None = None,
    tau_scale: float | None = None,
    mean_scale: float | None = None,
    level: float = 0.95,
    now: float | datetime | None = None,
    monitor: bool = False,
) -> SiteAnswer:
    """What the evidence of all sites says of one site's own effect.

    Every site has an effect of its own. It is drawn towards those of the others as far as its own
    data are few, and more towards those of like sites as far as the data of all show that like
    sites have like effects (docs/my-site.md tells the model and what it cannot show).

    Parameters
    ----------
    evidence
        As for `qis.synthesise`: what ``store.evidence(study, now=…)`` gives, or packets, outcomes,
        or a table.
    own
        The site's own outcomes, which need not have been published. One that is in the evidence too
        counts once.
    site
        The site's name in the evidence, if it is there: `own` then replaces what it published, and
        without `own` that is its own data.
    about
        Features of the site, of the kind that `scheme` takes, or their fingerprint.
    study
        The study; it gives measure and prior scales.
    scheme
        The scheme of the packets' sketches. Without it, or `about`, likeness is not known, and all
        sites are taken to be equally alike.
    roster, names
        With plain packets: who is believed and which keys are one site's, or names of sites.
    tau_scale
        Scale of the half-normal prior on tau, the standard deviation between sites. Default: the
        study's; then 0.5 (1 for proportions and rates) where the measure has no units.
    mean_scale
        Standard deviation of the normal prior on the mean about 0. Default: the study's; then 2.5,
        or five times `tau_scale` where the measure has units. To be given for proportions, rates
        and means of one arm, which 0 is not the middle of.
    level
        Probability inside the intervals, in (0, 1).
    now
        Unix seconds, or a `datetime` with a zone, by which embargo and validity are judged.
        Default: the time of the evidence.
    monitor
        True for a monitoring role, which an embargo does not bind.

    Returns
    -------
    SiteAnswer
        The answer, and beside it what makes it so.

    Raises
    ------
    InputError
        If an argument is out of range or missing.
    IncompatibleEvidenceError
        If own outcomes and evidence differ in study or measure.
    EmbargoError
        If the study hides its numbers.

    Examples
    --------
    >>> import qis
    >>> table = {"site": ["Ulm", "Bern"], "estimate": [-0.7, -0.2], "standard_error": [0.1, 0.2]}
    >>> study = qis.Study(question="drug vs none | death", measure="OR", model="random")
    >>> own = qis.Effect(study=study, measure="OR", estimate=0.1, standard_error=0.8, n=30)
    >>> here = qis.for_site(table, own, study=study)
    >>> here
    <SiteAnswer OR 0.68... [0.3..., 2.0...]: 'drug vs none | death'>

    """
    level = check_level(level)
    if study is not None:
        instance(study, "study", Study, "Study(question=…), or Study.load(path)")
    if scheme is not None:
        instance(scheme, "scheme", Scheme, "the scheme that the packets' sketches are of")
    gathered = gather_here(
        evidence, study=study, roster=roster, names=names, now=now, monitor=monitor
    )
    mine = _own_site(own, site, gathered)
    measure = gathered.measure or (mine.outcomes[0].measure if mine.outcomes else None)
    if measure is None:
        raise InputError(_SILENT, field="evidence")
    if study is not None:
        tau_scale = study.tau_scale if tau_scale is None else tau_scale
        mean_scale = study.mean_scale if mean_scale is None else mean_scale
    tau = tau_scale_of(measure, tau_scale)
    mean = _mean_scale(measure, tau, mean_scale)
    if about is not None and scheme is None:
        raise InputError(
            "about= says what the site is like by a scheme: give scheme=", field="scheme"
        )
    fingerprint = None
    if scheme is not None and about is not None:
        is_made = isinstance(about, Fingerprint)
        fingerprint = scheme.open(about) if is_made else scheme.fingerprint(about)
    asked = Asked(
        gathered=gathered,
        own=mine,
        about=fingerprint,
        scheme=scheme,
        study=study,
        measure=measure,
        tau_scale=tau,
        mean_scale=mean,
        level=level,
    )
    if not asked.others and not asked.own_informative:
        raise InputError(_SILENT, field="evidence")
    try:
        return answer_of(asked, _digest(asked))
    except np.linalg.LinAlgError:
        raise beyond_computing() from None


def _own_site(own: Any, name: str | None, gathered: Gathered) -> OwnSite:
    """The site's own outcomes, and under which name they are in the evidence, if they are."""
    outcomes = (own,) if isinstance(own, Outcome) else tuple(own or ())
    _require_alike(outcomes, gathered)
    encoded = {outcome.encoded() for outcome in outcomes}
    for site in gathered.sites:
        is_named = site.name == name
        if is_named and not outcomes:
            return OwnSite(site.name, site.outcomes)
        if is_named or (name is None and encoded & {each.encoded() for each in site.outcomes}):
            return OwnSite(site.name, outcomes)
    if name is not None and not outcomes:
        raise InputError(
            f"no site that counts is called {name!r:.60}, and it has no own outcomes",
            field="site",
            actual=name,
            limit=tuple(site.name for site in gathered.sites),
        )
    return OwnSite(name or "", outcomes)


def _require_alike(outcomes: tuple[Any, ...], gathered: Gathered) -> None:
    """Raise unless own outcomes are of the evidence's study and measure, each cohort once."""
    for outcome in outcomes:
        if not is_poolable(outcome):
            raise InputError(
                f"own holds a {type(outcome).__name__}, which has no log-likelihood of one effect",
                field="own",
                actual=type(outcome).__name__,
            )
        for field, theirs in (("study_id", gathered.study_id), ("measure", gathered.measure)):
            mine = getattr(outcome, field)
            if theirs is not None and mine != theirs:
                raise IncompatibleEvidenceError(
                    f"own has the {field} {_shown(mine)}, the evidence {_shown(theirs)}; they are "
                    "never put together: make your outcome with study=",
                    field=field,
                    actual=mine,
                    limit=theirs,
                )
    cohorts = [outcome.cohort for outcome in outcomes]
    if len(set(cohorts)) < len(cohorts):
        raise InputError(
            "two own outcomes have the same cohort: they would count the same people twice",
            field="own",
        )


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _mean_scale(measure: str, tau_scale: float, given: float | None) -> float:
    if given is not None:
        scale = check_scale(given, "mean_scale")
        if not 1.0 / _APART <= scale / tau_scale <= _APART:
            raise InputError(
                f"mean_scale is {scale:g}, and tau_scale {tau_scale:g}; they differ by a factor of "
                f"at most {_APART:g}, beyond which nothing can be computed: is one in other units?",
                field="mean_scale",
                actual=scale,
                limit=(tau_scale / _APART, tau_scale * _APART),
            )
        return scale
    known = measure_named(measure)
    if not known.has_null:
        raise InputError(
            f"{measure} has no value that means nothing happens, about which a prior could lie: "
            "give mean_scale=, how far from 0 the mean may plausibly be",
            field="mean_scale",
        )
    return MEAN_SCALE if known.default_tau_scale is not None else _MEAN_SCALES * tau_scale


def _digest(asked: Asked) -> bytes:
    """Digest of whose answer it is, and of what it rests on; empty without packets."""
    gathered = asked.gathered
    if not gathered.is_signed:
        return b""
    ids = sorted(packet.id for site in gathered.sites for packet in site.packets)
    own = sorted(outcome.encoded() for outcome in asked.own.outcomes)
    sketch = b"" if asked.about is None else asked.about.sketch
    ontology = getattr(asked.scheme, "ontology", None)
    release = "" if ontology is None else str(ontology.release)
    scheme = b"" if asked.scheme is None else asked.scheme.id
    settings = [asked.tau_scale, asked.mean_scale, asked.level]
    rests_on = [ids, own, asked.own.name, sketch, scheme, release, gathered.roster_digest]
    return blake3(
        encode([VERSION, "for_site", gathered.study_id, [str(x) for x in settings], rests_on])
    ).digest()

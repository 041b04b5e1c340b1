"""From evidence to a fitted model: a pure function, alike on every node with the same packets."""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from qis._canonical import encode
from qis._gate import checked
from qis._given import instance
from qis.errors import InputError, NoEstimateError
from qis.evidence import Review
from qis.models.expansion import Expansion
from qis.models.fitted import FittedModel, ModelSite, gain_of
from qis.models.gathering import ModelEvidence, gathered, gathered_outcomes
from qis.models.heterogeneity import CoefficientQ, by_site, q_of
from qis.models.prior import with_prior
from qis.models.ridge import ridge_of
from qis.models.separation import is_almost_separated, separated, untested
from qis.outcomes import Anchor, QuadraticLikelihood, Study
from qis.outcomes._model_study import INTERCEPT
from qis.synthesis._quantiles import chi2_tail
from qis.synthesis._sites import check_level
from qis.synthesis.natural import solved, summed

Floats = NDArray[np.float64]

VERSION: Final = 1
"""Version of the method; part of every digest."""


@checked
def fit_model(
    evidence: Review | Mapping[str, QuadraticLikelihood],
    *,
    study: Study,
    anchors: Iterable[Anchor] = (),
    level: float = 0.95,
) -> FittedModel:
    """Add up what the sites say of a model, and solve for its coefficients.

    Natural parameters at different anchors add, so sites need no common anchor and no rounds. The
    result says how far its anchors are from it (`FittedModel.is_converged`).

    Parameters
    ----------
    evidence
        What ``store.evidence(study, now=…)`` gives; or expansions by name of their sites.
    study
        The study, of kind "model".
    anchors
        With plain expansions: their anchors. A zero anchor is known to everybody.
    level
        Coverage of the intervals, in (0, 1).

    Raises
    ------
    InputError
        If the study is not of a model, or an anchor is missing.
    IncompatibleEvidenceError
        If the evidence is of another study.

    Examples
    --------
    >>> import qis
    >>> study = qis.Study(
    ...     question="age | death",
    ...     kind="model",
    ...     family="logistic",
    ...     coefficients=("intercept", "age"),
    ...     purpose="effect",
    ... )
    >>> rows = qis.ModelRows(features=[[0.1], [0.4], [0.8], [0.2]], labels=[0, 0, 1, 1])
    >>> answer = rows.for_study(study).answer([0.0, 0.0])
    >>> model = qis.fit_model({"Ulm": answer}, study=study)
    >>> model.names, model.is_converged
    (('intercept', 'age'), False)

    """
    instance(study, "study", Study, "Study(question=…, kind='model', …)")
    if study.kind != "model":
        raise InputError(
            "the study is not of a model: declare kind='model'; qis.synthesise is for the others",
            field="study",
        )
    level = check_level(level)
    if isinstance(evidence, Review):
        found = gathered(evidence, study)
    else:
        found = gathered_outcomes(evidence, study, anchors)
    return _fitted(found, study, level)


class _Pooled(NamedTuple):
    """Where the summed likelihood is largest; without point, why there is none."""

    point: Floats | None
    covariance: Floats | None
    precision: float | None = None
    undetermined: str = ""


def _fitted(found: ModelEvidence, study: Study, level: float) -> FittedModel:
    size = len(study.coefficients)
    expansions = found.expansions
    information = summed([np.zeros((size, size)), *(each.information for each in expansions)])
    natural = summed([np.zeros(size), *(each.natural for each in expansions)])
    pooled = _pooled(information, natural, study)
    sites = by_site(expansions)
    parts: dict[str, list[Expansion]] = {name: [] for name in sites}
    for each in expansions:
        parts[each.site].append(each)
    split: tuple[str, ...] = ()
    is_judged = pooled.point is not None and study.purpose == "effect"
    if is_judged:
        split = separated(expansions, information, study)
    is_suspected = is_judged and not split and is_almost_separated(expansions, pooled.point, study)
    return FittedModel(
        study=study,
        point=pooled.point,
        point_covariance=pooled.covariance,
        information=information,
        natural=natural,
        precision=pooled.precision,
        expansions=expansions,
        sites=tuple(
            _site(
                name,
                parts[name],
                pooled,
                _pooled(information - sites[name][0], natural - sites[name][1], study),
            )
            for name in sites
        ),
        left_out=found.left_out,
        silent=found.silent,
        heterogeneity=_differing(study, list(sites.values()), pooled.point),
        separation=study.coefficients if is_suspected else split,
        is_suspected=is_suspected,
        untested=untested(expansions, information, study) if is_judged else (),
        undetermined=pooled.undetermined,
        level=level,
        digest=_digest(found, study, level),
    )


def _pooled(information: Floats, natural: Floats, study: Study) -> _Pooled:
    if not information.any():
        return _Pooled(None, None, None, "no site says anything of any coefficient")
    if study.purpose == "prediction":
        names = study.coefficients
        free = names.index(INTERCEPT) if INTERCEPT in names else None
        ridge = ridge_of(information, natural, intercept=free)
        return _Pooled(ridge.coefficients, ridge.covariance, ridge.precision)
    try:
        covariance, point = solved(*with_prior(information, natural, study))
    except NoEstimateError as error:
        return _Pooled(None, None, None, str(error))
    return _Pooled(point, covariance)


def _site(name: str, own: list[Expansion], pooled: _Pooled, rest: _Pooled) -> ModelSite:
    distance = step = 0.0
    without = None
    if pooled.point is not None and pooled.covariance is not None:
        errors = np.sqrt(pooled.covariance.diagonal())
        step = math.fsum(gain_of(pooled.point, each) for each in own)
        distance = math.sqrt(2.0 * step)
        if rest.point is not None:
            without = float(np.abs((rest.point - pooled.point) / errors).max())
    events = [each.outcome.events for each in own]
    return ModelSite(
        name=name,
        n=sum(each.outcome.n for each in own),
        events=None if None in events else sum(count or 0 for count in events),
        distance=distance,
        step=step,
        without=without,
    )


def _differing(
    study: Study, sites: list[tuple[Floats, Floats]], point: Floats | None
) -> tuple[CoefficientQ, ...]:
    if point is None:
        return ()
    found = []
    for index, name in enumerate(study.coefficients):
        q, df = q_of(index, sites, point)
        found.append(CoefficientQ(name, q, df, chi2_tail(q, df) if df else None))
    return tuple(found)


def _digest(found: ModelEvidence, study: Study, level: float) -> bytes:
    """Digest of what the numbers rest on; the last bits of the numbers differ between machines."""
    if not found.is_signed:
        return b""
    ids = sorted(
        [each.packet.id, each.outcome.anchor_id]
        for each in found.expansions
        if each.packet is not None
    )
    return blake3(encode([VERSION, study.id, level, found.roster_digest, ids])).digest()

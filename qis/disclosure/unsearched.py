"""What the gate does not search in an outcome, in words for the approver and for the audit log.

An outcome that passes with something not searched is not known to be safe in that respect. The
words hold no number of people, so that they may stand in a log.
"""

from qis.disclosure.attacks import largest_n
from qis.disclosure.models import read
from qis.disclosure.two_by_two import LARGEST, MEASURES, is_coarse, is_grid_cut
from qis.outcomes import Effect, LikelihoodProfile, Outcome, QuadraticLikelihood

_COARSE = (
    "which table it comes from if the variable is yes/no (with so few decimals most measured "
    "values fit some table); give a risk difference for those"
)
_WITHOUT_N = "any table, since there is no n; who knows n can search for them"
_LARGE = "any table, since there are more than {most:,} people"
_GRID = "all tables: with numbers as rounded as these there are too many"
_RATE = "the events behind a rate difference: two equations for two counts and two times"
_STRATA = "strata one by one, where a survival profile has some"


def not_searched(outcome: Outcome, *, limit: int) -> tuple[str, ...]:
    """Tell what is not searched in an outcome; empty if everything known is.

    Parameters
    ----------
    outcome
        The outcome that is to be released.
    limit
        Smallest count above zero that may be derivable.

    """
    if isinstance(outcome, QuadraticLikelihood):
        said = read(outcome, limit=limit).not_searched
        return (said,) if said else ()
    if isinstance(outcome, LikelihoodProfile):
        is_survival = outcome.measure == "HR" and not outcome.protection
        return (_STRATA,) if is_survival else ()
    return _of_effect(outcome, limit) if isinstance(outcome, Effect) else ()


def _of_effect(outcome: Effect, limit: int) -> tuple[str, ...]:
    said = ""
    if outcome.n is None:
        said = _WITHOUT_N
    elif outcome.measure == "IRD":
        said = _RATE
    elif outcome.measure not in MEASURES:
        pass
    elif is_coarse(outcome):
        said = _COARSE
    elif outcome.n > largest_n(limit):
        said = _LARGE.format(most=largest_n(limit))
    elif outcome.n > LARGEST and outcome.measure in ("SMD", "COR", "ZCOR"):
        said = _LARGE.format(most=LARGEST)
    elif is_grid_cut(outcome):
        said = _GRID
    return (said,) if said else ()

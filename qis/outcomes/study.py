"""The study: what exactly is estimated and how it is analysed, agreed before any outcome exists.

A line of text does not define an estimand: another spelling would split the evidence, and reversed
coding or other units would pool wrongly. A study's id is a hash of everything that it fixes, so
that only outcomes of the same estimand and the same analysis ever pool.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cached_property
from os import PathLike
from typing import Any, Literal, Self

from blake3 import blake3

from qis._canonical import encode_sorted
from qis._gate import checked
from qis._given import point_in_time
from qis._paths import file_path, opening
from qis._toml import read_toml, toml_of
from qis.about import SCHEME_ID_SIZE
from qis.errors import ConfigurationError, InputError
from qis.outcomes._model_study import INTERCEPT, MOST_ANSWERS, MOST_ANSWERS_EVER, check_model_study
from qis.outcomes._text import normal_text
from qis.outcomes._times import unix_seconds
from qis.outcomes.measures import measure_named
from qis.outcomes.moderators import MAX_MODERATORS, Moderator

QUESTION_SIZE = 48
"""Most bytes of UTF-8 in a question."""
COHORT_SIZE = 24
"""Most bytes of UTF-8 in a cohort's name."""
STUDY_ID_SIZE = 8
_TEXT_SIZE = 1000

Model = Literal["fixed", "random"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """An estimand and its analysis. Sites that declare the same study get the same id.

    Parameters
    ----------
    question
        For people, arms in order: ``"interferon gamma vs placebo | first infection"``; at most
        48 bytes of UTF-8.
    measure
        A name from `qis.outcomes.MEASURES`, such as ``"HR"``; `None`: not fixed.
    model
        ``"fixed"`` (one common effect) or ``"random"``; `None`: not fixed, so each synthesis says.
    population, intervention, comparator, endpoint, time_frame, arm_coding, units
        The estimand, in words (at most 1,000 bytes each).
    adjustment
        Names of the covariates adjusted for; empty means crude.
    ties
        How tied event times are handled: ``"efron"`` or ``"breslow"``.
    tau_scale
        Scale of the half-normal prior on the between-site standard deviation, in the measure's
        units (log scale for ratios).
    mean_scale
        Standard deviation of the normal prior on the mean effect; `None`: flat.
    scheme
        Id of the fingerprint scheme, 16 hexadecimal digits.
    baseline_features
        Names of the features that the fingerprint is made of, in order.
    moderators
        What may change the effect, at most 16, each a `Moderator`: which sites are alike in the
        answer for one site, and along what the effect may change. In TOML ``[[moderators]]``.
    min_similarity
        Similarity from which an outcome is relevant, in [0, 1].
    valid_from, valid_until
        Unix seconds: outcomes issued in [from, until) count, and none from `valid_until` on, when
        the study has no estimate any more. In TOML also a date or a time with its zone.
    embargo_until
        Unix seconds (as above): until then syntheses are hidden from all but a monitoring role.
        An embargo among honest parties: each site holds the packets, and could compute it all.
    analysis_version
        Changes when the analysis changes.
    kind
        ``"model"``: a regression model, fitted by the loops together (docs/models.md); the next
        fields are for these only, and ``""`` for all other studies.
    family
        ``"logistic"``, ``"poisson"``, ``"linear"`` or ``"cox"``.
    coefficients
        Names of the coefficients in order, 1 to 14. ``"intercept"`` is a column of ones, common to
        all sites; without it each site has an intercept of its own, which does not travel (but in
        Cox's model, where baseline hazards are the sites' own).
    purpose
        ``"effect"``: coefficients without penalty, and none where the data are separated.
        ``"prediction"``: standardised features, a ridge whose strength the data of all sites
        choose, and at each site an intercept fitted to its own rows. Has no default.
    answers
        Most answers that a site gives about the same people; of a model 6 by default.
    feature_means, feature_scales
        Mean and standard deviation of each feature (without the intercept), declared in advance:
        required for predictions, which are standardised by them. For effects the scales say
        how large a coefficient is, in the prior and in the test for separation.
    prior
        For effects: ``"normal"`` or ``"log-F"``, the way out where data are separated; of every
        coefficient but the intercept, at zero.
    prior_scale
        Normal prior: standard deviation of a coefficient, for one standard deviation of its feature
        (for one unit where no scale is declared). Log-F(m, m) prior: m, as many pseudo-observations
        of each feature alone, half of them with the event (Greenland & Mansournia 2015).
    residual_variance
        Of linear models: known, and the same at all sites.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range.

    Examples
    --------
    >>> import qis
    >>> study = qis.Study(question="a vs b | death", measure="OR", model="random")
    >>> len(study.id), study == qis.Study(question="a vs b | death", measure="OR", model="random")
    (8, True)

    """

    question: str
    measure: str | None = None
    model: Model | None = None
    population: str = ""
    intervention: str = ""
    comparator: str = ""
    endpoint: str = ""
    time_frame: str = ""
    arm_coding: str = ""
    units: str = ""
    adjustment: tuple[str, ...] = ()
    ties: str = ""
    tau_scale: float | None = None
    mean_scale: float | None = None
    scheme: str = ""
    baseline_features: tuple[str, ...] = ()
    moderators: tuple[Moderator, ...] = ()
    min_similarity: float | None = None
    valid_from: int | None = None
    valid_until: int | None = None
    embargo_until: int | None = None
    analysis_version: str = ""
    kind: str = ""
    family: str = ""
    coefficients: tuple[str, ...] = ()
    purpose: str = ""
    answers: int | None = None
    feature_means: tuple[float, ...] = ()
    feature_scales: tuple[float, ...] = ()
    prior: str = ""
    prior_scale: float | None = None
    residual_variance: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            unset = value is None and field.name != "question"
            normal = field.default if unset else _checked(field.name, value)
            object.__setattr__(self, field.name, normal)
        if not self.question:
            raise InputError("a study needs a question", field="question")
        if self.valid_from is not None and self.valid_until is not None:  # noqa: SIM102
            if self.valid_from >= self.valid_until:
                raise InputError(
                    f"valid_until ({self.valid_until}) is not after valid_from ({self.valid_from})",
                    field="valid_until",
                    actual=self.valid_until,
                    limit=self.valid_from,
                )
        if self.kind and self.answers is None:
            object.__setattr__(self, "answers", MOST_ANSWERS)
        check_model_study(self)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of a model's features: its coefficients without the intercept."""
        return tuple(name for name in self.coefficients if name != INTERCEPT)

    @cached_property
    def id(self) -> bytes:
        """First 8 bytes of BLAKE3 over the deterministic CBOR of all fields that are set."""
        said = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in (None, "", ())
        }
        if self.moderators:
            said["moderators"] = [moderator.declared() for moderator in self.moderators]
        return blake3(encode_sorted(said)).digest(STUDY_ID_SIZE)

    @checked
    def coded(self, values: Mapping[str, float | str | None]) -> bytes:
        r"""The codes of a site's moderators, one byte each, for the outcomes that it publishes.

        Parameters
        ----------
        values
            Value of each moderator by name; what is not named, or `None`, is not known.

        Raises
        ------
        InputError
            If a name is none of the study's, or a value is outside its limits.

        Examples
        --------
        >>> import qis
        >>> latitude = qis.Moderator(name="latitude", low=0.0, high=60.0)
        >>> study = qis.Study(question="BCG | tuberculosis", moderators=(latitude,))
        >>> study.coded({"latitude": 44.0})
        b'\xba'

        """
        names = [moderator.name for moderator in self.moderators]
        for name in values:
            if name not in names:
                raise InputError(
                    f"{name!r:.60} is none of the study's moderators: {', '.join(names) or 'none'}",
                    field="moderators",
                    actual=name,
                    limit=tuple(names),
                )
        return bytes(moderator.code(values.get(moderator.name)) for moderator in self.moderators)

    @checked
    def decoded(self, codes: bytes) -> dict[str, float | str | None]:
        """The values of a site's moderators by name, from their codes; `None` if not known.

        Raises
        ------
        InputError
            If there are more or fewer codes than moderators, or one is none.

        """
        if len(codes) != len(self.moderators):
            raise InputError(
                f"{len(codes)} codes for {len(self.moderators)} moderators: study.coded(…) makes "
                "them",
                field="moderators",
                actual=len(codes),
                limit=len(self.moderators),
            )
        pairs = zip(self.moderators, codes, strict=True)
        return {moderator.name: moderator.decoded(code) for moderator, code in pairs}

    @checked
    def is_embargoed(self, now: float | datetime) -> bool:
        """True if syntheses are hidden at `now` (Unix seconds)."""
        return self.embargo_until is not None and point_in_time(now, "now") < self.embargo_until

    @checked
    def next_change(self, now: float | datetime) -> int | None:
        """The next time after `now` at which the clock alone changes what counts or what is shown.

        Both in Unix seconds; `None` if there is none.
        """
        then = point_in_time(now, "now")
        times = (self.valid_from, self.valid_until, self.embargo_until)
        return min((time for time in times if time is not None and time > then), default=None)

    @classmethod
    @checked
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a study from a TOML file whose keys are the fields of this class.

        Raises
        ------
        ConfigurationError
            If the file is missing or not TOML, or a key is unknown or has a wrong value.
        StorageError
            If the file exists and cannot be read.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import qis
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "study.toml")
        ...     lines = "question = 'a vs b'", "measure = 'OR'", "model = 'fixed'"
        ...     _ = path.write_text(chr(10).join(lines))
        ...     study = qis.Study.load(path)
        >>> study.measure, study.model
        ('OR', 'fixed')

        """
        table = read_toml(path)
        try:
            return cls(**_arguments(table, [field.name for field in fields(cls)]))
        except InputError as error:
            raise ConfigurationError(
                f"{path}: {error}", field=error.field, actual=error.actual, limit=error.limit
            ) from error

    @checked
    def save(self, path: str | PathLike[str]) -> None:
        """Write the study to a new TOML file that `load` reads; what is not set is left out.

        Raises
        ------
        StorageError
            If there is a file of that name, or it cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import qis
        >>> study = qis.Study(question="a vs b", measure="OR", model="fixed")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study.save(f"{folder}/study.toml")
        ...     print(pathlib.Path(folder, "study.toml").read_text(), end="")
        ...     qis.Study.load(f"{folder}/study.toml") == study
        question = "a vs b"
        measure = "OR"
        model = "fixed"
        True

        """
        said = {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in ("", ()) and value != field.default
        }
        said["moderators"] = [asdict(each) for each in self.moderators] or None
        text = toml_of(said)
        with opening(path, "write"), file_path(path).open("x", encoding="utf-8") as file:
            file.write(text)


def _arguments(table: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """Read the constructor's arguments from a TOML table."""
    for key in table:
        if key not in known:
            raise InputError(
                f"unknown key {key!r:.60}; a study has {', '.join(known)}",
                field=key,
                limit=tuple(known),
            )
    if "question" not in table:
        raise InputError("a study needs a question", field="question")
    return {
        key: unix_seconds(value, key) if key in _TIMES else value for key, value in table.items()
    }


_CHOICES = {
    "model": ("fixed", "random"),
    "ties": ("", "efron", "breslow"),
    "kind": ("", "model"),
    "family": ("", "logistic", "poisson", "linear", "cox"),
    "purpose": ("", "effect", "prediction"),
    "prior": ("", "normal", "log-F"),
}
_LISTS = ("adjustment", "baseline_features", "coefficients")
_NUMBERS = ("feature_means", "feature_scales")
_TIMES = ("valid_from", "valid_until", "embargo_until")
_RANGES = {
    "min_similarity": (0.0, 1.0),
    "tau_scale": (math.ulp(0.0), 1e6),
    "mean_scale": (math.ulp(0.0), 1e6),
    "prior_scale": (1e-6, 1e6),
    "residual_variance": (1e-30, 1e30),
    "feature_means": (-1e30, 1e30),
    "feature_scales": (1e-30, 1e30),
}


def _checked(name: str, value: Any) -> Any:
    """Return a field's value in its normal form, or raise `InputError`."""
    form: Callable[[str, Any], Any] = _FORMS.get(name, _text)
    return form(name, value)


def _text(name: str, value: Any) -> str:
    return normal_text(value, name, QUESTION_SIZE if name == "question" else _TEXT_SIZE)


def _chosen(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value not in _CHOICES[name]:
        raise InputError(
            f"{name} is {value!r:.60}; it is one of {', '.join(filter(None, _CHOICES[name]))}",
            field=name,
            actual=value,
            limit=_CHOICES[name],
        )
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (tuple, list)):
        raise InputError(f"{name} is a list of texts, not {value!r:.60}", field=name, actual=value)
    return tuple(normal_text(item, name, _TEXT_SIZE) for item in value)


def _measure(_: str, value: Any) -> str:
    return measure_named(value).name


def _time(name: str, value: Any) -> int:
    _require_range(name, value, int, 0, 2**32 - 1)
    return int(value)


def _number(name: str, value: Any) -> float:
    _require_range(name, value, (int, float), *_RANGES[name])
    return float(value)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (tuple, list)):
        raise InputError(f"{name} is a list of numbers, not {value!r:.60}", field=name)
    return tuple(_number(name, item) for item in value)


def _count(name: str, value: Any) -> int:
    _require_range(name, value, int, 1, MOST_ANSWERS_EVER)
    return int(value)


def _scheme_id(name: str, value: Any) -> str:
    digits = frozenset("0123456789abcdef")
    is_id = type(value) is str and len(value) == 2 * SCHEME_ID_SIZE and digits.issuperset(value)
    if not is_id and not (type(value) is str and value == ""):
        raise InputError(
            f"scheme is {value!r:.60}; it is the scheme's id, {2 * SCHEME_ID_SIZE} hexadecimal "
            "digits in small letters: scheme.id.hex()",
            field=name,
            actual=value,
        )
    return str(value)


def _require_range(name: str, value: Any, kind: Any, low: float, high: float) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            f"{name} is {value!r:.60}; it must be a number from {low} to {high}",
            field=name,
            actual=value,
            limit=(low, high),
        )


def _moderators(name: str, value: Any) -> tuple[Moderator, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_MODERATORS:
        raise InputError(
            f"moderators is {value!r:.60}; it is a list of up to {MAX_MODERATORS} Moderators",
            field=name,
            limit=MAX_MODERATORS,
        )
    found = []
    for each in value:
        if isinstance(each, dict):  # of a TOML file
            known = [field.name for field in fields(Moderator)]
            for key in each:
                if key not in known:
                    raise InputError(
                        f"unknown key {key!r:.60}; a moderator has {', '.join(known)}",
                        field=name,
                        actual=key,
                        limit=tuple(known),
                    )
            if "name" not in each:
                raise InputError("a moderator needs a name", field=name)
            found.append(Moderator(**each))
        elif isinstance(each, Moderator):
            found.append(each)
        else:
            raise InputError(
                f"moderators holds {each!r:.60}; each is a qis.Moderator", field=name, actual=each
            )
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise InputError(f"two moderators have one name: {names}", field=name, actual=names)
    return tuple(found)


_FORMS: dict[str, Callable[[str, Any], Any]] = {
    "moderators": _moderators,
    "measure": _measure,
    "scheme": _scheme_id,
    **dict.fromkeys(_CHOICES, _chosen),
    **dict.fromkeys(_LISTS, _texts),
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(_RANGES, _number),
    **dict.fromkeys(_NUMBERS, _numbers),
    "answers": _count,
}

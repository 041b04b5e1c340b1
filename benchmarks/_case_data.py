"""Two data sets in sites, and seeded splits of them into training and test people.

Four hospitals of UCI heart disease (Janosi et al. 1988, CC BY 4.0, from a folder); and 2,139 people
of ACTG 175 (Hammer et al. 1996), a trial in HIV that the package lifelines brings, dealt to
*artificial* sites by how long they had been treated before, with some noise, so that sites differ.
Centres and scales of features are constants declared beforehand, not computed from anybody's data.
"""

import csv
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SMALL = 11
FOLDS = 3
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART = {"age": (54, 9), "trestbps": (132, 18), "chol": (245, 55), "thalach": (138, 26)}
HEART |= {"oldpeak": (0.9, 1.1)}
YES_NO = ("sex", "fbs", "exang")
ACTG = {"age": (35, 9), "wtkg": (75, 13), "karnof": (95, 6), "cd40": (350, 120)}
ACTG |= {"cd80": (990, 480)}
ACTG_YES_NO = ("hemo", "homo", "drugs", "z30", "race", "symptom", "treat")
CUTS = ("none", "one", "all")
ARTICLE = (847, 612, SMALL)
ARTICLE_TESTED = (290, 210, 160)


class Site(NamedTuple):
    """People of one site: features with a first column of ones (n, p), and labels (n,)."""

    x: Floats
    y: Floats


class Split(NamedTuple):
    """People of each site by row: those trained on, the fold of each of them, and those tested."""

    train: list[Ints]
    fold: list[Ints]
    test: list[Ints]


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Parameters
    ----------
    data, name
        Data set, and what was done to its sites.
    sites
        The people.
    sizes
        Number of people trained on at each site, or `None` for two thirds.
    cut
        "none", "one" (each site in turn) or "all": cut to 11 people after the split.
    tested
        Number of people tested at each site, or `None` for all that remain.

    """

    data: str
    name: str
    sites: list[Site]
    cut: str = "none"
    sizes: tuple[int, ...] | None = None
    tested: tuple[int, ...] | None = None

    @property
    def test_over_train(self) -> float:
        """What the corrected interval needs: people tested over people trained on, before cuts."""
        if self.sizes and self.tested:
            return sum(self.tested) / sum(self.sizes)
        return 0.5

    def small_sites(self, number: int) -> list[int]:
        """The sites that have 11 people in this split."""
        count = len(self.sites)
        if self.sizes:
            return [site for site, size in enumerate(self.sizes) if size == SMALL]
        return {"none": [], "one": [number % count], "all": list(range(count))}[self.cut]

    def split(self, number: int) -> Split:
        """The split of this number, always the same."""
        rng = np.random.default_rng([2_024, number])
        train, fold, test = [], [], []
        for index, site in enumerate(self.sites):
            size = self.sizes[index] if self.sizes else round(len(site.y) * 2 / 3)
            chosen, rest = _stratified(site.y, size, rng)
            if self.tested:
                rest, _ = _stratified_of(rest, site.y, self.tested[index], rng)
            if not self.sizes and index in self.small_sites(number):
                chosen, _ = _stratified_of(chosen, site.y, SMALL, rng)
            train.append(chosen)
            test.append(rest)
            fold.append(_folds(site.y[chosen], rng))
        return Split(train, fold, test)


def _stratified(y: Floats, size: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    return _stratified_of(np.arange(len(y)), y, size, rng)


def _stratified_of(rows: Ints, y: Floats, size: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw `size` of these rows with the share of cases that they have, and the others."""
    cases = rng.permutation(rows[y[rows] == 1.0])
    others = rng.permutation(rows[y[rows] == 0.0])
    exact = size * len(cases) / len(rows)
    count = math.floor(exact + rng.random())  # right on average, whatever the size
    count = min(max(count, size - len(others)), len(cases), size)
    drawn = np.concatenate((cases[:count], others[: size - count]))
    return drawn, np.concatenate((cases[count:], others[size - count :]))


def _folds(y: Floats, rng: np.random.Generator) -> Ints:
    """A fold for each, balanced within cases and others."""
    order = np.lexsort((rng.random(len(y)), y))
    fold = np.empty(len(y), np.intp)
    fold[order] = np.arange(len(y)) % FOLDS
    return fold


def heart(folder: Path) -> list[Site]:
    """Four hospitals, 920 people, 14 columns; what is missing is central (cholesterol of 0 too)."""
    return [_hospital(folder / "synthesis" / f"heart_{name}.csv") for name in HOSPITALS]


def _hospital(path: Path) -> Site:
    rows, labels = [], []
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        value = {key: float(text) for key, text in row.items() if text != "?"}
        if value.get("chol") == 0.0:
            del value["chol"]
        numbers = [(value.get(key, c) - c) / s for key, (c, s) in HEART.items()]
        numbers += [value.get(key, 0.0) for key in YES_NO]
        numbers += [float(value.get("cp") == code) for code in (2, 3, 4)]
        numbers += [float(value.get("restecg") == code) for code in (1, 2)]
        rows.append([1.0, *numbers])
        labels.append(float(value["num"] > 0))
    return Site(np.array(rows), np.array(labels))


def actg() -> Site:
    """Everybody of ACTG 175: 13 features at entry, and whether the endpoint came."""
    spec = importlib.util.find_spec("lifelines")  # found, not imported: that takes seconds
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("lifelines is not installed; it comes with the extra [test]")
    path = Path(spec.origin).parent / "datasets" / "ACTG175.csv"
    text = path.read_text(encoding="utf-8")
    rows, labels = [], []
    for row in csv.DictReader(text.splitlines()):
        numbers = [(float(row[key]) - c) / s for key, (c, s) in ACTG.items()]
        numbers.append(math.log1p(float(row["preanti"])) / 3.0 - 1.0)
        rows.append([1.0, *numbers, *(float(row[key]) for key in ACTG_YES_NO)])
        labels.append(float(row["cens"]))
    return Site(np.array(rows), np.array(labels))


def dealt(everybody: Site, sizes: tuple[int, ...]) -> list[Site]:
    """Artificial sites: dealt by former treatment and as much noise, so that sites differ."""
    rng = np.random.default_rng(175)
    former = everybody.x[:, 6]
    order = np.argsort(former / former.std() + rng.normal(size=len(former)), kind="stable")
    ends = np.cumsum(sizes)
    parts = np.split(order[: ends[-1]], ends[:-1])
    return [Site(everybody.x[part], everybody.y[part]) for part in parts]


def heart_scenarios(folder: Path) -> list[Scenario]:
    """Four hospitals: none, one and all cut to 11."""
    hospitals = heart(folder)
    return [Scenario("heart", f"{cut} cut to 11", hospitals, cut) for cut in CUTS]


def actg_scenarios() -> list[Scenario]:
    """Four artificial sites: none, one and all cut to 11; and three as in the article."""
    everybody = actg()
    four = dealt(everybody, (850, 620, 420, 240))
    found = [Scenario("actg", f"{cut} cut to 11", four, cut) for cut in CUTS]
    pools = tuple(a + b for a, b in zip(ARTICLE, ARTICLE_TESTED, strict=True))
    # Dealt with the small site in the middle, so that it is not an extreme one.
    largest, small, second = dealt(everybody, (pools[0], pools[2], pools[1]))
    three = [largest, second, small]
    return [*found, Scenario("actg", "847/612/11", three, "none", ARTICLE, ARTICLE_TESTED)]

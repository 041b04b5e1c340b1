"""Heart disease in four hospitals: the study of a model, and each hospital's own rows.

Janosi et al. 1988, UCI Machine Learning Repository, CC BY 4.0; the files are read, not copied.
"""

import csv
from pathlib import Path

import qis

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = ("age", "sex", "cp", "trestbps", "thalach", "exang", "oldpeak")
STUDY = qis.Study(
    question="seven features | heart disease",
    kind="model",
    family="logistic",
    coefficients=("age", "sex", "chest pain", "pressure", "heart rate", "angina", "oldpeak"),
    purpose="prediction",
    feature_means=(54, 0.8, 0.5, 132, 138, 0.4, 0.9),
    feature_scales=(9.4, 0.4, 0.5, 19, 26, 0.5, 1.1),
)


def rows_of(path: Path) -> qis.ModelRows:
    """People of whom everything is known."""
    table = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    known = [row for row in table if "?" not in [row[each] for each in COLUMNS]]
    people = [[float(row[c]) if c != "cp" else row[c][0] == "4" for c in COLUMNS] for row in known]
    return qis.ModelRows(features=people, labels=[float(row["num"]) > 0 for row in known])

"""Metrics: what Prometheus' own parser reads in them, and that nothing of a packet is in them."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import qis
from qis.errors import StorageError
from qis.health import Health, HealthState
from qis.loop import LoopStatistics
from qis.models.fitted import ModelCode
from qis.site.metrics import metrics_of
from qis.transport import Statistics

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
SITE = """
[identity]
file = "key.pem"
[roster]
open = true
[scheme]
kind = "vector"
dimensions = 3
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange"
[disclosure]
allow_unkeyed = true
[loop]
approval = "none"
"""


def read(text):
    """What another's parser, which is strict, finds: {(name, labels): value}."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("state", HealthState)
def test_counters_and_health_are_read_by_prometheus(state):
    odd = 'a "quoted" \\ word\nand a line'
    done = LoopStatistics(
        published=2,
        admissions=Counter(accepted=3, duplicate=1),
        failures=Counter({odd: 4}),
    )
    found = read(
        metrics_of(
            done,
            Statistics(unmatched=5, bytes_sent=7),
            Health(state=state, since=1_800_000_000.5),
            undelivered=6,
        )
    )
    assert found["qis_published_total",] == 2
    assert found["qis_admissions_total", ("verdict", "accepted")] == 3
    assert found["qis_failures_total", ("error", odd)] == 4
    assert found["qis_transport_packets_total", ("fate", "unmatched")] == 5
    assert found["qis_transport_bytes_total", ("direction", "sent")] == 7
    assert found["qis_undelivered",] == 6
    assert found["qis_health_since_seconds",] == 1_800_000_000.5
    states = {each: found["qis_health", ("qis_health", each.value)] for each in HealthState}
    assert states == {each: float(each is state) for each in HealthState}


def test_the_parser_would_have_noticed():
    good = metrics_of(
        LoopStatistics(), Statistics(), Health(state=HealthState.OK, since=0.0), undelivered=0
    )
    for bad in (good.replace("# EOF\n", ""), good.replace("qis_published_total", "qis_published")):
        with pytest.raises(ValueError):
            read(bad)


def test_models_are_counted_by_how_far_they_are():
    study = qis.Study(
        question="age | death",
        kind="model",
        family="logistic",
        coefficients=("intercept", "age"),
        purpose="effect",
    )
    rows = qis.ModelRows(features=[[0.1], [0.4], [0.8], [0.2]], labels=[0, 1, 0, 1])
    some = qis.fit_model({"Ulm": rows.for_study(study).answer([0.0, 0.0])}, study=study)
    none = qis.fit_model({}, study=study)
    health = Health(state=HealthState.OK, since=0.0)
    found = read(
        metrics_of(LoopStatistics(), Statistics(), health, undelivered=0, models=[some, none, none])
    )
    counts = {code: found["qis_models", ("code", code)] for code in get_args(ModelCode)}
    assert counts == dict.fromkeys(get_args(ModelCode), 0) | {some.code: 1, "empty": 2}


def test_the_page_lists_every_name():
    text = metrics_of(
        LoopStatistics(), Statistics(), Health(state=HealthState.OK, since=0.0), undelivered=0
    )
    names = set(re.findall(r"^# TYPE (qis_\w+) ", text, re.MULTILINE))
    assert len(names) > 10
    assert set(re.findall(r"^\| `(qis_\w+?)(?:_total)?`", PAGE, re.MULTILINE)) == names


def test_a_site_writes_what_it_did_and_nothing_of_its_packets(tmp_path):
    qis.Identity.generate().save(tmp_path / "key.pem")
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "exchange").mkdir()
    question = "aspirin vs none | stroke"

    async def run():
        async with qis.open_site(tmp_path / "site.toml") as site:
            about = [0.2, -1.0, 0.7]
            await site.publish(
                qis.Effect(
                    question=question, measure="OR", estimate=0.1, standard_error=0.2, n=2_000
                ),
                about=about,
            )
            await site.flush(10.0)
            site.write_metrics(tmp_path / "qis.prom")
            with pytest.raises(StorageError, match="nowhere"):
                site.write_metrics(tmp_path / "nowhere" / "qis.prom")
        return site.metrics()

    closed = asyncio.run(run())
    text = (tmp_path / "qis.prom").read_text()
    found = read(text)
    assert found["qis_published_total",] == 1
    assert found["qis_events_total", ("kind", "sent")] == 1
    assert found["qis_undelivered",] == 0
    assert "aspirin" not in text
    assert read(closed)["qis_health", ("qis_health", "closed")] == 1
    assert [path.name for path in tmp_path.glob("*.prom*")] == ["qis.prom"]

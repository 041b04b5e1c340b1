"""The numbered examples run as a reader runs them: alone, in a process of their own, elsewhere."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import qis

LIBRARY = str(Path(qis.__file__).parents[1])
EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBERED = sorted(path.name for path in EXAMPLES.glob("[0-9][0-9]_*.py"))

# Lines that each example must print, in this order. The hazard ratios of the trial of interferon
# are those of statsmodels' PHReg on the same patients, stratified by hospital, to both decimals.
ESSENTIAL = {
    "01_first_packet.py": [
        "Amsterdam: 19 patients, 6 serious infections.",
        "Sent: 512 bytes, signed by",
        "Hazard ratio, interferon gamma against placebo: 0.58 [0.08, 2.97]",
        "One bit changed on the way: refused.",
    ],
    "02_two_sites.py": [
        "Texas Children's Hosp  knows of 1: hazard ratio no estimate [0.00, 1.39]",
        "knows of 2: hazard ratio 0.36 [0.05, 1.56]",
        "knows of 2: hazard ratio 0.36 [0.05, 1.56]",
    ],
    "03_nightly_batch.py": [
        "Night 1, institution  1: evidence of 1, HR 0.47 [0.12, 1.78]",
        "Night 1, institution 22: evidence of 4, HR 0.46 [0.23, 0.86]",
        "Night 2, institution  1: evidence of 4, HR 0.46 [0.23, 0.86]",
        "Night 2, institution 22: evidence of 4, HR 0.46 [0.23, 0.86]",
    ],
    "05_standing_query.py": [
        "Of 32 sites that publish, the query hears of 9:",
        "Univ. of Zurich          0.95",
    ],
    "06_retraction.py": [
        "3 sites: hazard ratio 0.43 [0.18, 0.98]",
        "2 sites: hazard ratio 0.55 [0.16, 1.68]",
        "left out, NIH: retracted. The site has withdrawn what it had published. "
        "Its reason: consent.",
    ],
    "07_disclosure.py": [
        "NIH's profile under cms: kept back, rule implied_cell, 4 where 11 is least",
        "events in the control arm: 7 (from the profile's slopes)",
        "NIH's counts: kept back, rule minimum_cell, 5 where 11 is least",
        "Suppressed is published in its place",
        "NIH's counts under datashield (3): may be released",
        "the 13 hospitals together: may be released",
        "127 of the 128: kept back, rule difference, 1 where 11 is least",
    ],
    "08_custom_transport.py": [
        "TableTransport keeps every promise that the suite checks.",
        "Two hospitals through the table: hazard ratio 0.39 [0.13, 1.05]",
    ],
    "10_hospital_c.py": [
        "For you, odds ratio [95% interval]:",
        "if no site were more like you than another:",
        "Evidence that like sites have like effects, by sketches: strong",
        "Largest weights: B ",
    ],
}
NEED_MORE = {"04_rare_disease_matching.py", "09_thousand_nodes.py", "11_heart_models.py"}
"""Those with a test of their own."""


def run(name, folder, *arguments, **environment):
    """Run an example from another folder; how it ended, and what it printed."""
    done = subprocess.run(  # noqa: S603  our own scripts
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": LIBRARY, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def require_in_order(lines, text):
    offset = 0
    for line in lines:
        found = text.find(line, offset)
        assert found >= 0, f"{line!r} is not where it should be in:\n{text}"
        offset = found + len(line)


@pytest.mark.parametrize("name", ESSENTIAL)
def test_an_example_says_what_its_readers_are_promised(name, tmp_path):
    status, said, complaints = run(name, tmp_path)
    assert (status, complaints) == (0, "")
    require_in_order(ESSENTIAL[name], said)
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


def test_the_page_shows_what_hospital_c_prints(tmp_path):
    page = (EXAMPLES.parent / "docs" / "my-site.md").read_text(encoding="utf-8")
    assert f"```text\n{run('10_hospital_c.py', tmp_path)[1]}```" in page


def test_two_sites_come_to_one_digest(tmp_path):
    said = run("02_two_sites.py", tmp_path)[1]
    digests = [line.split()[-1] for line in said.splitlines() if " digest " in line]
    assert len(digests) == 2
    assert len(set(digests)) == 1


def test_without_the_published_cases_the_matching_says_so_and_stops(tmp_path):
    status, said, complaints = run("04_rare_disease_matching.py", tmp_path, QIS_PHENOTYPES="absent")
    assert (status, said) == (1, "")
    assert complaints == (
        "The published cases are not at absent: give their folder. Nothing was run.\n"
    )


@pytest.mark.shared
def test_published_cases_find_their_own_disease(tmp_path, shared_data):
    folder = str(shared_data / "phenotypes")
    status, said, complaints = run("04_rare_disease_matching.py", tmp_path, QIS_PHENOTYPES=folder)
    assert (status, complaints) == (0, "")
    require_in_order(
        [
            "4946 published cases, Human Phenotype Ontology hp/2025-01-16.",
            "Routing reaches 1948 of them; of the 17 with the same disease, 17.",
            "Diseases of the ten most alike (the patient's is OMIM:301310):",
            "OMIM:301310: 4",
        ],
        said,
    )


@pytest.mark.shared
def test_four_hospitals_fit_one_model_over_udp(tmp_path, shared_data):
    status, said, complaints = run("11_heart_models.py", tmp_path, "--data", str(shared_data))
    assert (status, complaints) == (0, "")
    require_in_order(
        [
            "Logistic regression for prediction: 4 sites, 854 people, 465 events.",
            "Converged: these are the coefficients of all sites' rows together.",
            "  chest pain  0.7593",
            "On this site's own rows, which took part in the fit: 303 people, AUC 0.889",
            "va: On this site's own rows, which took part in the fit: 141 people, AUC 0.740",
        ],
        said,
    )


def test_a_network_of_which_a_fifth_dies_still_delivers(tmp_path):
    picture = tmp_path / "delivered.svg"
    status, said, complaints = run("09_thousand_nodes.py", tmp_path, "150", str(picture))
    assert (status, complaints) == (0, "")
    figures = dict(line.split()[:2] for line in said.splitlines() if line[:1].isalpha())
    assert (figures["nodes"], figures["alive"], figures["precision"]) == ("150", "120", "1")
    assert float(figures["recall"]) > 0.9
    assert "<svg" in picture.read_text()


def test_hospitals_say_on_screen_and_in_their_audit_logs_why_nothing_is_kept_back(tmp_path):
    status, said, complaints = run("hospital_network.py", tmp_path)
    assert (status, complaints) == (0, "")
    require_in_order(
        [
            "13 hospitals and 2 lung-cancer sites start",
            " of 15 sites are up, ",
            "Disclosure preset: none, since the trial is published.",
            "cms, would keep back the packets of 13 of 13 hospitals:",
            "minimum_n     9, such as Univ. of Utah (4, where 11 is least)",
            "minimum_cell  3, such as Scripps Institute (7, where 11 is least)",
            "implied_cell  1, such as NIH (4, where 11 is least)",
            "entries of 15 sites, each chain verified. Line 1 at Scripps Institute:",
            'configured, rule "none": the trial\'s data are published',
            "78 of 78 pairs of hospitals had each other's evidence.",
        ],
        said,
    )


def test_a_rare_harm_is_watched_over_udp_while_registries_are_killed(tmp_path):
    status, said, complaints = run("surveillance/watch.py", tmp_path, "left")
    assert (status, complaints) == (0, "")
    lines = [
        "registry-5 is killed, it comes back; its trials still count",
        "registry-3 is killed, for good; its trials still count",
        "    41  1.52 [0.99, 2.40]   [0.76, 3.04]    1.17 [0.80, 1.70]",
        "    42  1.43 [1.03, 1.98]   [0.86, 2.36]    1.22 [0.91, 1.65]",
        "The board and 4 living registries: one digest.",
        "After 42 trials the odds ratio is 1.43 [1.03, 1.98]: more infarctions.",
        "has to use [0.86, 2.36]: no harm is shown yet.",
        "With .5 in the cells it would be 1.22 [0.91, 1.65].",
    ]
    require_in_order(lines, said)
    page = (EXAMPLES.parent / "docs" / "how-to" / "zero-events.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    require_in_order([line for line in shown if line], said)
    report = (tmp_path / "left" / "report.html").read_text(encoding="utf-8")
    assert "Of 42 trials 30 have an arm without any event, and 4 of these have none" in report
    assert all(line in report for line in lines[2:4])
    assert report.count("<svg") == 2
    assert "<script" not in report
    assert "http" not in report.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


@pytest.mark.parametrize("transport", ["nats", "cloud", "folder"])
def test_hospitals_come_to_the_same_over_a_server_a_bucket_and_a_folder(transport, tmp_path):
    status, said, complaints = run("hospital_network.py", tmp_path, "--transport", transport)
    assert (status, complaints) == (0, "")
    require_in_order(
        [
            "has the\nsynthesis of all 13 again",
            "entries of 15 sites, each chain verified",
            "sum of 13 packets                                     -1.1408 [-1.842, -0.493]",
            "78 of 78 pairs of hospitals had each other's evidence.",
        ],
        said,
    )


def test_hospitals_say_on_their_deadline_who_misses_what(tmp_path, capsys, monkeypatch):
    network = runpy.run_path(str(EXAMPLES / "hospital_network.py"))
    monkeypatch.setitem(network["World"].wait_until.__globals__, "DEADLINE_S", 0.0)
    sites = {name: network["Site"](name, tmp_path) for name in ("north", "south", "east", "west")}
    running = [sys.executable, "-c", "input()"]
    try:
        for name, site in sites.items():
            command = running if name != "west" else [sys.executable, "-c", "raise SystemExit(3)"]
            site.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)  # noqa: S603
            site.address = "" if name == "east" else "address"
        sites["west"].process.wait(timeout=60)
        sites["north"].latest = {"sites": dict.fromkeys(("north", "south", "east", "west"))}
        sites["south"].latest = {"sites": dict.fromkeys(("south", "west"))}
        with pytest.raises(SystemExit) as ended:
            network["World"](sites).wait_until(lambda: False, "one synthesis", list(sites), 4)
    finally:
        for site in sites.values():
            site.process.communicate(timeout=60)
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "after 0 s: one synthesis has not come about"
    assert lines[1:4] == [
        "  south: misses east, north",
        "  east: is not up yet",
        "  west: its process has ended with status 3",
    ]


def test_a_hospitals_changed_audit_log_is_found(tmp_path):
    network = runpy.run_path(str(EXAMPLES / "hospital_network.py"))
    path = tmp_path / "audit.jsonl"
    with qis.AuditLog(path) as log:
        log.record("configured", now=1_800_000_000, rule="none", reason="published")
        log.record("emitted", now=1_800_000_000, rule="none")
    sites = {"north": network["Site"]("north", tmp_path)}
    assert 'rule "none": published' in network["audited"](sites)[-1]
    path.write_text(path.read_text().replace('"rule":"none"', '"rule":"cms"', 1))
    with pytest.raises(qis.StorageDamagedError, match="line 1"):
        network["audited"](sites)


def test_every_numbered_example_is_tested_and_short():
    assert set(NUMBERED) <= ESSENTIAL.keys() | NEED_MORE
    lengths = {name: len((EXAMPLES / name).read_text().splitlines()) for name in NUMBERED}
    assert {name: length for name, length in lengths.items() if length > 60} == {}

"""The command line: what it prints, for people and for programs, and what it ends with."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qis
from qis.command import main
from qis.command.running import parser
from qis.site import ExitCode
from qis.transport import encode_carried

ROOT = Path(__file__).parents[2]
SCHEME = qis.VectorScheme(dimensions=2)
NOW = int(time.time())


def packet(number, *, events=3, issued_at=NOW, question="a vs b | death"):
    return qis.Packet.sign(
        qis.Identity.from_seed(bytes([number]) * 32),
        outcome=qis.Counts(
            question=question, events=events, total=20, control_events=9, control_total=22
        ),
        fingerprint=SCHEME.fingerprint([0.5, -1.0]),
        issued_at=issued_at,
        lifetime_s=86_400,
    )


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "exchange"
    made.mkdir()
    for number in (1, 2, 3):
        each = packet(number, events=number)
        (made / f"{each.id.hex()}.qis").write_bytes(encode_carried(each, []))
    return made


def run(capsys, *words):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def answer(capsys, *words):
    code, out, _ = run(capsys, *words, "--json")
    return code, json.loads(out)


def test_a_packet_is_shown_from_a_file_and_from_digits(tmp_path, capsys):
    own = packet(1)
    qis.write_packets(tmp_path / "packets", [own, packet(2)])
    code, out, _ = run(capsys, "inspect", tmp_path / "packets")
    assert code == ExitCode.OK
    assert own.explain() in out
    code, values = answer(capsys, "inspect", bytes(own).hex())
    assert code == ExitCode.OK
    assert values["packets"][0]["id"] == own.id.hex()
    assert values["packets"][0]["question"] == "a vs b | death"


def test_what_is_not_shown_is_counted(tmp_path, capsys):
    qis.write_packets(tmp_path / "packets", [packet(number) for number in (1, 2, 3)])
    code, values = answer(capsys, "inspect", tmp_path / "packets", "--most", 1)
    assert (code, values["count"], values["shown"]) == (ExitCode.OK, 3, 1)
    assert (
        "2 more; show them with --most 3"
        in run(capsys, "inspect", tmp_path / "packets", "--most", 1)[1]
    )


def test_each_bad_packet_of_a_file_is_named_and_the_others_are_read(tmp_path, capsys):
    bad = bytearray(bytes(packet(2)))
    bad[-1] ^= 1
    (tmp_path / "packets").write_bytes(bytes(packet(1)) + bytes(bad) + bytes(packet(3)) + b"torn")
    for command in ("inspect", "verify"):
        code, values = answer(capsys, command, tmp_path / "packets")
        assert code == ExitCode.DATA
        assert values["count"] == 4
    assert values["valid"] == 2
    assert [each["where"].rpartition(" ")[2] for each in values["refused"]] == ["1", "3"]
    assert "4 bytes" in values["refused"][1]["error"]


def test_a_file_of_a_folder_is_checked_with_its_routing_keys(folder, capsys):
    files = sorted(folder.iterdir())
    assert run(capsys, "verify", *files)[0] == ExitCode.OK
    with files[0].open("ab") as file:
        file.write(bytes(8))
    code, values = answer(capsys, "verify", *files)
    assert (code, values["valid"]) == (ExitCode.DATA, 2)
    assert "routing keys" in values["refused"][0]["error"]


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_what_is_no_regular_file_is_named_and_blocks_nobody(folder, capsys, command):
    os.mkfifo(folder / "fifo.qis")  # opening it would wait for a writer
    (folder / "link.qis").symlink_to("/dev/zero")
    for name, what in (("fifo.qis", "a FIFO"), ("link.qis", "a symbolic link")):
        code, out, _ = run(capsys, command, folder / name)
        assert code == ExitCode.DATA
        assert what in out
    code, values = answer(capsys, "synthesise", folder, "--model", "fixed")
    assert code == ExitCode.DATA  # pooled, and said
    assert len(values["sites"]["site"]) == 3
    assert len(values["refused"]) == 2


def test_expiry_is_asked_for(tmp_path, capsys):
    qis.write_packets(tmp_path / "old", [packet(1, issued_at=NOW - 200_000)])
    assert run(capsys, "verify", tmp_path / "old")[0] == ExitCode.OK
    code, _, _ = run(capsys, "verify", "--now", tmp_path / "old")
    assert code == ExitCode.DATA


def test_nothing_is_no_proof(tmp_path, capsys):
    (tmp_path / "empty").touch()
    assert run(capsys, "verify", tmp_path / "empty")[0] == ExitCode.DATA


def test_a_folder_is_pooled_as_synthesise_does(folder, capsys):
    code, values = answer(capsys, "synthesise", folder, "--model", "fixed")
    assert code == ExitCode.OK
    packets = [packet(number, events=number) for number in (1, 2, 3)]
    expected = qis.synthesise(packets, model="fixed", now=NOW)
    assert values["estimate"] == expected.estimate
    assert (values["lower"], values["upper"]) == expected.interval
    assert values["verdicts"] == {"accepted": 3}
    code, out, _ = run(capsys, "synthesise", folder, "--model", "fixed", "--sites")
    assert expected.summary() in out
    assert "No roster was given" in out


def test_a_roster_and_newer_versions_decide_what_counts(folder, tmp_path, capsys):
    site = qis.Identity.from_seed(bytes([1]) * 32).issuer
    (tmp_path / "roster.toml").write_text(
        f'[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{site}"\n'
    )
    newer = packet(1, events=7, issued_at=NOW + 1)
    (folder / f"{newer.id.hex()}.qis").write_bytes(encode_carried(newer, []))
    code, values = answer(
        capsys, "synthesise", folder, "--model", "fixed", "--roster", tmp_path / "roster.toml"
    )
    assert code == ExitCode.OK
    assert values["sites"]["site"] == ["Ulm"]
    assert values["sites"]["events"] == [16]
    assert sum(values["verdicts"].values()) == 4


def test_of_several_studies_one_is_named(folder, capsys):
    other = packet(4, question="c vs d | stroke")
    (folder / f"{other.id.hex()}.qis").write_bytes(encode_carried(other, []))
    code, _, err = run(capsys, "synthesise", folder, "--model", "fixed")
    assert code == ExitCode.DATA
    assert "a vs b | death; c vs d | stroke" in err
    chosen = answer(capsys, "synthesise", folder, "--model", "fixed", "--study", "c vs d | stroke")
    assert len(chosen[1]["sites"]["site"]) == 1


def test_a_limit_that_is_infinite_is_a_text_in_json(tmp_path, capsys):
    nothing = packet(1, events=0)
    qis.write_packets(tmp_path / "packets", [nothing])
    code, values = answer(capsys, "synthesise", tmp_path / "packets", "--model", "fixed")
    assert code == ExitCode.OK
    assert values["lower"] == "-inf"


def test_a_key_a_roster_and_its_signature(tmp_path, capsys):
    code, made = answer(capsys, "keygen", tmp_path / "key.pem")
    assert code == ExitCode.OK
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert run(capsys, "keygen", tmp_path / "key.pem")[0] == ExitCode.CONFIGURATION
    roster = tmp_path / "roster.toml"
    roster.write_text(
        f'version = 3\n[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{made["issuer"]}"\n'
    )
    code, shown = answer(capsys, "roster", "show", roster)
    assert (shown["version"], shown["sites"][0]["name"]) == (3, "Ulm")
    assert run(capsys, "roster", "sign", roster)[0] == ExitCode.DATA
    assert run(capsys, "roster", "sign", roster, "--key", tmp_path / "key.pem")[0] == ExitCode.OK
    coordinator = qis.Identity.load(tmp_path / "key.pem").issuer
    assert qis.Roster.load(roster, coordinators=[coordinator], memory=False).sites[0].name == "Ulm"


def test_a_study_is_checked(tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text('question = "a vs b | death"\nmeasure = "OR"\nmodel = "fixed"\n')
    assert answer(capsys, "study", "check", file)[1]["id"] == qis.Study.load(file).id.hex()
    file.write_text('question = "a vs b | death"\nmeasur = "OR"\n')
    code, _, err = run(capsys, "study", "check", file)
    assert code == ExitCode.CONFIGURATION
    assert "measur" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["inspect", "no such file"], ExitCode.NO_INPUT),
        (["inspect", "."], ExitCode.DATA),
        (["inspect", "ab" * 512], ExitCode.DATA),
        (["verify", "abc" * 300], ExitCode.DATA),
        (["synthesise", "."], ExitCode.DATA),
        (["doctor", "no such.toml"], ExitCode.CONFIGURATION),
        (["inspect", "ab" * 512, "--most", "0"], ExitCode.DATA),
        (["nonsense"], 2),
        ([], 2),
        (["--version"], 0),
        (["--help"], 0),
    ],
)
def test_what_cannot_be_done_ends_with_its_code(tmp_path, monkeypatch, capsys, words, code):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *words)[0] == code


def test_an_error_is_an_object_too(capsys):
    code, values = answer(capsys, "inspect", "no such file")
    assert values["exit_code"] == code == ExitCode.NO_INPUT
    assert "no such file" in values["error"]


def test_it_runs_as_a_module_and_a_closed_pipe_is_no_traceback(tmp_path):
    qis.write_packets(tmp_path / "packets", [packet(1)] * 100)
    reading, writing = os.pipe()
    os.close(reading)
    with io.FileIO(writing, "w") as closed:
        ended = subprocess.run(  # noqa: S603  our own interpreter
            [sys.executable, "-m", "qis", "inspect", str(tmp_path / "packets")],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
    assert ended.stderr == b""
    assert ended.returncode == ExitCode.FAILED


def test_a_new_study_says_what_was_set_and_is_never_overwritten(tmp_path, capsys):
    file = tmp_path / "study.toml"
    said = (
        "question=a vs b | death", "measure=OR", "model=random", "tau_scale=0.5",
        "adjustment=age", "adjustment=sex, at birth", "valid_until=2100-01-01",
        'population=adults, "all"',
    )  # fmt: skip
    words = [word for each in said for word in ("--set", each)]
    code, values = answer(capsys, "study", "new", file, *words)
    assert code == ExitCode.OK
    found = qis.Study.load(file)
    assert found.id.hex() == values["id"]
    assert (found.tau_scale, found.adjustment) == (0.5, ("age", "sex, at birth"))
    assert (found.valid_until, found.population) == (4_102_444_800, 'adults, "all"')
    before = file.read_bytes()
    assert run(capsys, "study", "new", file, "--set", "question=other")[0] != ExitCode.OK
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ([], "question"), (["question"], "FIELD=VALUE"), (["wish=x"], "FIELD=VALUE"),
        (["question=a", "question=b"], "twice"), (["question=a", "measure=XX"], "measure"),
        (["question=a", "tau_scale=wide"], "tau_scale"), (["question="], "question"),
        (["question=a", "valid_from=soon"], "valid_from"),
    ],
)  # fmt: skip
def test_a_study_that_is_none_is_refused_and_no_file_is_made(tmp_path, capsys, said, named):
    words = [word for each in said for word in ("--set", each)]
    code, _, err = run(capsys, "study", "new", tmp_path / "study.toml", *words)
    assert code == ExitCode.DATA
    assert named in err
    assert list(tmp_path.iterdir()) == []


def test_a_new_roster_is_made_of_names_and_issuers(tmp_path, capsys):
    file = tmp_path / "roster.toml"
    issuers = [qis.Identity.from_seed(bytes([number]) * 32).issuer for number in (1, 2)]
    names = ('Ulm "Süd" = 2', "Bern")
    words = [
        word for name, issuer in zip(names, issuers, strict=True)
        for word in ("--site", f"{name}={issuer}")
    ]  # fmt: skip
    code, values = answer(capsys, "roster", "new", file, *words)
    assert (code, values["version"]) == (ExitCode.OK, 1)
    roster = qis.Roster.load(file, memory=False)
    assert [roster.name_of(issuer) for issuer in issuers] == list(names)
    for wrong in (["--site", "Ulm"], ["--site", "Ulm=abc"], [], [*words, *words[:2]]):
        code, _, err = run(capsys, "roster", "new", tmp_path / "other.toml", *wrong)
        assert code == ExitCode.DATA, err
    assert run(capsys, "roster", "new", file, *words)[0] != ExitCode.OK
    assert [each.name for each in tmp_path.iterdir()] == ["roster.toml"]


def test_a_simulation_is_the_same_for_one_seed_and_hears_its_own(capsys):
    words = ("simulate", "--nodes", 30, "--packets", 4, "--dead", 0.1)
    code, values = answer(capsys, *words)
    assert code == ExitCode.OK
    assert values["due"] > 0
    assert values["delivered"] / values["due"] > 0.9
    assert answer(capsys, *words)[1] == values
    assert answer(capsys, *words, "--seed", 2)[1] != values
    for wrong in (("--nodes", 1), ("--dead", 1.5), ("--loss", -1), ("--packets", 0)):
        code, _, err = run(capsys, "simulate", *wrong)
        assert code == ExitCode.DATA
        assert wrong[0] in err


def test_the_page_names_every_command_and_its_lines_work(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    commands = re.search(r"^  COMMAND\n((?:    .*\n)+)", capsys.readouterr().out, re.MULTILINE)
    names = re.findall(r"^    (\w+)", commands[1], re.MULTILINE)
    assert len(names) > 5
    assert set(re.findall(r"^\| `(\w+) ", page, re.MULTILINE)) == set(names)
    monkeypatch.chdir(tmp_path)
    qis.write_packets("ward.packets", [packet(number) for number in (1, 2, 3)])
    lines = re.findall(r"^\$ python -m qis (.*)$", page, re.MULTILINE)
    assert len(lines) > 4
    for line in lines:
        assert run(capsys, *line.split())[0] == ExitCode.OK, line


def test_the_page_names_every_finding_of_the_doctor():
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "qis" / "site").glob("doctor*.py"))
    assert len(files) == 3
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    codes = set(re.findall(r'wrong\(\s*"(\w+)"', source))
    assert len(codes) > 18
    assert {code for code in codes if f"`{code}`" not in page} == set()

"""Whatever a roster, study, site or key file holds: one of our errors, with the line or key.

Every key of a valid file gets every value of a grammar in turn, and every line company that the
parser did not expect; what the former reader did with these is in `benchmarks/_roster_cases.py`.
"""

import asyncio
import random
import re

import pytest

import qis
from qis.errors import DisclosureError, QISError, TransportError
from qis.evidence import RosterFile

NORTH, REGISTRY = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
STUDY = """
question = "q | r"
measure = "OR"
model = "fixed"
population = "p"
adjustment = ["age"]
ties = ""
tau_scale = 0.5
scheme = ""
baseline_features = []
min_similarity = 0.6
valid_from = 0
valid_until = 2030-01-01
embargo_until = 5
"""
ROSTER = f"""
version = 1
[[site]]
name = "north"
studies = ["{"ab" * 8}"]
shares_patients_with = ["registry"]
[[site.key]]
issuer = "{NORTH.issuer}"
valid_from = 2027-01-15T08:00:00Z
valid_until = 2027-06-01
revoked = false
[[site]]
name = "registry"
[[site.key]]
issuer = "{REGISTRY.issuer}"
"""
SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
open = false
[scheme]
kind = "vector"
dimensions = 3
bands = 24
band_bits = 5
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
min_similarity = 0.6
share_sketch = false
[transport]
kind = "directory"
path = "shared"
poll_s = 0.02
[disclosure]
preset = "cms"
[files]
evidence = "evidence.db"
outbox = "outbox.db"
audit = "audit.jsonl"
releases = "releases.jsonl"
[loop]
approval = "manual"
lifetime_days = 30
republish = false
debounce_s = 0.0
model = "fixed"
"""
NUMBERS = (
    *("0", "-1", "1", "7", "65", "1_0", "4294967296", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775808", "9" * 5000, "0x" + "f" * 5000),
    *("1.5", "-0.0", "1e308", "5e-324", "1e400", "inf", "-inf", "nan", "true", "false"),
)
TIMES = (
    *("1979-05-27", "0001-01-01", "9999-12-31", "07:32:00", "1979-05-27T07:32:00"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
)
TEXTS = (
    *('""', '"x"', '"é"', '"\\u0000"', '"a\\u0000b"', '"\\n"', '"."', '"/"', '"../../x"'),
    *(f'"{"x" * 300}"', f'"{"x" * 5000}"', '"ab"', f'"{"ab" * 32}"', f'"{"AB" * 8}"'),
    *('"127.0.0.1:99999"', '":memory:"', '"file:x"'),
)
NESTED = (
    *("[]", "[[]]", "[[1]]", "{}", "{a=1}", "[{}]", "[{a=1}]", '[1, "x"]'),
    *("[" * 15 + "]" * 15, "[" * 2000 + "]" * 2000, "{a=" * 900 + "1" + "}" * 900),
)
VALUES = (
    *NUMBERS,
    *TIMES,
    *TEXTS,
    *NESTED,
    *(f"[{value}]" for value in (*NUMBERS, *TIMES, *TEXTS) if len(value) < 400),
)
LINES = (
    "a." * 2000 + "a = 1",
    "a." * 14 + "a = 1",
    "\0",
    "\ufeff",
    "=",
    "[[",
    '"""',
    "a = 1\na = 1",
)


def variants(text):
    """(key, value, text) for every key and every value, and for every line that does not belong."""
    lines = text.strip().splitlines()
    for number, line in enumerate(lines):
        before, after = lines[:number], lines[number + 1 :]
        key = re.match(r"\[*([\w.]+)", line)[1].split(".")[-1]
        for value in VALUES:
            yield key, value, "\n".join([*before, f"{key} = {value}", *after])
        for strange in LINES:
            yield "line", strange, "\n".join([*before, strange, line, *after])


def require_one_of_ours(read, name, case, *, elsewhere=()):
    """Read, and let nothing pass but a file that is believed, or an error that says where."""
    try:
        read()
    except elsewhere:
        return 0
    except QISError as error:
        said = str(error)
    except BaseException as error:
        raise AssertionError(case) from error
    else:
        return 0
    assert name in said, (case, said)
    assert len(said) < 2_500, case
    return 1


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("study.toml", STUDY, lambda path: qis.Study.load(path).id),
        ("roster.toml", ROSTER, lambda path: qis.Roster.load(path, memory=False)),
    ],
)
def test_rosters_and_studies(tmp_path, name, text, read):
    path = tmp_path / name
    path.write_text(text)
    read(path)
    refused = 0
    for key, value, changed in variants(text):
        path.write_text(changed)
        refused += require_one_of_ours(lambda: read(path), name, (key, value[:40]))
    assert refused > 500  # and so most were understood and refused
    raw = text.replace('"p"', '"é"').replace('"registry"', '"regïstry"')
    for encoding in ("utf-16", "utf-32", "latin-1"):
        path.write_bytes(raw.encode(encoding))
        assert require_one_of_ours(lambda: read(path), name, encoding)
    path.write_text("#" * 9 * 2**20)
    assert require_one_of_ours(lambda: read(path), name, "size")
    for wrong in (tmp_path, tmp_path / "no" / name, tmp_path / ("x" * 5000), tmp_path / "a\0b"):
        assert require_one_of_ours(lambda wrong=wrong: read(wrong), str(wrong)[:5], wrong)


def test_sites(tmp_path):
    async def opened(path):
        async with qis.open_site(path):
            pass

    cases = [("", "", SITE), *random.Random(14).sample(list(variants(SITE)), 120)]
    refused = 0
    for number, (key, value, text) in enumerate(cases):
        home = tmp_path / str(number)
        (home / "shared").mkdir(parents=True)
        NORTH.save(home / "key.pem")
        (home / "secret").touch(mode=0o600)
        for file, content in (
            *(("study.toml", 'question = "q"'), ("roster.toml", ROSTER), ("secret", "ab" * 32)),
            ("site.toml", text),
        ):
            (home / file).write_text(content)
        if not key:
            asyncio.run(opened(home / "site.toml"))
            continue
        refused += require_one_of_ours(
            lambda home=home: asyncio.run(opened(home / "site.toml")),
            "site.toml",
            (key, value[:40]),
            # A rule about the interest, and a folder that cannot be made: said once it is opened.
            elsewhere=(DisclosureError, TransportError),
        )
    assert refused > 70


def test_every_roster_that_must_not_be_believed_is_refused(load_benchmark, capsys):
    found = load_benchmark("_roster_cases").figures(full=False)
    assert found["roster_faults"] == found["roster_faults_refused"] > 100
    # The former reader believed some of them: the benchmark finds faults where there are any.
    assert capsys.readouterr().out.count("refused; formerly: believed") >= 8


def test_signatures_of_a_roster(tmp_path):
    path = tmp_path / "roster.toml"
    path.write_text(ROSTER)
    rng = random.Random(15)
    for length in (0, 1, 64, 193, 400):
        for _ in range(20):
            path.with_name("roster.toml.sig").write_bytes(rng.randbytes(length))
            with pytest.raises(qis.SignatureError, match=r"roster\.toml: 0 coordinators"):
                RosterFile(path, coordinators=[NORTH.issuer])


def test_key_files(tmp_path):
    path = tmp_path / "key.pem"
    NORTH.save(path)
    content = path.read_bytes()
    rng, refused = random.Random(16), 0
    for number in range(600):
        changed = bytearray(content)
        for _ in range(1 + number % 4):
            start, end = sorted(rng.choices(range(len(content)), k=2))
            changed[start : min(end, start + 4)] = rng.randbytes(rng.randrange(3))
        path.write_bytes(changed)
        refused += require_one_of_ours(lambda: qis.Identity.load(path), "key.pem", bytes(changed))
    assert refused > 500  # a changed digit of the seed is another key

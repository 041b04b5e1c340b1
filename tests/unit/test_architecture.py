"""docs/architecture.md against the code: layers, the files and functions it names, the recipes.

Each recipe is carried out as the page says, on a copy of the package, in its own process.
"""

import ast
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from functools import cache
from itertools import chain, groupby
from pathlib import Path

import pytest

from qis import outcomes
from qis.disclosure import attacks, control
from qis.outcomes import MEASURES, Record
from qis.outcomes.measures import MEASURES_BY_CODE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CDDL = (ROOT / "docs" / "packet-format.cddl").read_text(encoding="utf-8")
IS_PATH = re.compile(r"[\w.-]+(/[\w.-]*)+|[\w-]+\.(toml|md)")


# --- what the page names --------------------------------------------------------------------


def prose(page):
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def named(page):
    """The paths that a page names, and (symbol, path): a symbol belongs to the next path."""
    paths, symbols = [], []
    for paragraph in re.split(r"\n\s*\n|\n(?=\d+\. |\|)", prose(page)):
        waiting = []
        for token in re.findall(r"`([^`]+)`", paragraph):
            if IS_PATH.fullmatch(token):
                paths.append(token)
                symbols += [(symbol, token) for symbol in waiting]
                waiting = []
            else:
                waiting.append(token)
        symbols += [(symbol, "") for symbol in waiting]
    return paths, symbols


@cache
def defined_in(path):
    """Functions and classes of a file, methods as `Class.method`."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            found |= {
                f"{node.name}.{each.name}" for each in node.body if isinstance(each, functions)
            }
    return found


def missing(page):
    paths, symbols = named(page)
    return [path for path in paths if not (ROOT / path).exists()] + [
        f"{symbol} ({path})"
        for symbol, path in symbols
        if not path.endswith(".py") or not (ROOT / path).exists() or symbol not in defined_in(path)
    ]


def test_every_file_and_function_that_the_page_names_is_there():
    paths, symbols = named(PAGE)
    assert missing(PAGE) == []
    assert len(set(paths)) > 60
    assert len(symbols) > 60


@pytest.mark.parametrize(
    "wrong",
    [
        "`qis/nowhere.py`",
        "`nothing` (`qis/health.py`)",
        "`Health.nothing` (`qis/health.py`)",
        "`Health` (`docs/clocks.md`)",
        "`Health` alone",
    ],
)
def test_what_is_not_there_is_noticed(wrong):
    assert missing(f"`Health` (`qis/health.py`)\n\n{wrong}\n") != []


def test_the_page_is_short_and_its_ways_are_numbered_without_a_gap():
    assert len(PAGE.splitlines()) <= 210
    ways = PAGE[PAGE.index("## The ways") : PAGE.index("## Recipes")].split("\n### ")[1:]
    assert len(ways) == 4
    for way in ways:
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", way, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 4


# --- floors ---------------------------------------------------------------------------------


def test_the_floors_are_the_layers_of_the_import_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (c for c in settings["tool"]["importlinter"]["contracts"] if "layers" in c)
    layers = [{name.strip("() ") for name in re.split("[|:]", each)} for each in contract["layers"]]
    rows = re.findall(r"^\| (\d+) \| `qis/(\w+)(?:/|\.py)` \| (.*\.) \|$", PAGE, re.MULTILINE)
    floors = [
        (n, {name for _, name, _ in rows}) for n, rows in groupby(rows, lambda row: int(row[0]))
    ]
    assert floors == list(enumerate(layers, 1))
    assert contract["exhaustive"]


def test_every_module_has_a_floor():
    files = [(ROOT / "qis").glob(name) for name in ("[!_]*.py", "_[!_]*.py", "__main__.py")]
    folders = (path.parent for path in (ROOT / "qis").glob("*/__init__.py"))
    children = {path.stem for path in chain(*files, folders)}
    assert children == set(re.findall(r"^\| \d+ \| `qis/(\w+)", PAGE, re.MULTILINE))


# --- recipes --------------------------------------------------------------------------------


def recipe(title):
    """Of a recipe: the file, the lines before, the lines after, of each change that it shows."""
    section = re.search(rf"^### {title}\n(.*?)(?=^### |\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]
    (block,) = re.findall(r"```diff\n(.*?)```", section, re.DOTALL)
    for change in block.split("--- ")[1:]:
        path, *lines = change.splitlines()
        assert {line[0] for line in lines} <= set(" +-")
        before, after = (
            "".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +")
        )
        yield path, before, after


class Copy:
    """A copy of the package in which a recipe is followed."""

    def __init__(self, folder):
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "qis", folder / "qis", ignore=ignored)
        (folder / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "packet-format.cddl", folder / "docs")

    def follow(self, title, *, but=""):
        for path, before, after in recipe(title):
            if path != but:
                text = (self.folder / path).read_text(encoding="utf-8")
                assert text.count(before) == 1, f"{path} has no single {before!r}"
                self.write(path, text.replace(before, after))

    def write(self, path, text):
        (self.folder / path).write_text(textwrap.dedent(text), encoding="utf-8")

    def says(self, code):
        ran = subprocess.run(  # noqa: S603  our own interpreter
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()


@pytest.fixture
def copied(tmp_path):
    return Copy(tmp_path)


def test_a_measure_is_added_as_the_page_says(copied):
    code = """
    import qis
    assert qis.__file__.startswith(__import__("os").getcwd())
    scheme = qis.VectorScheme(dimensions=3)
    packets = [
        qis.Packet.sign(
            qis.Identity.from_seed(bytes([number]) * 32),
            outcome=qis.Effect(question="q", measure="AS", estimate=estimate, standard_error=0.1),
            fingerprint=scheme.fingerprint([1.0, 0.0, 0.0]), issued_at=10**9, lifetime_s=100,
        )
        for number, estimate in ((1, 0.1), (2, 0.3))
    ]
    read = [qis.Packet.parse(bytes(packet)) for packet in packets]
    assert read == packets
    found = qis.synthesise(read, model="fixed")
    assert "Arcsine risk difference (AS)" in found.explain(), found.explain()
    assert "arcsine risk difference" in packets[0]._repr_html_(), packets[0]._repr_html_()
    assert "<svg" in found._repr_html_(), found._repr_html_()
    print(round(found.estimate, 6), round(found.standard_error, 6))
    """
    with pytest.raises(AssertionError, match="measure is 'AS', none that is known"):
        copied.says(code)
    copied.follow("A measure")
    assert copied.says(code) == ["0.2", "0.070711"]


def test_the_grammar_has_the_codes_of_the_measures_and_kinds():
    assert set(MEASURES_BY_CODE) == set(range(1, len(MEASURES) + 1))
    assert f"\nmeasure = 1..{len(MEASURES)}\n" in CDDL
    kinds = {int(kind) for kind in re.findall(r"^ +2 => (\d+), 4 =>", CDDL, re.MULTILINE)}
    assert kinds == {cls.kind for cls in kinds_of_outcome()}


TALLY = '''
    """People who were asked, and nothing more."""

    from dataclasses import dataclass
    from typing import ClassVar

    from qis.outcomes._base import KEY_N, Outcome, check_count, common_fields


    @dataclass(frozen=True, slots=True, kw_only=True)
    class Tally(Outcome):
        kind: ClassVar[int] = 13
        n: int

        def __post_init__(self, study):
            Outcome.__post_init__(self, study)
            check_count(self.n, "n", 1)

        def body(self):
            return Outcome.body(self) | {KEY_N: self.n}

        @classmethod
        def from_body(cls, body):
            return cls(**common_fields(body), n=body[KEY_N])
'''
USE_TALLY = """
    import qis
    from qis.outcomes import Tally
    def rule(n):
        try:
            qis.Disclosure.preset("cms").check(Tally(question="q", n=n))
        except qis.DisclosureError as error:
            return error.field
    packet = qis.Packet.sign(
        qis.Identity.from_seed(bytes(32)), outcome=Tally(question="q", n=400),
        fingerprint=qis.VectorScheme(dimensions=3).fingerprint([1.0, 0.0, 0.0]),
        issued_at=10**9, lifetime_s=100,
    )
    assert qis.Packet.parse(bytes(packet)).outcome == Tally(question="q", n=400)
    store = qis.MemoryStore(roster=qis.Roster.open())
    assert store.add(packet, now=10**9).changes_evidence
    found = qis.synthesise(store.review("q", now=10**9), model="fixed")
    print(rule(400), rule(5), found.estimate, len(found.excluded))
"""


def test_a_kind_is_added_as_the_page_says(copied):
    copied.follow("A kind of outcome")
    copied.write("qis/outcomes/tally.py", TALLY)
    assert copied.says(USE_TALLY) == ["None", "minimum_n", "None", "1"]


def test_a_kind_that_the_disclosure_rules_have_not_heard_of_does_not_leave(copied):
    copied.follow("A kind of outcome", but="qis/disclosure/attacks.py")
    copied.write("qis/outcomes/tally.py", TALLY)
    assert copied.says(USE_TALLY) == ["kind", "kind", "None", "1"]


def kinds_of_outcome():
    return [outcomes._class_of(kind) for kind in outcomes._KINDS]


def test_of_every_kind_the_disclosure_rules_know_what_it_shows():
    known = (*attacks._ATTACKS, *control._WITHOUT_PATIENTS, Record)
    assert {cls for cls in kinds_of_outcome() if not issubclass(cls, known)} == set()


BOARD = '''
    """Packets on a board that all transports of one process share."""

    import time
    from contextlib import asynccontextmanager

    from qis.errors import TransportError
    from qis.transport.reception import Reception, Verdict
    from qis.transport.base import Statistics, Transport, require_signed_keys

    BOARDS = {}


    class BoardTransport(Transport):
        def __init__(self, name, roster):
            self._posts, self._members = BOARDS.setdefault(name, ([], []))
            self._members.append(self)
            self._read = 0
            self._statistics = Statistics()
            self._reception = Reception(roster, self._statistics, notices=self.notices)
            self._reception.on_room = self._look

        @property
        def is_open(self):
            return self in self._members

        @property
        def statistics(self):
            return self._statistics

        async def publish(self, packet, routing_keys):
            if not self.is_open:
                raise TransportError("the transport is closed")
            keys = require_signed_keys(packet, routing_keys)
            self._reception.hold(packet, keys)
            self._statistics.published += 1
            self._posts.append((bytes(packet), keys))
            for member in self._members:
                member._look()

        @asynccontextmanager
        async def subscribe(self, interest, *, name="", memory=b""):
            self._look()
            with self._reception.inbox(interest, now=time.time()) as inbox:
                yield inbox

        def believe(self, roster):
            self._reception.roster = roster

        async def aclose(self):
            if self.is_open:
                self._members.remove(self)
                self._reception.close()

        def _look(self):
            for data, keys in self._posts[self._read :]:
                if self._reception.receive(data, keys, hops=1, now=time.time()) is Verdict.FULL:
                    return
                self._read += 1
'''
USE_BOARD = """
    import asyncio
    from contextlib import asynccontextmanager
    from itertools import count
    import qis
    from qis.testing import check_transport
    from qis.transport.board import BoardTransport

    numbers = count()

    @asynccontextmanager
    async def network(identities):
        name = str(next(numbers))
        yield [BoardTransport(name, qis.Roster.open()) for _ in identities]

    async def scenario():
        await check_transport(network)
        open("secret", "x").write("ab" * 32)
        __import__("os").chmod("secret", 0o600)
        qis.Identity.generate().save("key.pem")
        open("site.toml", "x").write('''
            [identity]
            file = "key.pem"
            [roster]
            open = true
            [scheme]
            kind = "vector"
            dimensions = 3
            secret_file = "secret"
            [interest]
            features = [0.2, -1.0, 0.7]
            people = 0
            [transport]
            kind = "board"
            name = "shared"
            [loop]
            approval = "none"
        ''')
        other = BoardTransport("shared", qis.Roster.open())
        interest = qis.VectorScheme(3, secret=bytes.fromhex("ab" * 32)).interest([0.2, -1.0, 0.7])
        effect = qis.Effect(question="q", measure="OR", estimate=-0.3, standard_error=0.2, n=400)
        async with qis.open_site("site.toml") as loop, other.subscribe(interest) as deliveries:
            await loop.publish(effect, about=[0.2, -1.0, 0.7])
            async with asyncio.timeout(20):
                async for delivery in deliveries:
                    assert delivery.packet.outcome == effect
                    break
            print(await loop.flush(20))

    asyncio.run(scenario())
"""


def test_a_transport_is_added_as_the_page_says(copied):
    copied.follow("A transport")
    copied.write("qis/transport/board.py", BOARD)
    assert copied.says(USE_BOARD) == ["True"]


def test_a_preset_is_added_as_the_page_says(copied):
    code = """
    import qis
    def passes(n):
        outcome = qis.Moments(question="q", total=n, mean=1.0, ss=3.0)
        try:
            qis.Disclosure.preset("house").check(outcome)
        except qis.DisclosureError as error:
            assert "docs/architecture.md" in str(error)
            return False
        return True
    print(passes(19), passes(20))
    """
    with pytest.raises(AssertionError, match="is 'house', no preset"):
        copied.says(code)
    copied.follow("A disclosure preset")
    assert copied.says(code) == ["False", "True"]

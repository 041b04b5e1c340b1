"""Every kind of scheme, transport and roster that a site's file can name, with each of its keys."""

import asyncio

import pytest

import qis
from qis.errors import ConfigurationError, KeyFileError, SignatureError
from qis.evidence import sign_roster
from qis.fingerprint import Ontology
from qis.fingerprint.levels import LoadBudget
from qis.site import opening, parts
from qis.site.table import read

IDENTITY = qis.Identity.from_seed(bytes(range(32)))
COORDINATORS = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
OBO = """format-version: 1.2
data-version: t/releases/2026-01-01/t.obo
ontology: t

""" + "".join(
    f"[Term]\nid: T:{n}\nname: term {n}\n" + (f"is_a: T:{n // 2}\n" if n > 1 else "") + "\n"
    for n in range(1, 16)
)
ANNOTATIONS = "database_id\tqualifier\thpo_id\tfrequency\taspect\n" + "".join(
    f"OMIM:{n % 5}\t\tT:{n}\t\tP\n" for n in range(1, 16)
)


@pytest.fixture
def site(tmp_path):
    """Makes the outermost table of a file with this text."""
    (tmp_path / "t.obo").write_text(OBO)
    (tmp_path / "shared").mkdir()

    def of(text):
        path = tmp_path / "site.toml"
        path.write_text(text)
        return read(path, opening.TABLES)

    return of


def ontology(site_folder, **options):
    return Ontology.from_obo(site_folder / "t.obo", **options)


def terms(folder, *, budget=1.5, target=4.0, **options):
    levels = list(qis.TermScheme(ontology(folder, **options)).levels)
    levels[0] = LoadBudget(budget, target)
    return qis.TermScheme(ontology(folder, **options), levels=levels[:1])


WITH_CELLS = 'ontology = "t.obo"\nannotations = "t.tsv"\ncells = 2'
SAVED_CELLS = 'ontology = "t.obo"\nannotations = "t.tsv"\ncells_file = "t.cells"'
CELLS_DIGEST = "c6e6f0ea3d184671020cf67c51918a5d"


def cells_in(folder):
    of = ontology(folder, annotations=folder / "t.tsv")
    return of, qis.build_cells(of, folder / "t.tsv", source="t.tsv", count=2)


def with_cells(folder, *others, keys=12):
    of, cells = cells_in(folder)
    assert cells.digest.hex() == CELLS_DIGEST
    return qis.TermScheme(of, levels=[qis.NearestCells(cells, keys), *others])


def test_cells_that_are_not_the_ones_agreed_on_are_told(site, tmp_path):
    (tmp_path / "t.tsv").write_text(ANNOTATIONS)
    for digest, says in (("ab" * 16, "nobody would be met"), ("xyz", "hexadecimal")):
        for cells in (WITH_CELLS, SAVED_CELLS):
            text = f'[scheme]\nkind = "term"\n{cells}\ncells_digest = "{digest}"'
            table = site(text)
            cells_in(tmp_path)[1].save(tmp_path / "t.cells")
            with pytest.raises(ConfigurationError, match=says):
                parts.scheme_of(table)


# Kind of scheme: its lines, what they mean in Python, and for each further key another value.
SCHEMES = {
    "vector": (
        "dimensions = 3",
        lambda _: qis.VectorScheme(3),
        {
            "dimensions = 4": lambda _: qis.VectorScheme(4),
            "dimensions = 3\nbands = 12": lambda _: qis.VectorScheme(3, bands=12),
            "dimensions = 3\nband_bits = 6": lambda _: qis.VectorScheme(3, band_bits=6),
            "dimensions = 3\ncentre = [1, 2.5, 3]": lambda _: qis.VectorScheme(
                3, centre=[1.0, 2.5, 3.0]
            ),
            "dimensions = 3\nscale = [1, 2.5, 3]": lambda _: qis.VectorScheme(
                3, scale=[1.0, 2.5, 3.0]
            ),
        },
    ),
    "set": (
        "",
        lambda _: qis.SetScheme(),
        {
            "bands = 12": lambda _: qis.SetScheme(bands=12),
            "rows = 1": lambda _: qis.SetScheme(rows=1),
        },
    ),
    "term": (
        'ontology = "t.obo"',
        terms,
        {
            'ontology = "t.obo"\nbudget = 3.0': lambda folder: terms(folder, budget=3.0),
            'ontology = "t.obo"\ntarget_information = 2.0': lambda folder: terms(
                folder, target=2.0
            ),
            'ontology = "t.obo"\nannotations = "t.tsv"': lambda folder: terms(
                folder, annotations=folder / "t.tsv"
            ),
            f"{WITH_CELLS}": with_cells,
            SAVED_CELLS: with_cells,
            f"{WITH_CELLS}\ncell_keys = 1": lambda folder: with_cells(folder, keys=1),
            f'{WITH_CELLS}\ncells_digest = "{CELLS_DIGEST}"\nbudget = 3.0': lambda folder: (
                with_cells(folder, LoadBudget(3.0, 4.0))
            ),
        },
    ),
}


def said(scheme):
    """The scheme's id, and the levels of its keys, which are no part of it."""
    return scheme.id, repr(getattr(scheme, "levels", ()))


@pytest.mark.parametrize("kind", parts._SCHEMES)
def test_each_kind_of_scheme_is_made_with_each_of_its_keys(kind, site, tmp_path):
    (tmp_path / "t.tsv").write_text(ANNOTATIONS)
    cells_in(tmp_path)[1].save(tmp_path / "t.cells")
    lines, made, others = SCHEMES[kind]
    plain = parts.scheme_of(site(f'[scheme]\nkind = "{kind}"\n{lines}'))
    assert said(plain) == said(made(tmp_path))
    for text, other in others.items():
        scheme = parts.scheme_of(site(f'[scheme]\nkind = "{kind}"\n{text}'))
        assert said(scheme) == said(other(tmp_path)), text
        if "annotations" not in text:  # information is no part of the id
            assert said(scheme) != said(plain), text
    told = {line.partition(" ")[0] for text in (lines, *others) for line in text.splitlines()}
    assert told == set(parts._SCHEMES[kind][1])
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("ab" * 32)
    text = f'[scheme]\nkind = "{kind}"\n{lines}\nsecret_file = "secret"'
    assert parts.scheme_of(site(text)).id != plain.id
    with pytest.raises(ConfigurationError, match="is unknown"):
        parts.scheme_of(site(f'[scheme]\nkind = "{kind}"\n{lines}\npoll_s = 1.0'))


def udp(site, *lines):
    table = site("\n".join(("[transport]", 'kind = "udp"', *lines)))
    return parts.transport_of(table, IDENTITY, qis.Roster.open())


def test_a_node_on_udp_binds_bootstraps_and_remembers_as_the_file_says(site, tmp_path):
    async def scenario():
        async with udp(site, 'bind = "127.0.0.1:0"') as first:
            second = udp(site, f'bootstrap = ["{first.address}"]', 'cache = "peers"')
            second._identity = qis.Identity.from_seed(bytes(32))
            async with second:
                await asyncio.wait_for(until_known(second), 20)
                assert second.address.partition("@")[2].startswith("127.0.0.1:")
            assert str(IDENTITY.issuer) in (tmp_path / "peers").read_text()

    async def until_known(node):
        while not len(node._node.table):  # noqa: ASYNC110  the table tells nobody
            await asyncio.sleep(0)

    asyncio.run(scenario())
    forwarded = udp(site, 'bind = "0.0.0.0:0"', 'advertise = "192.0.2.1:7000"')
    assert forwarded._bind == ("0.0.0.0", 0)  # noqa: S104  the test binds nothing
    assert forwarded._advertise == ("192.0.2.1", 7000)
    six = udp(site, 'bind = "[::1]:7000"')
    assert six._bind == ("::1", 7000)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('bind = "127.0.0.1"', r"\[transport\] bind is '127.0.0.1'; it is host:port"),
        ('bind = ":7000"', "host:port"),
        ('bind = "127.0.0.1:http"', "host:port"),
        ('bind = "0.0.0.0:0"', "advertise"),
        ('bootstrap = ["north"]', "key@host:port"),
        ("bootstrap = [7]", "each item a text"),
        ("poll_s = 1.0", "poll_s is unknown"),
    ],
)
def test_wrong_addresses_are_named_with_the_table_and_key(site, line, says):
    with pytest.raises(ConfigurationError, match=says):
        udp(site, line)


def test_a_folder_is_polled_as_often_as_the_file_says(site, tmp_path):
    table = site('[transport]\nkind = "directory"\npath = "shared"\npoll_s = 7')
    transport = parts.transport_of(table, IDENTITY, qis.Roster.open())
    assert transport._poll_s == 7.0
    assert transport.path == tmp_path / "shared"


def nats(site, *lines):
    table = site("\n".join(("[transport]", 'kind = "nats"', *lines)))
    return parts.transport_of(table, IDENTITY, qis.Roster.open())


NATS_LINES = {
    "domain": 'domain = "cgd"',
    "by_study": "by_study = true",
    "proxy": 'proxy = "http://proxy.example.org:3128"',
    "jetstream_domain": 'jetstream_domain = "hub"',
    "credentials": 'credentials = "north.creds"',
}


def test_a_site_on_nats_is_made_as_the_file_says(site, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("ab" * 32)
    (tmp_path / "north.creds").write_text("-----BEGIN NATS USER JWT-----")
    servers = 'servers = ["tls://nats.example.org:443"]'
    made = nats(site, servers, 'secret_file = "secret"', *NATS_LINES.values())
    assert made._servers == ["tls://nats.example.org:443"]
    assert made.names.domain == "cgd"
    assert made._by_study
    assert made._api == "$JS.hub.API"
    assert made._connection._proxy.url == "http://proxy.example.org:3128"
    assert made._connection._options == {"user_credentials": str(tmp_path / "north.creds")}
    (tmp_path / "north.creds").write_text(
        "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY"
    )
    seed = nats(site, servers, "clear = true", 'credentials = "north.creds"')
    assert seed._connection._options == {"nkeys_seed": str(tmp_path / "north.creds")}
    assert seed._seal is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "at least one server|secret="),
        (('servers = ["tls://h:1"]',), "clear=True"),
        (('servers = ["http://h:1"]', "clear = true"), "tls://host:port"),
        (('servers = ["tls://h:1"]', "clear = true", 'ca = "missing.pem"'), "cannot be used"),
        (('servers = ["tls://h:1"]', "clear = true", 'key = "k.pem"'), "belong together"),
        (('servers = ["tls://h:1"]', "clear = true", 'credentials = "no"'), "No such file"),
    ],
)
def test_what_is_wrong_with_a_site_on_nats_is_named(site, lines, says):
    with pytest.raises((ConfigurationError, KeyFileError), match=says):
        nats(site, *lines)


def cloud(site, *lines):
    table = site("\n".join(("[transport]", 'kind = "cloud"', *lines)))
    return parts.transport_of(table, IDENTITY, qis.Roster.open())


def test_a_site_in_the_cloud_is_made_as_the_file_says(site, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("ab" * 32)
    url = 'url = "memory://bucket/folder"'
    made = cloud(site, url, 'secret_file = "secret"', "poll_s = 7", 'seen = "read.db"')
    assert (made.url, made._poll_s) == ("memory://bucket/folder", 7.0)
    assert made._seen == str(tmp_path / "read.db")
    assert made._seal is not None
    assert cloud(site, url, "clear = true")._seen == str(tmp_path / "seen.db")
    with pytest.raises(ConfigurationError, match="clear=True"):
        cloud(site, url)


def test_every_kind_of_transport_has_a_test_here():
    assert set(parts._TRANSPORTS) == {"udp", "directory", "nats", "cloud"}
    assert set(parts._TRANSPORTS["cloud"][1]) == {"url", "secret_file", "clear", "seen", "poll_s"}
    assert set(parts._TRANSPORTS["nats"][1]) == {
        *("servers", "secret_file", "clear", "ca", "certificate", "key"),
        *NATS_LINES,
    }
    assert set(parts._TRANSPORTS["udp"][1]) == {"bind", "advertise", "bootstrap", "cache"}
    assert set(parts._TRANSPORTS["directory"][1]) == {"path", "poll_s"}


def test_a_roster_of_coordinators_needs_their_signatures(site, tmp_path):
    roster = tmp_path / "roster.toml"
    roster.write_text(
        f'version = 1\n[[site]]\nname = "north"\n[[site.key]]\nissuer = "{IDENTITY.issuer}"\n'
    )
    keys = ", ".join(f'"{each.issuer}"' for each in COORDINATORS)
    text = f'[roster]\nfile = "roster.toml"\ncoordinators = [{keys}]\n'
    sign_roster(roster, IDENTITY)
    with pytest.raises(ConfigurationError, match="coordinators") as caught:
        parts.roster_of(site(text))
    assert isinstance(caught.value.__cause__, SignatureError)
    sign_roster(roster, COORDINATORS[0])
    assert parts.roster_of(site(text)).roster.sites[0].name == "north"
    with pytest.raises(ConfigurationError, match="1 coordinators"):
        parts.roster_of(site(text + "needed = 2"))
    sign_roster(roster, COORDINATORS[1])
    assert parts.roster_of(site(text + "needed = 2")).roster.sites[0].name == "north"
    with pytest.raises(ConfigurationError, match="3 coordinators"):
        parts.roster_of(site(text + "needed = 4"))
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        parts.roster_of(site(text.replace(keys, '"ab"')))
    assert parts.roster_of(site("[roster]\nopen = true")).accepts(COORDINATORS[2].issuer)


def test_an_interest_takes_what_the_file_says_else_the_threshold_of_the_studies(site):
    scheme = qis.VectorScheme(3)
    studies = (qis.Study(question="a vs b | c", min_similarity=0.7),)
    base = "[interest]\nfeatures = [0.2, -1, 0.7]\n"

    def interest(lines="", of=studies):
        return parts.interest_of(site(base + lines), scheme, of)

    assert interest()[0].min_similarity == 0.7
    assert interest()[1] is None
    assert interest("people = 40")[1] == 40
    assert interest("min_similarity = 0.3")[0].min_similarity == 0.3
    assert interest("share_sketch = true")[0].share_sketch
    assert not interest("share_sketch = false")[0].share_sketch
    wide, narrow = (interest(f"top_fraction = {each}")[0] for each in (0.5, 0.01))
    assert wide.min_similarity < narrow.min_similarity
    others = (*studies, qis.Study(question="d vs e | f", min_similarity=0.8))
    default = scheme.interest([0.2, -1.0, 0.7]).min_similarity
    assert interest(of=others)[0].min_similarity == default  # they disagree
    assert interest(of=())[0].min_similarity == default


def test_disclosure_presets_and_unkeyed_schemes_are_said_in_the_file(site):
    for preset in ("cms", "acro", "ohdsi", "datashield", "nhs", "none"):
        found = parts.disclosure_of(site(f'[disclosure]\npreset = "{preset}"'), None)
        assert found.rules.name == preset
    assert parts.disclosure_of(site(""), None).rules.name == "cms"
    assert parts.disclosure_of(site(""), None).rules.keyed_schemes
    assert not parts.disclosure_of(
        site("[disclosure]\nallow_unkeyed = true"), None
    ).rules.keyed_schemes

"""docs/transports.md's configuration as written; certificates, proxies and leaf nodes."""

import asyncio
import base64
import datetime as dt
import ipaddress
import json
import re
import secrets
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats
import nkeys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import qis
from qis.errors import TransportError
from qis.testing import NATSServer, VirtualClock
from qis.transport.nats import NATSTransport
from qis.transport.nats.options import options_of
from qis.transport.nats.questions import DeniedError
from tests._builders import effect, signed

PAGE = (Path(__file__).parents[2] / "docs" / "transports.md").read_text(encoding="utf-8")
SECRET = bytes(range(32))
NOW = 1_800_000_000
SCHEME = qis.VectorScheme(dimensions=4)
ABOUT = [1.0, 0.5, -0.2, 0.1]
INTEREST = SCHEME.interest(ABOUT)
KEYS = tuple(SCHEME.routing_keys(ABOUT))
SITES = [qis.Identity.from_seed(bytes([number]) * 32) for number in range(1, 4)]
WITHIN_S = 60.0


def block(language, begins):
    """A block of the page, by its language and how it begins."""
    found = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
        if text.startswith(begins)
    ]
    (text,) = found
    return text


def on_loopback(config):
    """The page's file with any free port of loopback in place of the page's ports."""
    return re.sub(r'listen: "[0-9.]+:\d+"', 'listen: "127.0.0.1:-1"', config)


def run(scenario):
    async def limited():
        async with asyncio.timeout(WITHIN_S):
            await scenario

    asyncio.run(limited())


def packet(question="q", identity=SITES[0]):
    return signed(identity, effect(-0.3, question=question), scheme=SCHEME, about=ABOUT, at=NOW)


# --- certificates and nkeys ----------------------------------------------------------------------


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.write(name, self.key, self._signed(self.name, self.key, ca=True))

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.write(name, key, self._signed(subject, key, ca=False))

    def write(self, name, key, certificate):
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}-key.pem").write_bytes(private)

    def _signed(self, subject, key, *, ca):
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        return built.sign(self.key, hashes.SHA256())


def nkey(folder, name):
    """Write a user's seed; returns the public nkey."""
    encoded = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    (folder / f"{name}.nk").write_bytes(encoded)
    return nkeys.from_seed(bytearray(encoded)).public_key.decode("ascii")


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """The page's server, started in a folder with what the page says lies there."""
    folder = tmp_path_factory.mktemp("operator")
    authority = Authority(folder)
    for name in ("server", "north", "south", "operator"):
        authority.issue(name)
    public = {name: nkey(folder, name) for name in ("operator", "north", "south")}
    scope = {}
    exec(block("python", "import json"), scope)  # noqa: S102  the page's own code
    sites = [(public["north"], SITES[0].issuer), (public["south"], SITES[1].issuer)]
    users = scope["users"](SECRET, sites, public["operator"])
    (folder / "users.conf").write_text(users)
    exec(block("python", "import nats"), scope)  # noqa: S102
    config = on_loopback(block("text", "server_name: consortium"))
    with NATSServer(folder, config) as server:
        options = {"tls": context_of(folder, "operator"), **seed_of(folder, "operator")}
        asyncio.run(scope["make_stream"](url_of(server), **options))
        yield server


def url_of(server):
    return server.url.replace("nats://", "tls://")


def context_of(folder, name):
    options = options_of(
        ca=folder / "ca.pem",
        certificate=folder / f"{name}.pem",
        key=folder / f"{name}-key.pem",
    )
    return options["tls"]


def seed_of(folder, name):
    return options_of(credentials=folder / f"{name}.nk")


def on(server, number, *, url=None, **options):
    name = ("north", "south")[number]
    folder = server.folder
    account = {"tls": context_of(folder, name), **seed_of(folder, name)}
    account |= options.pop("options", {})
    return NATSTransport(
        url or url_of(server),
        SITES[number],
        roster=qis.Roster.open(),
        secret=SECRET,
        clock=VirtualClock(NOW),
        jetstream_domain="hub",
        options={key: value for key, value in account.items() if value is not None},
        **options,
    )


async def exchange(north, south, question):
    """A packet from north to south, read under the name that the page allows."""
    async with (
        north,
        south,
        south.subscribe(INTEREST, name="interest-1", memory=b"m") as deliveries,
    ):
        await north.publish(packet(question), KEYS)
        async for delivery in deliveries:
            await delivery.done()
            if delivery.packet == packet(question):
                return


def test_the_operators_configuration_starts_and_serves_as_written(operator):
    async def scenario():
        north, south = on(operator, 0), on(operator, 1)
        await exchange(north, south, "as written")
        async with on(operator, 0) as north:
            assert north.health.reasons == ()  # the page's stream lacks nothing
            with pytest.raises(DeniedError):
                await north.publish(packet("another's", SITES[1]), KEYS)

    run(scenario())


def test_a_certificate_that_nobody_vouches_for_is_refused_and_named(operator, tmp_path):
    other = Authority(tmp_path)
    other.issue("north")

    async def scenario():
        stranger = context_of(operator.folder, "north")
        stranger.load_cert_chain(tmp_path / "north.pem", tmp_path / "north-key.pem")
        for context, said in (
            (ssl.create_default_context(), "its certificate is not accepted"),
            (stranger, "no connection to a NATS server"),
        ):
            with pytest.raises(TransportError, match=said):
                async with on(operator, 0, options={"tls": context}):
                    pass
        with pytest.raises(TransportError, match="no connection"):
            async with on(operator, 0, options={"nkeys_seed": None}):  # no account
                pass

    run(scenario())


def test_a_revoked_permission_is_told_while_the_site_runs(operator):
    users = operator.folder / "users.conf"
    before = users.read_text()

    async def scenario():
        async with on(operator, 0) as north:
            told = []
            north.notices.listen(told.append)
            await north.publish(packet("before"), KEYS)
            listed = json.loads(before.removeprefix("users: "))
            listed[1]["permissions"]["publish"]["allow"][0] = "elsewhere.>"
            users.write_text("users: " + json.dumps(listed))
            operator.reload()
            try:
                while True:  # until the server has read it
                    await asyncio.sleep(0)
                    try:
                        await north.publish(packet("after"), KEYS)
                    except TransportError as error:
                        if isinstance(error, DeniedError):
                            break
            finally:
                users.write_text(before)
                operator.reload()
            assert "denied" in {reason.code for reason in north.health.reasons}
            while True:
                try:
                    await north.publish(packet("given back"), KEYS)
                except TransportError:
                    await asyncio.sleep(0)
                else:
                    break
            assert "denied" not in {reason.code for reason in north.health.reasons}

    run(scenario())


def test_a_leaf_node_starts_as_written_and_carries_both_ways(operator):
    folder = operator.folder / "leaf"
    folder.mkdir()
    for path in operator.folder.glob("*.*"):
        if path.suffix in {".pem", ".conf", ".nk"}:
            (folder / path.name).write_bytes(path.read_bytes())
    config = on_loopback(block("text", "server_name: north"))
    port = operator.ports["leafnode"]
    config = config.replace("nats.example.org:7422", f"127.0.0.1:{port}")
    with NATSServer(folder, config) as leaf:
        options = {"tls": None}

        async def scenario():
            while True:  # until the leaf has found its server
                try:
                    async with on(operator, 0, url=leaf.url, options=options):
                        break
                except TransportError:
                    await asyncio.sleep(0)
            inside = on(operator, 0, url=leaf.url, options=options)
            await exchange(inside, on(operator, 1), "from the leaf")

        run(scenario())


# --- through a proxy -----------------------------------------------------------------------------


class ConnectProxy:
    """An HTTP proxy on loopback that allows CONNECT, with an account if it is given one."""

    def __init__(self, account=""):
        self.account = base64.b64encode(account.encode()).decode() if account else ""
        self.targets, self.carried = [], bytearray()
        self.writers, self.serving = [], set()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield f"127.0.0.1:{port}"
            server.close()
            for writer in self.writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
            if self.serving:
                await asyncio.wait(self.serving)
            for _ in range(10):  # aiohttp closes what it had on TLS a little later
                await asyncio.sleep(0)

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        self.writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        verb, target, _ = head.partition("\r\n")[0].split(" ")
        if self.account and f"Proxy-Authorization: Basic {self.account}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            return
        assert verb == "CONNECT"
        self.targets.append(target)
        host, _, port = target.rpartition(":")
        there, away = await asyncio.open_connection(host, int(port))
        self.writers.append(away)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self.pipe(reader, away), self.pipe(there, writer))

    async def pipe(self, reader, writer):
        try:
            while data := await reader.read(65_536):
                self.carried += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def test_all_of_it_goes_through_the_proxy_and_tls_inside(operator):
    async def scenario():
        proxy = ConnectProxy("north:pa ss")
        async with proxy.running() as address:
            url = f"http://north:pa%20ss@{address}"
            await exchange(on(operator, 0, proxy=url), on(operator, 1), "through the proxy")
            assert proxy.targets == [f"127.0.0.1:{operator.port}"]
            # The server says INFO in the clear; nothing after it is.
            assert b"CONNECT {" not in proxy.carried
            assert b"PUB " not in proxy.carried
            with pytest.raises(TransportError, match="407"):
                async with on(operator, 0, proxy=f"http://{address}"):
                    pass
        with pytest.raises(TransportError, match=r"proxy .* cannot be reached"):
            async with on(operator, 0, proxy=f"http://{address}"):
                pass

    run(scenario())


def test_a_web_socket_goes_through_the_proxy_too(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("server")
    config = (
        'listen: "127.0.0.1:-1"\njetstream { store_dir: "{store}" }\n'
        'websocket { listen: "127.0.0.1:-1", '
        'tls { cert_file: "server.pem", key_file: "server-key.pem" } }\n'
    )
    with NATSServer(tmp_path, config) as server:

        async def scenario():
            client = await nats.connect(server.url)
            await client.jetstream().add_stream(name="qis", subjects=["qis.>"])
            await client.close()
            options = options_of(ca=tmp_path / "ca.pem")
            web = f"wss://127.0.0.1:{server.ports['websocket']}"
            proxy = ConnectProxy()
            async with proxy.running() as address:
                made = [
                    NATSTransport(
                        web,
                        SITES[number],
                        roster=qis.Roster.open(),
                        secret=SECRET,
                        options=options,
                        clock=VirtualClock(NOW),
                        proxy=through,
                    )
                    for number, through in ((0, f"http://{address}"), (1, None))
                ]
                await exchange(*made, "by web socket")
                assert proxy.targets == [f"127.0.0.1:{server.ports['websocket']}"]
                assert b"INFO {" not in proxy.carried

        run(scenario())

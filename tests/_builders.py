"""What many tests build alike: sites, outcomes, packets, loops, and what waits for them.

A test file keeps a builder of its own only for what is particular to it.
"""

import asyncio

import qis
from qis.disclosure import subject_hashes
from qis.testing import VirtualClock

NOW = 1_800_000_000
WITHIN_S = 20.0


def site(number):
    """The identity of a site; the same for the same number."""
    return qis.Identity.from_seed(number.to_bytes(32, "big"))


def effect(estimate=0.1, error=0.2, *, question="q", **others):
    """A log odds ratio; of a study, if `others` names one."""
    about = {"measure": "OR"} if "study" in others else {"measure": "OR", "question": question}
    return qis.Effect(**{**about, **others}, estimate=estimate, standard_error=error)


def signed(by, outcome, *, scheme=None, about=None, at=NOW, **options):
    """A packet of a site, given as its identity or its number.

    With a scheme and features it goes to those who work on similar cases, and otherwise to nobody.
    """
    if scheme is None:
        options.setdefault("fingerprint", qis.Fingerprint(bytes(32), bytes(8)))
    else:
        options.setdefault("fingerprint", scheme.fingerprint(about))
        options.setdefault("routing_keys", scheme.routing_keys(about))
    options.setdefault("lifetime_s", 86_400)
    by = site(by) if isinstance(by, int) else by
    return qis.Packet.sign(by, outcome=outcome, issued_at=int(at), **options)


def loop_of(transport, identity, scheme, about, **options):
    """A loop on a virtual clock that hears what is about these features, and checks nothing."""
    options.setdefault("clock", VirtualClock(float(NOW)))
    options.setdefault("interest", scheme.interest(about))
    options.setdefault("disclosure", qis.Disclosure.preset("none"))
    return qis.SynthesisLoop(identity, transport, scheme, **options)


SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "../exchange"
poll_s = 0.02
"""
ABOUT = [0.2, -1.0, 0.7]
STUDY = 'question = "drug vs none | death"\nmeasure = "OR"\nmodel = "fixed"\n'


def site_folders(root, *names):
    """Folders of sites that share a folder and a roster, each with its ``site.toml``."""
    keys = {name: qis.Identity.generate() for name in names}
    roster = "".join(
        f'[[site]]\nname = "{name}"\n[[site.key]]\nissuer = "{key.issuer}"\n'
        for name, key in keys.items()
    )
    (root / "exchange").mkdir()
    for name, key in keys.items():
        home = root / name
        home.mkdir()
        key.save(home / "key.pem")
        (home / "secret").touch(mode=0o600)
        for file, text in (
            ("secret", "ab" * 32), ("study.toml", STUDY), ("roster.toml", roster),
            ("site.toml", SITE),
        ):  # fmt: skip
            (home / file).write_text(text)
    return [root / name for name in names]


class Watcher:
    """Collects events of a loop or a transport, and waits for some."""

    def __init__(self):
        self.events = []
        self._came = asyncio.Event()

    def __call__(self, event):
        self.events.append(event)
        self._came.set()

    def of(self, kind):
        """The events of a kind."""
        return [event for event in self.events if event.kind == kind]

    async def until(self, kind, count=1):
        """Wait for so many of a kind."""
        await self.until_holds(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    async def until_holds(self, holds):
        """Wait for events until something holds."""
        async with asyncio.timeout(WITHIN_S):
            while not holds():
                self._came.clear()
                await self._came.wait()


async def until(holds):
    """Let everything else run until something holds that has no event of its own."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def first_synthesis(loop, holds):
    """The first synthesis of a loop of which something holds."""
    async with asyncio.timeout(WITHIN_S):
        async for synthesis in loop:
            if holds(synthesis):
                return synthesis
    raise AssertionError("the loop has ended")


def people(*ranges):
    """Hashes of people by their numbers, as a site keeps them."""
    named = (str(who) for one in ranges for who in range(*one))
    return subject_hashes(named, key=bytes(range(32)))

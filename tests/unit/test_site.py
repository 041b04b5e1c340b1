"""A site from one TOML file: what it opens, what it refuses, and how it says so."""

import asyncio
import os
import time

import pytest

import qis
import qis.blocking
from qis.errors import InputError, KeyFileError, StorageError

STUDY = """
question = "beta blocker vs none | 30-day death"
measure = "OR"
model = "fixed"
min_similarity = 0.6
"""
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
path = "shared"
poll_s = 0.02
"""
ABOUT = [0.2, -1.0, 0.7]


def roster_of(*names_and_keys):
    return "".join(
        f'[[site]]\nname = "{name}"\n[[site.key]]\nissuer = "{issuer}"\n'
        for name, issuer in names_and_keys
    )


@pytest.fixture
def folder(tmp_path):
    """Two sites that share a folder, as their files describe them."""
    (tmp_path / "shared").mkdir()
    keys = {}
    for name in ("north", "south"):
        home = tmp_path / name
        home.mkdir()
        identity = qis.Identity.generate()
        identity.save(home / "key.pem")
        keys[name] = identity.issuer
        (home / "study.toml").write_text(STUDY)
        (home / "site.toml").write_text(SITE.replace('"shared"', '"../shared"'))
        secret = home / "secret"
        secret.touch(mode=0o600)
        secret.write_text("ab" * 32)
    for name in keys:
        (tmp_path / name / "roster.toml").write_text(roster_of(*keys.items()))
    return tmp_path


def effect(folder, estimate, n=400):
    study = qis.Study.load(folder / "study.toml")
    return qis.Effect(study=study, measure="OR", estimate=estimate, standard_error=0.25, n=n)


def test_what_is_published_waits_for_a_person_and_then_reaches_the_other_site(folder):
    async def scenario():
        async with (
            qis.open_site(folder / "north" / "site.toml") as north,
            qis.open_site(folder / "south" / "site.toml") as south,
        ):
            await north.publish(effect(folder / "north", -0.31713), about=ABOUT)
            (pending,) = north.waiting()
            assert south.latest(qis.Study.load(folder / "south" / "study.toml")) is None
            await north.release(pending.id, approver="A. Adams")
            assert await north.flush(20)
            async with asyncio.timeout(20):
                async for synthesis in south:
                    if len(synthesis.sites) == 1:
                        break
            assert synthesis.sites[0].name == "north"

    asyncio.run(scenario())
    made = sorted(path.name for path in (folder / "north").iterdir() if path.suffix != ".lock")
    assert {"audit.jsonl", "evidence.db", "outbox.db", "key.pem.witness"} <= set(made)
    audit = qis.AuditLog(folder / "north" / "audit.jsonl")
    assert audit.verify().count == audit.head.count
    assert "A. Adams" in (folder / "north" / "audit.jsonl").read_text()
    audit.close()


def test_without_async_and_after_a_restart(folder):
    path = folder / "north" / "site.toml"
    path.write_text(path.read_text() + '[loop]\napproval = "none"\n')
    with qis.blocking.open_site(path) as site:
        packet = site.publish(effect(folder / "north", -0.31713), about=ABOUT)
        assert site.flush(20)
        assert site.waiting() == ()
    with qis.blocking.open_site(path) as site:
        found = next(s for s in site.syntheses(timeout_s=20) if s.sites)
        assert found.sites[0].packets == (packet,)


def test_the_roster_is_followed(folder):
    path = folder / "south" / "roster.toml"

    async def scenario():
        async with qis.open_site(folder / "south" / "site.toml") as south:
            before = south.store.roster
            assert not south.look_at_roster()
            stranger = qis.Identity.generate().issuer
            path.write_text(path.read_text() + roster_of(("east", stranger)))
            assert south.look_at_roster()
            assert south.store.roster.accepts(stranger)
            path.write_text("nonsense = true")
            os.utime(path, (time.time() + 5, time.time() + 5))
            assert not south.look_at_roster()
            assert [reason.code for reason in south.health.reasons] == ["roster"]
            assert south.store.roster.accepts(stranger)
            assert south.store.roster is not before

    asyncio.run(scenario())


def test_everything_is_closed_again_and_one_process_at_a_time_has_it(folder):
    async def scenario():
        path = folder / "north" / "site.toml"
        async with qis.open_site(path):
            with pytest.raises(StorageError):
                qis.open_site(path)
        async with qis.open_site(path):
            pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "vector"', 'kind = "vectors"', r"\[scheme\] kind"),
        ("dimensions = 3", "dimension = 3", r"\[scheme\] dimension is unknown"),
        ("dimensions = 3", "dimensions = 3.5", r"\[scheme\] dimensions is a whole number"),
        ("[0.2, -1.0, 0.7]", "[0.2, -1.0]", r"\[interest\]"),
        ('"study.toml"', '"studies.toml"', "studies.toml"),
        ('file = "roster.toml"', "", r"\[roster\] file is missing.*open = true"),
        ('file = "roster.toml"', 'file = "roster.toml"\nopen = true', "give one"),
        ('kind = "directory"', 'kind = "pigeon"', r"\[transport\] kind"),
        ("poll_s = 0.02", "poll_s = 0.0", r"\[transport\]"),
        ("people = 0", 'people = "none"', r"\[interest\] people is a whole number"),
        ('file = "key.pem"', 'file = "key.pem"\npassphrase = "x"', "does not belong into this"),
        ('file = "key.pem"', 'file = "key.pem"\npassphrase_env = "NOT_SET"', "NOT_SET"),
        ("[identity]", "[loop]\nlifetime_days = 500\n[identity]", "lifetime_days"),
        ("[identity]", '[loop]\napproval = "later"\n[identity]', "approval"),
        ("[identity]", "[disclosures]\n[identity]", "disclosures is unknown"),
        ("[identity]", "identity = 3\n[more]", "identity"),
    ],
)
def test_a_mistake_is_named_with_file_table_and_key(folder, old, new, says):
    path = folder / "north" / "site.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises((InputError, OSError), match=says):
        qis.open_site(path)
    assert not list((folder / "north").glob("*.db-wal"))


def test_secrets_that_others_can_read_are_refused(folder):
    (folder / "north" / "secret").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        qis.open_site(folder / "north" / "site.toml")
    (folder / "north" / "secret").chmod(0o600)
    (folder / "north" / "secret").write_text("short")
    with pytest.raises(KeyFileError, match="openssl rand"):
        qis.open_site(folder / "north" / "site.toml")


def test_an_interest_of_unsaid_people_is_refused_when_it_would_leave_the_machine(folder):
    path = folder / "north" / "site.toml"
    path.write_text(path.read_text().replace("people = 0", ""))

    async def scenario():
        async with qis.open_site(path):
            pass

    with pytest.raises(qis.DisclosureError, match="interest"):
        asyncio.run(scenario())

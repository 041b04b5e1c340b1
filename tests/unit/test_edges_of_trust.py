"""Edges of rosters, lineage and the audit log that a change of one operator crosses unseen."""

from types import SimpleNamespace

import pytest

from qis.errors import ConfigurationError, InputError, StorageError
from qis.evidence._roster_memory import recall, remember, require_no_older
from qis.evidence.audit import SEGMENT_BYTES
from qis.evidence.lineage import _clash
from qis.evidence.roster import Roster, Site
from qis.evidence.roster_file import RosterFile, _coordinators, sign_roster
from qis.identity import Identity

ONE, OTHER = (Identity.from_seed(bytes([seed]) * 32).issuer for seed in (1, 2))


@pytest.mark.parametrize(
    ("found", "is_believed"),
    [((2, b"a"), False), ((3, b"a"), True), ((3, b"b"), False), ((4, b"b"), True)],
)
def test_only_the_same_file_or_a_higher_version_follows(tmp_path, found, is_believed):
    if is_believed:
        require_no_older(tmp_path, (3, b"a"), found)
    else:
        with pytest.raises(ConfigurationError):
            require_no_older(tmp_path, (3, b"a"), found)


def test_a_version_that_cannot_be_remembered_is_told(tmp_path):
    seen = 7, bytes(32)
    with pytest.raises(StorageError, match="newest roster"):
        remember(tmp_path / "missing" / "memory", seen)
    assert recall(tmp_path / "memory") is None
    remember(tmp_path / "memory", seen)
    assert recall(tmp_path / "memory") == seen


@pytest.mark.parametrize(("after", "counts"), [(-1, False), (0, False), (1, True)])
def test_what_was_withdrawn_in_its_own_second_does_not_count(after, counts):
    packet = SimpleNamespace(leaves=[b"12345678" + (1_800_000_000 + after).to_bytes(4, "big")])
    withdrawn = {b"12345678": 1_800_000_000}
    assert (_clash(packet, set(), set(), withdrawn, Roster.open()) is None) == counts


def test_sites_share_patients_with_other_sites_that_are_there():
    with pytest.raises(InputError, match="set of names"):
        Site(name="A", keys=(), shares_patients_with={1})
    for name in ("A", "C"):
        sites = [Site.of("A", ONE), Site.of("B", OTHER)]
        sites[0] = Site(name="A", keys=sites[0].keys, shares_patients_with={name})
        with pytest.raises(InputError, match="no other site"):
            Roster(sites=sites)


@pytest.mark.parametrize("needed", [0, 3, -1, True, 1.0, "1"])
def test_so_many_coordinators_have_to_sign_as_there_are_at_most(needed):
    with pytest.raises(InputError, match="2 coordinators"):
        _coordinators([ONE, OTHER], needed)


def test_coordinators_are_those_that_are_given():
    for needed in (None, 1, 2):
        assert _coordinators([ONE, OTHER], needed) == (ONE, OTHER)


def test_a_segment_of_the_log_holds_64_mib():
    assert SEGMENT_BYTES == 67_108_864


SITE = '{}[[site]]\nname = "{}"\n[[site.key]]\nissuer = "' + str(ONE) + '"\n'


def test_a_roster_without_version_or_signature_is_believed_as_it_is(tmp_path):
    path = tmp_path / "roster.toml"
    path.write_text(SITE.format("", "north"))
    found = RosterFile(path)
    path.write_text(SITE.format("", "south"))
    assert found.refresh()
    assert [each.name for each in found.roster.sites] == ["south"]
    assert [each.name for each in tmp_path.iterdir()] == ["roster.toml"]  # nothing to remember
    path.write_text(SITE.format("version = 2\n", "north"))
    assert found.refresh()
    path.write_text(SITE.format("version = 1\n", "south"))
    with pytest.raises(ConfigurationError, match="an old roster"):
        RosterFile(path)  # after a restart too


def test_of_two_signed_rosters_of_one_version_the_second_is_refused(tmp_path):
    coordinator, path = Identity.from_seed(bytes(32)), tmp_path / "roster.toml"
    signed = []
    for name in ("north", "south"):
        path.write_text(SITE.format("", name))
        path.with_name("roster.toml.sig").unlink(missing_ok=True)
        sign_roster(path, coordinator)
        signed.append((path.read_bytes(), path.with_name("roster.toml.sig").read_bytes()))
    RosterFile(path, coordinators=[coordinator.issuer])
    for file, content in zip(("roster.toml", "roster.toml.sig"), signed[0], strict=True):
        path.with_name(file).write_bytes(content)
    with pytest.raises(ConfigurationError, match="of two"):
        RosterFile(path, coordinators=[coordinator.issuer])

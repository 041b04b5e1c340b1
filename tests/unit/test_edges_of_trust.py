"""Edges of rosters, lineage and the audit log that a change of one operator crosses unseen."""

from types import SimpleNamespace

import pytest

from qis.errors import ConfigurationError, InputError, StorageError
from qis.evidence._roster_memory import recall, remember, require_no_older
from qis.evidence.audit import SEGMENT_BYTES
from qis.evidence.lineage import _clash
from qis.evidence.roster import Roster, Site
from qis.evidence.roster_file import _coordinators
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

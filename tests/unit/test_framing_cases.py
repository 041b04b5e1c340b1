"""Attempts of the benchmark to frame a site: none succeeds; without checks each kind does."""

import logging

import pytest

from benchmarks import _framing_cases as cases


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("attack", cases.ATTACKS)
def test_no_attempt_succeeds_and_each_kind_does_without_the_checks(attack):
    assert not any(attack())
    with cases.without_checks():
        assert any(attack())

"""The gate: what counts as a number, a time or a column, whatever library it comes from."""

import contextlib
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

import qis
from qis._columns import matrix, rows, vector
from qis._given import duration_s, point_in_time, real_number, whole_number
from qis.errors import InputError

QUESTION = {"question": "a vs b | c"}
WHOLE = [
    *(kind(5) for kind in (np.int8, np.uint8, np.int16, np.int64, np.uint64)),
    np.array(5),
    Decimal(5),
    Decimal("5.0"),
    Fraction(10, 2),
]


class Thing:
    """No number; its text is the same in each process, which names tests by it."""

    def __repr__(self):
        return "Thing()"


NO_NUMBER = [
    None, True, False, np.True_, "5", b"5", np.str_("5"), [5], (5,), {5}, {5: 5},
    np.array([5]), np.array([[5]]), np.array("5"), 5j, np.complex128(5), float, Thing(),
    np.datetime64("2027-01-01"), np.datetime64("2027-01-01", "ns"), np.datetime64("NaT", "ns"),
    np.timedelta64(5, "s"), np.timedelta64(5, "ns"), np.timedelta64(5),
    np.array(5, dtype="m8[ns]"), np.array(5, dtype="M8[ns]"), timedelta(5), np.ma.masked,
    np.ma.array(5, mask=True), Decimal("sNaN"),
]  # fmt: skip
NOT_FINITE = [float("nan"), float("inf"), np.float32("nan"), Decimal("NaN"), Decimal("-Infinity")]


@pytest.mark.parametrize("five", WHOLE, ids=repr)
def test_a_count_of_any_make_travels_as_the_same_bytes(five):
    counts = qis.Counts(events=five, total=five, control_events=0, control_total=five, **QUESTION)
    assert type(counts.events) is int
    assert (
        counts.encoded()
        == qis.Counts(events=5, total=5, control_events=0, control_total=5, **QUESTION).encoded()
    )


@pytest.mark.parametrize(
    "value", [*NO_NUMBER, *NOT_FINITE, 5.0, np.float64(5), -1, 2**32], ids=repr
)
def test_what_is_no_count_is_refused_and_named(value):
    with pytest.raises(InputError, match=r"^events is ") as refused:
        qis.Counts(events=value, total=10, **QUESTION)
    assert refused.value.field == "events"


@pytest.mark.parametrize("value", [*NO_NUMBER, *NOT_FINITE, 10**400], ids=lambda v: repr(v)[:30])
def test_what_is_no_number_is_refused_and_named(value):
    with pytest.raises(InputError, match=r"^estimate is "):
        qis.Effect(measure="MD", estimate=value, standard_error=1.0, **QUESTION)


@given(st.floats(-1e300, 1e300) | st.integers(-(10**300), 10**300) | st.fractions())
def test_a_number_is_the_nearest_float_whatever_its_make(value):
    assert real_number(value, "x", -1e301, 1e301) == float(value)
    if isinstance(value, float):
        assert real_number(Decimal(value), "x", -1e301, 1e301) == value
        assert real_number(np.array(value), "x", -1e301, 1e301) == value


@given(st.integers(-(2**64), 2**64))
def test_whole_numbers_are_exact(value):
    makes = [value, Decimal(value), Fraction(value)]
    makes += [np.int64(value)] if -(2**63) <= value < 2**63 else []
    assert {whole_number(make, "x", -(2**65), 2**65) for make in makes} == {value}
    with pytest.raises(InputError):
        whole_number(Fraction(2 * value + 1, 2), "x", -(2**65), 2**65)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  the zone comes below
    st.integers(-14, 14),
)
def test_a_time_with_a_zone_is_unix_seconds_and_one_without_is_refused(naive, hours):
    zoned = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert point_in_time(zoned, "now") == zoned.timestamp()
    with pytest.raises(InputError, match="without a zone"):
        point_in_time(naive, "now")


@pytest.mark.parametrize("value", [1_800_000_000_000, 1.8e15, -1, float("nan"), float("inf")])
def test_a_time_out_of_range_is_refused(value):
    with pytest.raises(InputError, match="Unix seconds"):
        point_in_time(value, "now")
    store = qis.MemoryStore(roster=qis.Roster.open())
    with pytest.raises(InputError, match=r"^now is "):
        store.evidence("a vs b | c", now=value)


def test_durations_come_as_numbers_or_timedeltas():
    assert duration_s(timedelta(days=2), "lifetime_s", 0, 1e9) == 172_800.0
    for value in (np.timedelta64(5, "s"), "5", None, True, datetime(2027, 1, 1, tzinfo=UTC)):
        with pytest.raises(InputError, match=r"^lifetime_s is "):
            duration_s(value, "lifetime_s", 0, 1e9)


def test_a_packet_takes_datetime_and_timedelta_and_signs_the_same_bytes():
    identity = qis.Identity.from_seed(bytes(32))
    parts = {
        "outcome": qis.Effect(measure="OR", estimate=0.0, standard_error=1.0, **QUESTION),
        "fingerprint": qis.Fingerprint(bytes(32), bytes(8)),
    }
    issued = datetime(2027, 1, 15, 8, tzinfo=UTC)
    dated = qis.Packet.sign(identity, issued_at=issued, lifetime_s=timedelta(days=30), **parts)
    plain = qis.Packet.sign(identity, issued_at=1_800_000_000, lifetime_s=2_592_000, **parts)
    assert bytes(dated) == bytes(plain)
    assert qis.Packet.parse(bytearray(bytes(plain)), now=issued) == plain
    for data, words in ((None, "None"), (bytes(dated).hex(), "bytes.fromhex"), (dated, "already")):
        with pytest.raises(InputError, match=words):
            qis.Packet.parse(data)
    wrongs = {"identity": b"x", "outcome": {"a": 1}, "fingerprint": [1, 2], "sequence": 5e15}
    for name, value in wrongs.items():
        arguments = {"identity": identity, **parts, name: value}
        with pytest.raises(InputError, match=rf"^{name} is "):
            qis.Packet.sign(arguments.pop("identity"), issued_at=issued, lifetime_s=1, **arguments)


BAD_COLUMNS = [
    ["1", "2"], [1, "2"], [1, None], [1.0, True], np.array([True, False]), np.array(["1", "2"]),
    np.ma.array([1.0, 2.0], mask=[False, True]), [1.0, float("nan")], [1j, 2j], "12", b"12", None,
    {1: 2}, 5, np.array(5), [[1], [2, 3]], [[1.0, 2.0]], np.array([1, 2], dtype="M8[s]"), list,
]  # fmt: skip


@pytest.mark.parametrize("column", BAD_COLUMNS, ids=lambda v: repr(v)[:30])
def test_what_is_no_column_of_numbers_is_refused_and_named(column):
    with pytest.raises(InputError, match=r"^values"):
        vector(column, "values")


def test_a_list_of_masked_columns_keeps_its_masks():
    columns = [np.ma.array([1.0, 2.0]), np.ma.array([3.0, 4.0], mask=[False, True])]
    for read in (matrix, rows):
        assert read([columns[0]] * 2, "values").tolist() == [[1.0, 2.0]] * 2
        with pytest.raises(InputError, match=r"^values\[1"):
            read(columns, "values")


def test_numpy_alone_would_take_several_of_them():
    taken = 0
    for column in BAD_COLUMNS:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.asarray(column, dtype=np.float64)
            taken += found.shape == (2,) and bool(np.isfinite(found).all())
    assert taken >= 6


@pytest.mark.parametrize(
    "kind", [np.float16, np.float32, np.int8, np.uint64, np.longdouble, object]
)
def test_columns_and_tables_of_any_dtype_are_taken(kind):
    assert vector(np.array([1, 2], dtype=kind), "x").tolist() == [1.0, 2.0]
    assert matrix(np.array([[1, 2]], dtype=kind), "x").tolist() == [[1.0, 2.0]]
    assert vector([np.array(1, dtype=kind), Decimal(2)], "x").tolist() == [1.0, 2.0]
    assert vector((n for n in (1, Fraction(1, 2))), "x").tolist() == [1.0, 0.5]


def test_flags_may_be_booleans_but_not_texts():
    assert vector([True, 0, np.True_], "events", booleans=True).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(InputError, match=r"events\[1\] is 'False'"):
        vector([True, "False"], "events", booleans=True)


def test_a_data_frame_names_the_row_by_its_label():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series([1, 2, None], index=["anna", "ben", "carl"], dtype="Int64")
    with pytest.raises(InputError, match=r"values\[2\] \(row 'carl'\) is .*missing"):
        qis.Moments.from_values(column, **QUESTION)
    assert vector(column.dropna(), "values").tolist() == [1.0, 2.0]
    assert qis.Counts(events=column.sum(), total=column.max() + 1, **QUESTION).events == 3
    with pytest.raises(InputError, match="missing"):
        qis.Counts(events=pandas.NA, total=5, **QUESTION)
    with pytest.raises(InputError, match="missing"):
        point_in_time(pandas.NaT, "now")


def test_survival_times_before_the_start_are_refused():
    with pytest.raises(InputError, match=r"times\[1\] is -3"):
        qis.LikelihoodProfile.from_survival(
            times=[1, -3, 2], events=[1, 1, 0], treated=[1, 0, 1], **QUESTION
        )

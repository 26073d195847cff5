"""Durations and sizes, as people write them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventctl.config.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("20ms", 0.02),
        ("30s", 30),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("90d", 7776000),
        ("1w", 604800),
        (" 5 ".strip(), 5),
        ("0", 0),
        (0.25, 0.25),
        (7, 7),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "5x", "5M", "5m5m", "30m1h", "1e3", "1_0", "nan", "٣s", ".", "-", "1.", "5 m"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match=r"is not a duration; write "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(timedelta(minutes=1), "a timedelta"), ([], "a list"), (Decimal("NaN"), "a Decimal")],
)
def test_what_no_number_is_either(value, shown):
    with pytest.raises(ValueError, match=rf"^{shown} is not a duration; write "):
        parse_duration(value)


@pytest.mark.parametrize("text", ["-5m", -1, "9" * 999 + "w", 10**400, -(10**400)])
def test_durations_out_of_bounds(text):
    with pytest.raises(ValueError, match=r"is below zero|is longer than a hundred years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1MB", 10**6), ("500 KB", 500_000), ("1MiB", 2**20), ("0.5KiB", 512), ("7", 7), (9, 9)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1mb", "1TB", "-1MB", "1e6", "nan", 1.5])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"is not a size; write "):
        parse_size(text)


@pytest.mark.parametrize("text", [0, -1, "0", "0.1B"])
def test_a_size_is_a_byte_at_the_least(text):
    with pytest.raises(ValueError, match=r"is less than a byte; write "):
        parse_size(text)


@given(parts=st.lists(st.integers(0, 9999), min_size=6, max_size=6))
def test_a_duration_is_the_sum_of_its_parts(parts):
    units = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
    text = "".join(f"{part}{unit}" for part, unit in zip(parts, units, strict=True))
    sums = sum(part * unit for part, unit in zip(parts, units.values(), strict=True))
    if sums > 36525 * 86400:
        with pytest.raises(ValueError, match="longer than a hundred years"):
            parse_duration(text)
    else:
        assert parse_duration(text) == pytest.approx(sums)

"""Windows of time, percentiles, and spans of time in few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventctl.cli.output.stats_table import sparkline
from eventctl.format.time import span
from eventctl.store.queries.aggregate import STEPS, Durations, Window

TIMES = st.integers(min_value=0, max_value=2**45)


@given(since=TIMES, length=TIMES, most=st.integers(min_value=2, max_value=100))
def test_a_window_has_few_bars_and_each_time_is_in_one(since: int, length: int, most: int) -> None:
    window = Window.of(since, since + length, most)
    assert 1 <= window.bars <= most
    assert window.start(0) <= since < window.start(1)
    assert window.start(window.bars - 1) < window.until <= window.start(window.bars)
    for at in (window.since, (window.since + window.until) // 2, window.until - 1):
        bar = window.bar(at)
        assert bar is not None
        assert window.start(bar) <= at < window.start(bar + 1)
    assert window.bar(window.since - 1) is None
    assert window.bar(window.until) is None


def test_bars_are_as_long_as_a_person_would_choose() -> None:
    hour, day = 3_600_000, 86_400_000
    now = 1_795_552_261_779
    for length, most, step in ((day, 30, hour), (7 * day, 30, 6 * hour), (hour, 30, 300_000)):
        assert Window.of(now - length, now, most).step == step
        assert step in STEPS


@given(st.lists(st.integers(min_value=-5, max_value=10**9), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[int], percent: int
) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    (found,) = durations.percentiles(percent)
    assert found is not None
    known = [max(0, value) for value in values]
    enough = [v for v in known if sum(w <= v for w in known) * 100 >= percent * len(known)]
    assert found == min(enough) / 1000
    assert durations.mean() == pytest.approx(sum(known) / len(known) / 1000)


def test_no_values_have_no_percentiles() -> None:
    assert Durations().percentiles(50, 95) == [None, None]
    assert Durations().mean() is None


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "0ms"), (44.9, "45ms"), (350, "350ms"), (999.6, "1s"), (1000, "1s"), (1250, "1.2s"),
        (9960, "9.9s"), (10_400, "10s"), (63_000, "1m 3s"), (74_000, "1m 14s"),
        (3_599_000, "59m 59s"), (7_500_000, "2h 5m"), (86_400_000, "1d"),
        (86_400_000 * 3 + 4 * 3_600_000, "3d 4h"), (86_400_000 * 400, "400d"), (-5000, "5s"),
    ],
)  # fmt: skip
def test_a_duration_in_one_or_two_units(milliseconds: float, shown: str) -> None:
    assert span(milliseconds) == shown


def test_a_sparkline_shows_the_highest_as_a_full_block_and_nothing_as_a_blank() -> None:
    assert sparkline([0, 1, 4, 8], 4) == " ▁▄█"
    assert sparkline([0, 0], 4) == "  "
    assert sparkline([1, 1000], 4) == "▁█"
    assert sparkline([1, 1, 0, 0, 2], 3) == "█ █"

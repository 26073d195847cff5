"""`redact` of events.toml: what is hidden is shown nowhere, and handlers get it whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventctl.config import load
from eventctl.format.redact import MASK, Redaction
from tests.support.databases import sqlite_only
from tests.support.events_toml import mistakes, write
from tests.support.look import make_due
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

CARD = "4111 1111 1111 1111"
PIN = 73519

TOML = """
redact = ["card", "purchased.1"]

[sweep]
breaker = 1

[events]
purchased = ["draw", "log"]
paid = ["draw"]

[handlers]
draw = { call = "handlers:draw", retry = { attempts = 2 } }
log = { command = ["./log"], retry = { attempts = 1 } }
"""

HANDLERS = """
import json
import pathlib

def draw(*args, **fields):
    pathlib.Path("got").write_text(json.dumps([args, fields]))
    print("drawing for", args, fields)
    raise RuntimeError(f"no luck with {args} {fields}")
"""


# What is hidden in args


@pytest.mark.parametrize(
    ("event", "args", "shown"),
    [
        ("paid", {"card": CARD, "sum": 1}, {"card": MASK, "sum": 1}),
        ("paid", {"CARD": 1, "Card": None}, {"CARD": MASK, "Card": MASK}),
        ("paid", {"user": {"cards": [{"card": [CARD]}]}}, {"user": {"cards": [{"card": MASK}]}}),
        ("paid", {"user.card": CARD, "card.sum": 1}, {"user.card": MASK, "card.sum": 1}),
        ("paid", [{"card": {"card": CARD}}, "card"], [{"card": MASK}, "card"]),
        ("paid", ["a", CARD], ["a", CARD]),
        ("purchased", ["a", CARD, "b"], ["a", MASK, "b"]),
        ("purchased", ["a", {"card": CARD}], ["a", MASK]),
        ("purchased", [{"card": CARD}], [{"card": MASK}]),
        ("purchased", {"1": CARD}, {"1": CARD}),
    ],
)
def test_fields_at_any_depth_and_positional_args(event: str, args: object, shown: object) -> None:
    hidden = Redaction(["card", "purchased.1"]).hide(event, json.dumps(args))
    assert json.loads(hidden.args) == shown


@pytest.mark.parametrize(
    "args",
    [
        '{"a": {"card": "s3cret"}, "a": 1}',
        '{"card": "s3cret", "card": "other"}',
        '{"\\u0063ard": "s3cret"}',
        '{"card": "s3cret"',
        'card = "s3cret"',
        '"s3cret"',
        '["s3cret"' + "[" * 50_000,
        "",
    ],
)
def test_what_is_no_common_json_hides_nothing_from_us(args: str) -> None:
    shown = Redaction(["card"]).hide("paid", args).args
    assert "s3cret" not in shown
    assert shown != args


def test_args_in_which_nothing_is_hidden_stay_as_they_are() -> None:
    text = '{ "a":1.50,  "b": [NaN, 1e999]}'
    assert Redaction(["card"]).hide("paid", text).args == text
    assert Redaction(["purchased.0"]).hide("paid", "no JSON").args == "no JSON"
    assert not Redaction([])
    assert Redaction([]).hide("paid", "no JSON").args == "no JSON"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        (CARD, f"no: {CARD}!{CARD}", f"no: {MASK}!{MASK}"),
        ({"a": ["s3cret"], "b": PIN}, f"KeyError: 's3cret' {PIN}", f"KeyError: '{MASK}' {MASK}"),
        ('a\n"ü"', repr('a\n"ü"'), f"'{MASK}'"),
        ('a\n"ü"', json.dumps('a\n"ü"'), f'"{MASK}"'),
        (["abcd", "abcdefgh"], "abcdefgh", MASK),
        ("abc", "abc", "abc"),
        ([True, None, 12], "True None 12", "True None 12"),
    ],
)
def test_values_are_hidden_in_other_text(value: object, text: str, shown: str) -> None:
    hidden = Redaction(["card"]).hide("paid", json.dumps({"card": value}))
    assert hidden.cut(text) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(JSON, st.sampled_from(["list", "field", "deep"]))
def test_a_secret_is_never_in_what_is_shown(others: object, where: str) -> None:
    secret = "§ecret-0815"
    args = {
        "list": ["a", secret, others],
        "field": {"x": others, "cArd": [secret, others]},
        "deep": [[{"y": [{"card": secret}, others]}]],
    }[where]
    redaction = Redaction(["CARD", "purchased.1"])
    for ascii_only in (True, False):
        hidden = redaction.hide("purchased", json.dumps(args, ensure_ascii=ascii_only))
        assert secret not in hidden.args + json.dumps(hidden.args)
        assert secret not in hidden.cut(f"{args} {secret} {json.dumps(args)}")


# events.toml


def test_entries_are_read(tmp_path: Path) -> None:
    config = load(write(tmp_path, TOML.replace("./log", "/bin/false")))
    assert config.redact == ("card", "purchased.1")
    assert load(write(tmp_path, "")).redact == ()
    # The store may have some of an event that events.toml has no more.
    stored = load(write(tmp_path, 'redact = ["sold.0", "user.signed_up.12"]')).redact
    assert stored == ("sold.0", "user.signed_up.12")


FORM = 'write field names, or EVENT.N for a positional arg, such as ["card", "purchased.1"]'


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ('""', f'"" is neither a field name nor EVENT.N; {FORM}'),
        ('"1"', f'"1" is neither a field name nor EVENT.N; {FORM}'),
        ('".1"', f'".1" is neither a field name nor EVENT.N; {FORM}'),
        ('"user.card"', f'"user.card" is neither a field name nor EVENT.N; {FORM}'),
        ('"purchased."', f'"purchased." is neither a field name nor EVENT.N; {FORM}'),
        ('"a.99999999999"', f'"a.99999999999" is neither a field name nor EVENT.N; {FORM}'),
        ('"purchasd.1"', '"purchasd" is not an event in [events]; did you mean "purchased"?'),
        ("7", "its item 1 is a number, not a string; put it in quotes"),
    ],
)
def test_a_mistaken_entry_is_reported(tmp_path: Path, entry: str, wrong: str) -> None:
    path = write(tmp_path, f'redact = [{entry}]\n[events]\npurchased = ["a:b"]\n')
    assert mistakes(path) == [f"F: redact: {wrong}"]


def test_no_list_is_reported(tmp_path: Path) -> None:
    assert mistakes(write(tmp_path, 'redact = "card"')) == [f"F: redact: is a string; {FORM}"]


# Every command that shows args, errors or output


@pytest.fixture
def shop(project: Project) -> Project:
    """A project in which each handler tells all that it got, and fails."""
    project.write(TOML, HANDLERS)
    log = project.folder / "log"
    log.write_text("#!/bin/sh\ncat; exit 1\n")
    log.chmod(0o755)
    return project


def test_hidden_by_every_command_and_whole_in_the_store_and_for_handlers(shop: Project) -> None:
    fields = json.dumps({"user": "A", "card": CARD, "pin": {"Card": PIN}})
    shown = shop.run("emit", "purchased", "user A", CARD).stderr
    shown += shop.run("emit", "paid", "--json", fields).stderr
    got = json.loads((shop.folder / "got").read_text())
    assert got == [[], {"user": "A", "card": CARD, "pin": {"Card": PIN}}]
    make_due(shop)
    swept = shop.run("sweep", "-v", check=1)
    shown += swept.stdout + swept.stderr
    assert "ran out of retries" in shown
    for form in ("json", "jsonl", "csv", "text"):
        listed = shop.run("list", "--format", form).stdout
        assert MASK in listed or "\\u2022" in listed
        assert "user A" in listed
        shown += listed
    for event in ("1", "2"):
        shown += shop.run("show", event).stdout + shop.run("show", event, "--json").stdout
    plan = shop.run("replay", "--dry-run", "--status", "failed")
    shown += plan.stdout + plan.stderr
    assert "no luck with" in shown
    assert "drawing for" in shown
    assert CARD not in shown
    assert str(PIN) not in shown
    args = [row[0] for row in shop.rows("SELECT args FROM eventctl_event ORDER BY id")]
    assert json.loads(args[0]) == ["user A", CARD]
    assert json.loads(args[1]) == json.loads(fields)


@sqlite_only
def test_hidden_on_a_terminal(shop: Project) -> None:
    shop.run("emit", "-q", "--defer", "purchased", "user A", CARD, "x" * 300)
    _, listed = on_terminal(shop, "list", columns=120)
    _, shown = on_terminal(shop, "show", "1", columns=120)
    for text in (plain(listed), plain(shown)):
        assert "user A" in text
        assert MASK in text
        assert CARD not in text


@sqlite_only
def test_errors_of_before_redact_was_set_are_hidden_too(shop: Project) -> None:
    shop.config.write_text(shop.config.read_text().replace("redact =", "# redact ="))
    shop.run("emit", "-q", "purchased", "user A", CARD)
    assert CARD in shop.run("show", "1").stdout
    shop.config.write_text(shop.config.read_text().replace("# redact =", "redact ="))
    for command in (("show", "1"), ("show", "1", "--json"), ("list", "--format", "json")):
        shown = shop.run(*command).stdout
        assert "no luck with" in shown
        assert CARD not in shown


@sqlite_only
def test_damaged_args_are_hidden_as_a_whole(shop: Project) -> None:
    shop.run("emit", "-q", "--defer", "purchased", "user A", CARD)
    shop.execute("UPDATE eventctl_event SET args = ?", f'["user A", "{CARD}"')
    swept = shop.run("sweep", "-v", check=None)
    listed = shop.run("list", "--format", "json").stdout
    (event,) = json.loads(listed)
    assert (event["args"], event["argsRaw"]) == (None, MASK)
    for text in (listed, shop.run("show", "1").stdout, swept.stdout, swept.stderr):
        assert CARD not in text


def test_a_value_is_hidden_before_a_text_is_shortened_and_no_part_of_it_is_left() -> None:
    hidden = Redaction(["e.0"]).hide("e", '["4111111111111111"]')
    text = "the card 4111111111111111 is refused"
    for length in range(len(text)):
        for shown in (
            hidden.cut(text, lambda text, n=length: text[:n]),  # type: ignore[misc]
            hidden.cut(text, lambda text, n=length: text[n:]),  # type: ignore[misc]
        ):
            assert "1" not in shown
            assert "4" not in shown
    assert hidden.cut(text, lambda text: text[:12]) == "the card ••••"
    assert hidden.cut(text, lambda text: text[12:]) == "•••• is refused"
    assert hidden.longest == 16

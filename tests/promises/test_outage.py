"""An outage reaches a person within two sweeps, and so does its end (P7, P8)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import fire
from tests.support.channels import Post, body
from tests.support.project import Project

TOML = """
[sweep]
breaker = 5
outage_after = "0s"

[events]
bought = ["lottery"]

[handlers]
lottery = "handlers:lottery"

[report]
mail_to = ["ops@example.com"]
sendmail = "{sendmail}"
"""

HANDLERS = """
from pathlib import Path

def lottery(number):
    if not Path("back").exists():
        raise ConnectionError("the service is down")
"""


@pytest.fixture
def shop(project: Project, post: Post) -> Project:
    """A project whose only handler's service is down."""
    project.write(TOML.format(sendmail=post.sendmail), HANDLERS)
    return project


def emit(shop: Project, count: int) -> None:
    lines = "".join(json.dumps({"name": "bought", "args": [n]}) + "\n" for n in range(count))
    shop.run("emit", "-q", "--batch", "-", input=lines)


def sweep(shop: Project, check: int | None = None) -> None:
    fire.make_due(shop)
    shop.run("sweep", check=check)


def test_a_bug_in_a_handler_is_one_message_and_needs_no_replay(shop: Project, post: Post) -> None:
    (shop.folder / "handlers.py").write_text("def lottery(): pass\n")
    emit(shop, 40)
    for _ in range(12):
        sweep(shop)
    (mail,) = post.mails()
    assert str(mail["Subject"]).startswith(
        "eventctl: lottery is down: TypeError: lottery() takes 0"
    )
    (shop.folder / "handlers.py").write_text("def lottery(number): pass\n")
    sweep(shop)
    fire.assert_all_processed(shop, 40)
    assert len(post.mails()) == 2


def come_back(shop: Project) -> None:
    (Path(shop.folder) / "back").touch()


def test_a_person_is_notified_once_and_of_the_end(shop: Project, post: Post) -> None:
    emit(shop, 40)
    sweep(shop, check=1)
    for _ in range(12):
        sweep(shop, check=0)
    (mail,) = post.mails()
    assert mail["Subject"] == "eventctl: lottery is down: ConnectionError: the service is down"
    text = body(mail)
    assert "lottery has been down for" in text
    assert "40 deliveries wait" in text
    assert "nothing to replay" in text
    assert " replay " not in text.replace("to replay", "")
    come_back(shop)
    sweep(shop)
    assert len(post.mails()) == 2
    text = body(post.mails()[1])
    assert "lottery is back after" in text
    assert "40 deliveries processed" in text
    fire.assert_all_processed(shop, 40)
    assert shop.run("alerts").stdout == ""


def test_no_delivery_is_given_up_however_long_it_lasts(shop: Project, post: Post) -> None:
    emit(shop, 8)
    for _ in range(30):
        sweep(shop)
    assert shop.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'failed'") == 0
    assert shop.value("SELECT MAX(attempts) FROM eventctl_delivery") <= 1
    come_back(shop)
    sweep(shop)
    fire.assert_all_processed(shop, 8)


def test_it_is_news_again_when_ten_times_as_many_wait(shop: Project, post: Post) -> None:
    emit(shop, 6)
    sweep(shop)
    emit(shop, 30)
    sweep(shop)
    assert len(post.mails()) == 1
    emit(shop, 30)
    sweep(shop)
    assert len(post.mails()) == 2
    assert "66 deliveries wait" in body(post.mails()[1])


def test_everything_that_judges_says_so_first(shop: Project, post: Post) -> None:
    emit(shop, 6)
    sweep(shop)
    assert "\topen\toutage\tlottery\t" in shop.run("alerts").stdout.splitlines()[0]
    assert shop.run("check", check=2).stdout.startswith("EVENTCTL CRITICAL - down: lottery")
    done = shop.run("doctor", check=1)
    assert "1 handler down: their deliveries wait" in done.stdout
    assert "all is well" not in done.stdout


def test_a_short_one_is_no_news(shop: Project, post: Post) -> None:
    shop.write(TOML.format(sendmail=post.sendmail).replace('"0s"', '"1h"'), HANDLERS)
    emit(shop, 6)
    sweep(shop, check=0)
    come_back(shop)
    sweep(shop, check=0)
    assert post.mails() == []

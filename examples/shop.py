"""The shop's handlers. Each may run twice for one event; its effect happens only once.

They write their effects as files to the folder $SHOP_STATE (by default `shop-state` next to
this file). A real shop would call its services instead. While a file `lottery-is-down` or
`carrier-is-down` exists in that folder, that service does not answer.
"""

import json
import os
import random
from pathlib import Path

import eventctl


def give_coupon(user: str, amount: int | str) -> None:
    """Give the user a coupon worth 5 % of the purchase."""
    _once("coupons", {"user": user, "worth": _amount(amount) * 5 // 100})


def lottery(user: str, amount: int | str) -> None:
    """Draw one lot for the user for each 1,000 spent.

    The event's key is the seed: a second draw for the same event has the same result.
    """
    _ask("lottery")
    lots = _amount(amount) // 1000
    draw = random.Random(eventctl.current().key)
    wins = sum(draw.random() < 0.1 for _ in range(lots))
    _once("draws", {"user": user, "lots": lots, "wins": wins})


def welcome(user: str) -> None:
    """Send the user a welcome mail."""
    _once("mails", {"to": user, "subject": f"Welcome, {user}"})


def ship_label(user: str, order: str) -> None:
    """Let the carrier print a label for the user's return."""
    _ask("carrier")
    _once("labels", {"user": user, "order": order})


def _amount(amount: int | str) -> int:
    """Return the amount spent; args from a command line are text."""
    try:
        return int(amount)
    except ValueError:
        raise eventctl.Discard(f"{amount!r} is not an amount") from None


def _ask(service: str) -> None:
    if (_state() / f"{service}-is-down").exists():
        raise ConnectionError(f"the {service} does not answer")


def _once(folder: str, effect: dict[str, object]) -> None:
    """Write an effect to a file named by its event's id, atomically, unless it exists."""
    event = eventctl.current()
    file = _state() / folder / f"{event.id}.json"
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"event": event.key, **effect}) + "\n")
    draft.replace(file)


def _state() -> Path:
    beside = Path(__file__).with_name("shop-state")
    return Path(os.environ.get("SHOP_STATE") or beside)

"""The shop's handlers. Each may run twice for one event, and its effect is there once.

They leave what they do as files in the folder $SHOP_STATE (`shop-state` beside this file
by default), where a real shop would call its services. While a file `lottery-is-down` or
`carrier-is-down` lies in that folder, that service answers nobody.
"""

import json
import os
import random
from pathlib import Path

import eventctl


def give_coupon(user: str, amount: int | str) -> None:
    """Give the user a coupon of 5 % of what was bought."""
    _once("coupons", {"user": user, "worth": _amount(amount) * 5 // 100})


def lottery(user: str, amount: int | str) -> None:
    """Draw for the user, with one lot for each 1,000 spent.

    The event's key is the seed: drawn a second time, the event has the same luck.
    """
    _ask("lottery")
    lots = _amount(amount) // 1000
    draw = random.Random(eventctl.current().key)
    wins = sum(draw.random() < 0.1 for _ in range(lots))
    _once("draws", {"user": user, "lots": lots, "wins": wins})


def welcome(user: str) -> None:
    """Put a welcoming mail for the user into the outgoing box."""
    _once("mails", {"to": user, "subject": f"Welcome, {user}"})


def ship_label(user: str, order: str) -> None:
    """Have the carrier print a label, with which the user sends the order back."""
    _ask("carrier")
    _once("labels", {"user": user, "order": order})


def _amount(amount: int | str) -> int:
    """Return what was spent; a command line gives every argument as text."""
    try:
        return int(amount)
    except ValueError:
        raise eventctl.Discard(f"{amount!r} is no amount, and never will be") from None


def _ask(service: str) -> None:
    if (_state() / f"{service}-is-down").exists():
        raise ConnectionError(f"the {service} does not answer")


def _once(folder: str, effect: dict[str, object]) -> None:
    """Write an effect down under its event's id, whole, and only if it isn't there yet."""
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

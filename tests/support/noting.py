"""The project of most tests of intake: each event's handler notes with what it was called."""

from __future__ import annotations

TOML = """
[events]
purchased = ["note"]

[handlers]
note = "handlers:note"
"""

HANDLERS = """
import json
import journal

def note(*args, **fields):
    with journal.run(note=json.dumps([*args, fields] if fields else args)):
        pass

def fail(*args):
    raise RuntimeError("it is broken")
"""

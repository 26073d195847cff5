"""A field of a JSON object is cut out to the letter, by the quick way as by a walk."""

from __future__ import annotations

import json

import pytest

from eventctl.intake import json_fields

LINES = (
    ('{"name": "a", "args": [1.10, "x"]}', '[1.10, "x"]'),
    ('{"args":{"b":1e5},"name":"a","key":"k"}', '{"b":1e5}'),
    (' {\t"name" :"a" , "key":"args", "args" : [ 1 ] } ', "[ 1 ]"),
    ('{"name": "args", "args": ["args"]}', '["args"]'),
    ('{"args": [1], "name": "a", "args": [2]}', "[2]"),
    ('{"args": "old", "args": [2]}', "[2]"),
    ('{"args": [1], "\\u0061rgs": [2]}', "[2]"),
    ('{"\\u0061rgs": [1], "args": [2]}', "[2]"),
    ('{"name": "a", "more": {"args": [1]}}', ""),
    ('{"name": "a", "more": {"args": [1]}, "args": [2]}', "[2]"),
    ('{"name": "\\"args\\": [1],", "args": [2]}', "[2]"),
    ('{"name": "a"}', ""),
    ("{}", ""),
    ('{"args":\r\n[1,\n2]}', "[1, 2]"),
    ('{"args": [1] , "key": null}', "[1]"),
    ('{"name": "a", "args": ["}", "\\"", "\\\\"] } \n', '["}", "\\"", "\\\\"]'),
    ('{"name": "a", "args": [":"] , "args": ["}"]}', '["}"]'),
)


@pytest.mark.parametrize(("text", "wanted"), LINES)
def test_a_field_is_cut_out_to_the_letter(text: str, wanted: str) -> None:
    assert json_fields.field_text(text, "args") == wanted
    assert json_fields._walked(text, "args") == wanted
    if wanted:
        assert json.loads(wanted) == json.loads(text)["args"]

"""Marks for a test whose `project` is on one database only, and why it is not on both."""

from __future__ import annotations

import pytest

sqlite_only = pytest.mark.parametrize("project", ["sqlite"], indirect=True)
"""What is tested doesn't depend on the database, or concerns SQLite's own files."""

mariadb_only = pytest.mark.parametrize("project", ["mariadb"], indirect=True)
"""What is tested concerns a server, its connections or its statements."""

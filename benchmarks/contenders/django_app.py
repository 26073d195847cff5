"""Django with django-tasks-db on SQLite (WAL, FULL): what its scripts share."""

import os

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="bench",
    USE_TZ=True,
    INSTALLED_APPS=["django_tasks_db"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "django.db",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            },
        }
    },
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
)
django.setup()
if not os.path.exists("django.db"):
    call_command("migrate", verbosity=0)

from django_tasks import task  # noqa: E402 - only once Django is set up


@task()  # type: ignore[untyped-decorator]  # django_tasks is not installed where mypy runs
def nothing(*args: object) -> None:
    """Do nothing."""

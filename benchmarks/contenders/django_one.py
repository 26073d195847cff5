"""django-tasks-db: a script that enqueues one task."""

import django_app

django_app.nothing.enqueue("user A", 5000)

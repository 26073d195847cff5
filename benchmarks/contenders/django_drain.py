"""django-tasks-db's worker: enqueue so many no-op tasks, run them all. Prints the seconds."""

import sys
import time

import django_app
from django_tasks_db.management.commands.db_worker import Worker

for _ in range(int(sys.argv[1])):
    django_app.nothing.enqueue()
worker = Worker(
    queue_names=["default"],
    interval=0,
    batch=True,
    backend_name="default",
    startup_delay=False,
    max_tasks=None,
    worker_id="bench",
    excluded_queue_names=[],
)
begin = time.perf_counter()
worker.run()
print(time.perf_counter() - begin)

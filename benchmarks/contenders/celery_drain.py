"""Celery's worker (solo pool, filesystem broker): from the first of so many tasks to the last.

Prints the seconds.
"""

import os
import sys
import time

from celery import Celery

count = int(sys.argv[1])
for folder in ("messages", "control"):
    os.makedirs(folder, exist_ok=True)
app = Celery("bench", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "messages",
    "data_folder_out": "messages",
    "control_folder": "control",
}
app.conf.task_ignore_result = True
app.conf.worker_redirect_stdouts = False
done = 0
begin = 0.0


@app.task(name="nothing")  # type: ignore[untyped-decorator]  # celery has no types
def nothing() -> None:
    """Do nothing but count."""
    global done, begin
    done += 1
    if done == 1:
        begin = time.perf_counter()
    if done == count:
        print(time.perf_counter() - begin, flush=True)
        os._exit(0)


for _ in range(count):
    nothing.delay()
app.Worker(
    pool="solo", loglevel="ERROR", without_mingle=True, without_gossip=True, without_heartbeat=True
).start()

"""Huey's own consumer, one worker: from its start until so many no-op tasks have run.

Arguments: how many, and for MariaDB its port, database, user, password. Prints the seconds.
"""

import os
import sys
import threading
import time

from huey import SqliteHuey

count = int(sys.argv[1])
if sys.argv[2:]:
    from huey.contrib.sql_huey import SqlHuey
    from peewee import MySQLDatabase

    port, name, user, password = sys.argv[2:]
    database = MySQLDatabase(name, host="127.0.0.1", port=int(port), user=user, password=password)
    huey = SqlHuey("bench", database=database)
else:
    huey = SqliteHuey("bench", filename="huey.db")
over = threading.Event()
done = 0


@huey.task()  # type: ignore[untyped-decorator]  # huey has no types
def nothing() -> None:
    """Do nothing but count."""
    global done
    done += 1
    if done == count:
        over.set()


huey.flush()
for _ in range(count):
    nothing()
consumer = huey.create_consumer(workers=1)
begin = time.perf_counter()
consumer.start()
over.wait()
print(time.perf_counter() - begin, flush=True)
os._exit(0)

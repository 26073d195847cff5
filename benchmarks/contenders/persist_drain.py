"""persist-queue with acknowledgement: get and ack so many items. Prints the seconds."""

import sys
import time

from persistqueue import SQLiteAckQueue

count = int(sys.argv[1])
queue = SQLiteAckQueue("queue", auto_commit=True)
for number in range(count):
    queue.put(("happened", number))
begin = time.perf_counter()
for _ in range(count):
    item = queue.get(block=False)
    queue.ack(item)
print(time.perf_counter() - begin)

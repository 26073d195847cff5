"""persist-queue with acknowledgement: a script that puts one item."""

from persistqueue import SQLiteAckQueue

queue = SQLiteAckQueue("queue", auto_commit=True)
queue.put(("happened", "user A", 5000))

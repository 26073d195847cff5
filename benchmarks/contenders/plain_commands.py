"""A bare loop: run /bin/true so many times. Prints the seconds."""

import subprocess
import sys
import time

begin = time.perf_counter()
for _ in range(int(sys.argv[1])):
    subprocess.run(["/bin/true"], check=True)
print(time.perf_counter() - begin)

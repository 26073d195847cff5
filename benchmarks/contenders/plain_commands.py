"""A bare loop: run /bin/true so many times."""

import subprocess
import sys

for _ in range(int(sys.argv[1])):
    subprocess.run(["/bin/true"], check=True)

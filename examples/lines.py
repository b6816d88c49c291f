"""Read lines from stdin, a thousand a step, with a digest: lines.py [STEPS] <FILE."""

import hashlib
import sys
import time

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
digest = hashlib.sha256()
number = 0

for line in sys.stdin:
    number += 1
    digest.update(line.encode())
    if number % 1000 == 0:
        print(number, digest.hexdigest()[:16])
        time.sleep(0.1)
    if number == 1000 * steps:
        break

print("done", number, digest.hexdigest())

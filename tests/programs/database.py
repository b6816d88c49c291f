"""Insert and update rows in an SQLite file, a transaction a step: database.py MODE [STEPS]; MODE is delete or wal."""

import hashlib
import sqlite3
import sys
import time

mode = sys.argv[1]
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
database = sqlite3.connect("database.sqlite")
print(*database.execute(f"PRAGMA journal_mode = {mode}").fetchone())
database.execute("CREATE TABLE rows (step INTEGER PRIMARY KEY, x INTEGER, seen INTEGER DEFAULT 0)")
x = 1
for step in range(1, steps + 1):
    x = (16807 * x + step) % 2147483647
    with database:
        database.execute("INSERT INTO rows (step, x) VALUES (?, ?)", (step, x))
        database.execute("UPDATE rows SET seen = seen + 1 WHERE step % 3 = ?", (step % 3,))
    print(step, *database.execute("SELECT count(*), sum(x), sum(seen) FROM rows").fetchone(), flush=True)
    time.sleep(0.1)
rows = database.execute("SELECT * FROM rows ORDER BY step").fetchall()
print("done", steps, len(rows), hashlib.sha256(repr(rows).encode()).hexdigest())
print(*database.execute("PRAGMA integrity_check").fetchone())
database.close()

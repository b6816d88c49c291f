import sqlite3, sys, time

book = sqlite3.connect("ledger.db", isolation_level=None)
print(book.execute("PRAGMA journal_mode=WAL").fetchone()[0], flush=True)
book.execute("CREATE TABLE rows (step INTEGER PRIMARY KEY, text TEXT)")
for step in range(36):
    book.execute("BEGIN IMMEDIATE")
    book.execute("INSERT INTO rows VALUES (?, ?)", (step, "x" * (500 + step * 37)))
    book.execute("UPDATE rows SET text = text || ? WHERE step % 5 = ?", ("+", step % 5))
    book.execute("COMMIT")
    if step % 12 == 11:
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    print("step", step, *book.execute("SELECT count(*), sum(length(text)) FROM rows").fetchone(), flush=True)
    time.sleep(0.25)
print(book.execute("PRAGMA integrity_check").fetchone()[0], flush=True)
book.close()
sys.exit(27)

# A database with a write-ahead log that four threads write to, with what sqlite3 is used for: transactions, constraints,
# functions and aggregates written in Python, full-text search, backup, blobs, dump.
import json, os, sqlite3, threading

path = "ledger.db"

def connect():
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA synchronous=FULL")
    return db

db = connect()
mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))")
db.executemany("INSERT INTO account VALUES (?, 1000)", [(i,) for i in range(10)])
refused = []

def move(worker):
    own = connect()
    for i in range(200):
        a, b = (worker * 7 + i) % 10, (worker * 3 + i * 5 + 1) % 10
        amount = (i * 37 + worker) % 90
        try:
            own.execute("BEGIN IMMEDIATE")
            own.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, a))
            own.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, b))
            own.execute("COMMIT")
        except sqlite3.IntegrityError:
            own.execute("ROLLBACK")
            refused.append(1)
    own.close()

threads = [threading.Thread(target=move, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]

class Spread:
    def __init__(self): self.values = []
    def step(self, v): self.values.append(v)
    def finalize(self): return max(self.values) - min(self.values)

db.create_aggregate("spread", 1, Spread)
db.create_function("double", 1, lambda v: 2 * v, deterministic=True)
total, spread, doubled = db.execute("SELECT sum(balance), spread(balance), double(21) FROM account").fetchone()

db.execute("CREATE VIRTUAL TABLE note USING fts5(body)")
db.executemany("INSERT INTO note VALUES (?)", [("the grey horse",), ("a saddle",), ("horses and riders",)])
found = [r[0] for r in db.execute("SELECT body FROM note WHERE note MATCH 'horse*' ORDER BY rowid")]

copy = sqlite3.connect(":memory:")
db.backup(copy)
same = copy.execute("SELECT * FROM account ORDER BY id").fetchall() == db.execute("SELECT * FROM account ORDER BY id").fetchall()
blob = os.urandom(1 << 20)
db.execute("CREATE TABLE thing(data BLOB)")
db.execute("INSERT INTO thing VALUES (?)", (blob,))
print(json.dumps({
    "mode": mode, "total": total, "doubled": doubled, "spread_positive": spread > 0, "found": found, "same": same,
    "blob": db.execute("SELECT data FROM thing").fetchone()[0] == blob, "check": db.execute("PRAGMA integrity_check").fetchone()[0],
    "dump": any("CREATE TABLE account" in line for line in copy.iterdump()),
}))

"""The database files that the peers read and write: the same tables as in items.hpp, orders.hpp and events.hpp."""

import itertools
import os
import sqlite3

ITEMS = 100_000
READ_ITEM = "SELECT name FROM item WHERE id = ?"
READ_PURCHASES = "SELECT id, customer, amount, status FROM purchase"
INSERT_EVENT = "INSERT INTO event(kind, message) VALUES (?, ?)"
MESSAGE = "something happened"
SETTINGS = ("PRAGMA journal_mode=wal", "PRAGMA synchronous=full", "PRAGMA foreign_keys=on")


class Files:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count(1)

    def _new(self, *statements):
        path = os.path.join(self.folder, f"{next(self.numbers)}.db")
        db = sqlite3.connect(path, isolation_level=None)
        for sql in SETTINGS:
            db.execute(sql)
        for sql in statements:
            db.execute(sql)
        return path, db

    def events(self):
        path, db = self._new("CREATE TABLE event(id INTEGER PRIMARY KEY, kind INTEGER, message TEXT)")
        db.close()
        return path

    def items(self):
        path, db = self._new(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT",
            "CREATE TABLE event(id INTEGER PRIMARY KEY, kind INTEGER, message TEXT)",
            "BEGIN",
        )
        names = ((i, f"item {i} ".ljust(100, "x")) for i in range(1, ITEMS + 1))
        db.executemany("INSERT INTO item VALUES (?, ?)", names)
        db.execute("COMMIT")
        db.close()
        return path

    def purchases(self, count):
        path, db = self._new(
            "CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, amount REAL NOT NULL, "
            "status TEXT NOT NULL) STRICT",
            "BEGIN",
        )
        rows = (
            (i, i * 7919 % 10_007, i * 0.25, "delivered" if i % 3 == 0 else "on its way") for i in range(1, count + 1)
        )
        db.executemany("INSERT INTO purchase VALUES (?, ?, ?, ?)", rows)
        db.execute("COMMIT")
        db.close()
        return path

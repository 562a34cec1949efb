"""The service of examples/http_users in Python: asyncio on uvloop, the standard library's parts for HTTP, and aiosqlite.

usage: aiosqlite_service.py --port N --database FILE

The same routes that the comparison drives, the same schema, SQL and settings of SQLite: one writing connection, four
reading ones, all opened at start-up; each request borrows one.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sqlite3
from urllib.parse import parse_qsl, urlsplit

import aiosqlite
import uvloop

COLUMNS = "id, email, name, created_at, bio, city FROM users JOIN profiles ON user_id = id"
SCHEMA = """
CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE,
  name TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))) STRICT;
CREATE TABLE IF NOT EXISTS profiles (user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  bio TEXT NOT NULL, city TEXT) STRICT;
"""


class Pool:
    async def open(self, path, readers=4):
        self.writer = await self._connect(path)
        await self.writer.executescript(SCHEMA)
        self.write_lock = asyncio.Lock()
        self.readers = asyncio.LifoQueue()
        self.all = [self.writer]
        for _ in range(readers):
            reader = await self._connect(path)
            await reader.execute("PRAGMA query_only = ON")
            self.all.append(reader)
            self.readers.put_nowait(reader)
        return self

    async def _connect(self, path):
        db = await aiosqlite.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
            await db.execute("PRAGMA " + pragma)
        return db

    @contextlib.asynccontextmanager
    async def reader(self):
        db = await self.readers.get()
        try:
            yield db
        finally:
            self.readers.put_nowait(db)

    @contextlib.asynccontextmanager
    async def transaction(self):
        async with self.write_lock:
            await self.writer.execute("BEGIN IMMEDIATE")
            try:
                yield self.writer
                await self.writer.execute("COMMIT")
            except BaseException:
                await self.writer.execute("ROLLBACK")
                raise

    async def close(self):
        for db in self.all:
            await db.close()


def to_json(row):
    return {"id": row[0], "email": row[1], "name": row[2], "created_at": row[3],
            "profile": {"bio": row[4], "city": row[5]}}


async def list_users(pool, query):
    arguments = (int(query.get("after", 0)), int(query.get("limit", 20)))
    async with pool.reader() as db:
        rows = await db.execute_fetchall(f"SELECT {COLUMNS} WHERE id > ? ORDER BY id LIMIT ?", arguments)
    return 200, {"users": [to_json(row) for row in rows]}


async def find_user(pool, number):
    async with pool.reader() as db:
        rows = list(await db.execute_fetchall(f"SELECT {COLUMNS} WHERE id = ?", (number,)))
    return (200, to_json(rows[0])) if rows else (404, {"error": "no such user"})


async def create_user(pool, body):
    user = json.loads(body)
    bio, city = user.get("bio", ""), user.get("city")
    try:
        async with pool.transaction() as db:
            sql = "INSERT INTO users (email, name) VALUES (?, ?) RETURNING id, created_at"
            (added,) = await db.execute_fetchall(sql, (user["email"], user["name"]))
            await db.execute("INSERT INTO profiles (user_id, bio, city) VALUES (?, ?, ?)", (added[0], bio, city))
    except sqlite3.IntegrityError:
        return 409, {"error": "a user with this email exists"}
    return 201, to_json((added[0], user["email"], user["name"], added[1], bio, city))


async def answer(pool, method, target, body):
    parts = urlsplit(target)
    if parts.path == "/health":
        return 200, {"status": "ok"}
    if parts.path == "/users" and method == "POST":
        return await create_user(pool, body)
    if parts.path == "/users":
        return await list_users(pool, dict(parse_qsl(parts.query)))
    if parts.path.startswith("/users/"):
        return await find_user(pool, int(parts.path[len("/users/"):]))
    return 404, {"error": "not found"}


REASONS = {200: "OK", 201: "Created", 404: "Not Found", 409: "Conflict"}


async def serve(pool, reader, writer):
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            size = 0
            for line in lines[1:]:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    size = int(value)
            body = await reader.readexactly(size) if size else b""
            status, result = await answer(pool, method, target, body)
            data = json.dumps(result, separators=(",", ":")).encode()
            writer.write(f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
    writer.close()


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--database", default="users.db")
    options = options.parse_args()
    pool = await Pool().open(options.database)
    server = await asyncio.start_server(lambda r, w: serve(pool, r, w), "127.0.0.1", options.port, backlog=1024)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    await pool.close()


uvloop.install()
asyncio.run(main())

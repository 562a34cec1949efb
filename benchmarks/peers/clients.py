"""The peers, each as its own documentation would have it used, with the cheapest call that does the work."""

import asyncio
import concurrent.futures
import itertools

import aiosqlite
import apsw

from files import SETTINGS


class Aiosqlite:
    name = "aiosqlite"
    version = aiosqlite.__version__

    @classmethod
    async def open(cls, path):
        self = cls()
        self.db = await aiosqlite.connect(path, isolation_level=None)
        for sql in SETTINGS:
            await self.db.execute_fetchall(sql)
        return self

    async def close(self):
        await self.db.close()

    async def read(self, sql, *arguments):
        """All rows, in one hop to the thread."""
        return await self.db.execute_fetchall(sql, arguments)

    write = read

    async def stream(self, sql):
        async with self.db.execute(sql) as cursor:
            async for row in cursor:
                yield row

    async def write_many(self, sql, rows):
        await self.db.execute_fetchall("BEGIN IMMEDIATE")
        await (await self.db.executemany(sql, rows)).close()
        await self.db.execute_fetchall("COMMIT")


class Apsw:
    """This version of APSW has no asynchronous interface: a thread for each connection, as its users do it."""

    name = "APSW + a thread"
    version = apsw.apswversion()

    @classmethod
    async def open(cls, path):
        self = cls()
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.loop = asyncio.get_running_loop()
        self.db = await self._on_thread(apsw.Connection, path)
        for sql in SETTINGS:
            await self.write(sql)
        return self

    def _on_thread(self, function, *arguments):
        return self.loop.run_in_executor(self.thread, function, *arguments)

    async def close(self):
        await self._on_thread(self.db.close)
        self.thread.shutdown()

    def _fetch(self, sql, arguments):
        return self.db.cursor().execute(sql, arguments).fetchall()

    async def read(self, sql, *arguments):
        return await self._on_thread(self._fetch, sql, arguments)

    write = read

    async def stream(self, sql):
        cursor = await self._on_thread(self.db.cursor().execute, sql)
        while rows := await self._on_thread(lambda: list(itertools.islice(cursor, 1000))):
            for row in rows:
                yield row

    def _write_many(self, sql, rows):
        with self.db:
            self.db.cursor().executemany(sql, rows)

    async def write_many(self, sql, rows):
        await self._on_thread(self._write_many, sql, rows)


ALL = (Aiosqlite, Apsw)

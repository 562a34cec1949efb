"""The workloads of the C++ programs beside this folder, by the same names, for a client of clients.py."""

import asyncio
import itertools
import random
import resource
import time

from files import INSERT_EVENT, ITEMS, MESSAGE, READ_ITEM, READ_PURCHASES


class Stopwatch:
    def start(self):
        self.cpu, self.wall = self._cpu(), time.perf_counter()

    def stop(self, count):
        self.rate = count / (time.perf_counter() - self.wall)
        self.cpu_us = (self._cpu() - self.cpu) * 1e6 / count

    @staticmethod
    def _cpu():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime


async def read_items(db, seed, count):
    ids = random.Random(seed)
    for _ in range(count):
        rows = await db.read(READ_ITEM, ids.randint(1, ITEMS))
        assert len(rows[0][0]) == 100


def point_reads(readers):
    async def run(client, files, scale, watch):
        db = await client.open(files.items())
        await read_items(db, 0, 100)
        each = max(1, scale(20_000) // readers)
        watch.start()
        await asyncio.gather(*(read_items(db, r, each) for r in range(readers)))
        watch.stop(each * readers)
        await db.close()

    return run


async def scan_streamed(client, files, scale, watch):
    db = await client.open(files.purchases(scale(1_000_000)))
    count = 0
    watch.start()
    async for _ in db.stream(READ_PURCHASES):
        count += 1
    watch.stop(count)
    await db.close()


async def scan_fetched(client, files, scale, watch):
    db = await client.open(files.purchases(scale(1_000_000)))
    watch.start()
    rows = await db.read(READ_PURCHASES)
    watch.stop(len(rows))
    await db.close()


async def bulk_insert(client, files, scale, watch):
    rows = [(i, MESSAGE) for i in range(scale(1_000_000))]
    db = await client.open(files.events())
    watch.start()
    await db.write_many(INSERT_EVENT, rows)
    watch.stop(len(rows))
    await db.close()


async def inserts_in_transaction(client, files, scale, watch):
    db = await client.open(files.events())
    count = scale(20_000)
    await db.write("BEGIN IMMEDIATE")
    watch.start()
    for i in range(count):
        await db.write(INSERT_EVENT, i, MESSAGE)
    watch.stop(count)
    await db.write("COMMIT")
    await db.close()


async def write_events(db, count):
    for i in range(count):
        await db.write(INSERT_EVENT, i, MESSAGE)


def durable_inserts(writers):
    async def run(client, files, scale, watch):
        db = await client.open(files.events())
        each = scale(2_000) // writers + 1
        watch.start()
        await asyncio.gather(*(write_events(db, each) for _ in range(writers)))
        watch.stop(each * writers)
        await db.close()

    return run


async def four_readers_and_a_writer(client, files, scale, watch):
    path = files.items()
    readers = [await client.open(path) for _ in range(4)]
    writer = await client.open(path)
    each = scale(20_000) // len(readers)

    async def write():
        for i in itertools.count():
            await writer.write(INSERT_EVENT, i, MESSAGE)

    watch.start()
    writing = asyncio.ensure_future(write())
    await asyncio.gather(*(read_items(db, i, each) for i, db in enumerate(readers)))
    watch.stop(each * len(readers))
    writing.cancel()
    await asyncio.wait([writing])
    for db in (*readers, writer):
        await db.close()


async def open_and_close(client, files, scale, watch):
    path, count = files.items(), scale(500)
    watch.start()
    for _ in range(count):
        await (await client.open(path)).close()
    watch.stop(count)


# (C++ program, name of its row, what to run)
ALL = (
    ("point_reads", "point read, one awaited at a time", point_reads(1)),
    ("point_reads", "point reads, 64 at once", point_reads(64)),
    ("point_reads", "point reads, 1,024 at once", point_reads(1024)),
    ("scans", "scan of 1M rows, streamed", scan_streamed),
    ("scans", "scan of 1M rows, fetched into structs", scan_fetched),
    ("bulk_insert", "insert of 1M rows, one call", bulk_insert),
    ("inserts", "inserts awaited one by one in a transaction", inserts_in_transaction),
    ("inserts", "durable inserts, one at a time", durable_inserts(1)),
    ("inserts", "durable inserts, 64 at once (raw: one at a time)", durable_inserts(64)),
    ("pool", "pool of 4 readers and a writer, 4 coroutines read", four_readers_and_a_writer),
    ("open_close", "open and close", open_and_close),
)

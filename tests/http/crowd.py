"""Many clients at once."""

import re
import resource
import shutil
import sqlite3
import subprocess
from pathlib import Path

from case import Case, creation, until, user


class Crowd(Case):
    options = ("--request-timeout", 120_000, "--read-timeout", 120_000)

    def thousand(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 1100:
            if hard < 1100:
                self.skipTest("too few file descriptors")
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = []
        for _ in range(1000):
            clients.append(self.service.client())
            self.addCleanup(clients[-1].socket.close)
        self.assertTrue(until(lambda: self.service.metric("http_connections_open") == 1001))
        return clients

    def everyone_leaves(self, clients):
        for client in clients:
            client.socket.close()
        self.assertTrue(until(lambda: self.service.metric("http_connections_open") == 1))
        self.assertEqual(self.service.log(), "")

    def test_a_thousand_open_connections_are_served(self):
        clients = self.thousand()
        for round_ in range(3):
            for number, client in enumerate(clients):
                if round_ == 0 and number % 10 == 0:
                    client.send(creation(number))
                else:
                    path = "/health" if (number + round_) % 2 else "/users?limit=1"
                    client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
            for number, client in enumerate(clients):
                self.check(client.response(), 201 if round_ == 0 and number % 10 == 0 else 200)
        self.everyone_leaves(clients)

    def test_a_thousand_slow_clients_hold_up_nobody(self):
        clients = self.thousand()
        text = creation(1)
        for client in clients:
            client.send(text[:-1])
        with self.service.client() as quick:
            for number in range(2, 12):
                self.check(quick.request("POST", "/users", user(number)), 201)
        # All of them want the same address: the first to be complete has it.
        for client in clients:
            client.send(text[-1])
        statuses = sorted(client.response()[0] for client in clients)
        self.assertEqual(statuses, [201] + [409] * 999)
        self.everyone_leaves(clients)

    def test_concurrent_creations_of_one_address_let_one_through(self):
        clients = [self.service.client() for _ in range(50)]
        for client in clients:
            client.send(creation(1))
        statuses = sorted(client.response()[0] for client in clients)
        for client in clients:
            client.socket.close()
        self.assertEqual(statuses, [201] + [409] * 49)

    def test_wrk_sees_no_error(self):
        with self.service.client() as client:
            for number in range(100):
                self.check(client.request("POST", "/users", user(number)), 201)
        self.wrk("/users?limit=10")

    def test_wrk_creates_users_and_each_that_was_acknowledged_is_there(self):
        script = Path(self.folder) / "create.lua"
        script.write_text("""
            local n = 0
            request = function()
              n = n + 1
              return wrk.format("POST", "/users", nil, '{"email":"w' .. n .. '@example.org","name":"W","bio":"b"}')
            end""")
        acknowledged = self.wrk("/users", "-s", str(script))
        self.assertEqual(self.service.stop(), 0)
        with sqlite3.connect(self.service.database) as db:
            count, = db.execute("SELECT count(*) FROM users JOIN profiles ON user_id = id").fetchone()
        self.assertGreater(acknowledged, 0)
        self.assertGreaterEqual(count, acknowledged)

    def wrk(self, path, *options):
        if not shutil.which("wrk"):
            self.skipTest("wrk is not installed")
        done = subprocess.run(["wrk", "-t1", "-c32", "-d1s", *options, self.service.url + path],
                              capture_output=True, text=True, timeout=60, check=True)
        self.assertNotIn("Socket errors", done.stdout)
        self.assertNotIn("Non-2xx", done.stdout)
        return int(re.search(r"(\d+) requests in", done.stdout)[1])

"""Tests of examples/http_users by real clients against the running process.   service.py <program>"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

program = ""


class Client:
    """A socket that speaks HTTP without a library's help, so that it can also speak it badly."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def request(self, method, path, body=None, headers=""):
        data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data)
        return self.response(head=method == "HEAD")

    def response(self, head=False):
        """(status, headers, body), or None where the server has closed the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        start, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = start.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        size = 0 if head else int(headers.get("content-length", 0))
        while len(self.buffer) < size:
            if not self._more():
                return None
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return int(lines[0].split()[1]), headers, body

    def closed(self):
        """Whether the server closes the connection, with nothing left to read."""
        return not self.buffer and not self._more()

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)


class Service:
    def __init__(self, folder, *options):
        self.database = Path(folder) / "users.db"
        self.errors = open(Path(folder) / "errors", "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            [program, "--port", "0", "--database", str(self.database), *map(str, options)],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        if not found:
            raise AssertionError(f"the service did not start: {line!r} {self.log()!r}")
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def log(self):
        self.errors.seek(0)
        return self.errors.read()

    def client(self):
        return Client(self.port)

    def metric(self, name):
        with self.client() as client:
            text = client.request("GET", "/metrics")[2].decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def user(number, **more):
    return {"email": f"user{number}@example.org", "name": f"User {number}", **more}


class Case(unittest.TestCase):
    options = ()

    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.service = self.start()

    def start(self):
        service = Service(self.folder, *self.options)
        self.addCleanup(service.end)
        return service

    def check(self, response, status):
        self.assertIsNotNone(response, "the connection was closed: " + self.service.log())
        self.assertEqual(response[0], status, response[2])
        return json.loads(response[2]) if response[2] else None


class Correctness(Case):
    def test_users_are_created_with_their_profiles_and_found_listed_and_deleted(self):
        with self.service.client() as client:
            created = client.request("POST", "/users", user(1, bio="writes", city="Rosario"))
            one = self.check(created, 201)
            self.assertEqual(created[1]["location"], f"/users/{one['id']}")
            self.assertEqual(one["profile"], {"bio": "writes", "city": "Rosario"})
            self.assertRegex(one["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            two = self.check(client.request("POST", "/users", user(2)), 201)
            self.assertEqual(two["profile"], {"bio": "", "city": None})

            self.assertEqual(self.check(client.request("GET", f"/users/{one['id']}"), 200), one)
            self.assertEqual(self.check(client.request("GET", "/users"), 200), {"users": [one, two]})
            self.assertEqual(self.check(client.request("GET", "/users?limit=1"), 200), {"users": [one]})
            self.assertEqual(self.check(client.request("GET", f"/users?after={one['id']}"), 200), {"users": [two]})

            self.assertEqual(client.request("DELETE", f"/users/{one['id']}")[0], 204)
            self.check(client.request("DELETE", f"/users/{one['id']}"), 404)
            self.check(client.request("GET", f"/users/{one['id']}"), 404)
            self.assertEqual(self.check(client.request("GET", "/users"), 200), {"users": [two]})

    def test_search_takes_every_character_for_itself(self):
        with self.service.client() as client:
            for number, name in enumerate(["Ché 100%", "Che 100 percent", "a_b", "axb", "c\\d"]):
                self.check(client.request("POST", "/users", {"email": f"s{number}@x", "name": name}), 201)

            def names(query):
                found = self.check(client.request("GET", "/users/search?q=" + query), 200)
                return [u["name"] for u in found["users"]]

            self.assertEqual(names("100%25"), ["Ché 100%"])
            self.assertEqual(names("a_b"), ["a_b"])
            self.assertEqual(names("c%5Cd"), ["c\\d"])
            self.assertEqual(names("che+100"), ["Che 100 percent"])
            self.assertEqual(names("Ch%C3%A9"), ["Ché 100%"])
            self.assertEqual(names("s3@x"), ["axb"])
            self.assertEqual(names("'%20OR%201%3D1"), [])

    def test_a_taken_address_is_a_conflict_and_leaves_nothing_behind(self):
        with self.service.client() as client:
            self.check(client.request("POST", "/users", user(1)), 201)
            self.check(client.request("POST", "/users", user(1)), 409)
            self.check(client.request("POST", "/users", {**user(1), "email": "USER1@EXAMPLE.ORG"}), 409)
            self.assertEqual(len(self.check(client.request("GET", "/users"), 200)["users"]), 1)
        self.assertEqual(self.service.log(), "")

    def test_what_is_wrong_with_a_request_is_said(self):
        with self.service.client() as client:
            for body, status in [(b"", 400), (b"{", 400), (b"[]", 422), (b"{}", 422),
                                 (json.dumps({"email": "x", "name": "y"}).encode(), 422),
                                 (json.dumps({"email": 5, "name": "y"}).encode(), 422),
                                 (json.dumps({"email": "a@b", "name": ""}).encode(), 422),
                                 (json.dumps({"email": "a@b", "name": "n" * 201}).encode(), 422),
                                 (json.dumps({"email": "a@b", "name": "n", "city": 1}).encode(), 422),
                                 (b'{"email":"a@b","name":"\xff"}', 400), (b"[" * 60_000, 400),
                                 (b"[" * 30_000 + b"]" * 30_000, 422)]:
                with self.subTest(body=body):
                    self.assertIn("error", self.check(client.request("POST", "/users", body), status))
            for path in ["/users?limit=0", "/users?limit=101", "/users?limit=x", "/users?after=-1", "/users/search",
                         "/users/search?q=", "/users/search?q=a&limit=9999"]:
                with self.subTest(path=path):
                    self.check(client.request("GET", path), 400)
            for path in ["/", "/user", "/users/", "/users/x", "/users/1x", "/users/99999999999999999999"]:
                with self.subTest(path=path):
                    self.check(client.request("GET", path), 404)
            for path, methods in [("/users", "GET, HEAD, POST"), ("/users/1", "DELETE, GET, HEAD"),
                                  ("/users/search?q=a", "GET, HEAD"), ("/health", "GET, HEAD"),
                                  ("/metrics", "GET, HEAD")]:
                with self.subTest(path=path):
                    refused = client.request("PUT", path, {})
                    self.check(refused, 405)
                    self.assertEqual(refused[1]["allow"], methods)

    def test_head_has_the_headers_of_get_and_no_body(self):
        with self.service.client() as client:
            get = client.request("GET", "/users")
            head = client.request("HEAD", "/users")
            self.assertEqual(head[1]["content-length"], get[1]["content-length"])
            self.assertEqual(head[2], b"")
            self.check(client.request("GET", "/health"), 200)

    def test_health_and_metrics(self):
        with self.service.client() as client:
            self.assertEqual(self.check(client.request("GET", "/health"), 200), {"status": "ok"})
            client.request("GET", "/missing")
        self.assertEqual(self.service.metric('http_responses_total{class="4xx"}'), 1)
        self.assertGreaterEqual(self.service.metric('http_responses_total{class="2xx"}'), 2)
        self.assertTrue(until(lambda: self.service.metric("http_connections_open") == 1))

    def test_curl_agrees(self):
        if not shutil.which("curl"):
            self.skipTest("curl is not installed")

        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "-m", "30", "-w", "\n%{http_code}", *arguments], capture_output=True,
                                  text=True, check=True)
            return done.stdout.rsplit("\n", 1)

        body, status = curl("-d", json.dumps(user(1)), self.service.url + "/users")
        self.assertEqual((status, json.loads(body)["name"]), ("201", "User 1"))
        body, status = curl(self.service.url + "/users/1", self.service.url + "/users/2")
        self.assertEqual(status, "404")
        self.assertEqual(curl("--http2", self.service.url + "/health")[1], "200")
        self.assertEqual(curl("-H", "Expect: 100-continue", "-d", json.dumps(user(2)), self.service.url + "/users")[1],
                         "201")
        self.assertEqual(curl("-H", "Transfer-Encoding: chunked", "-d", json.dumps(user(3)),
                              self.service.url + "/users")[1], "201")
        self.assertEqual(curl("-X", "DELETE", self.service.url + "/users/1")[1], "204")
        large = Path(self.folder) / "large"
        large.write_bytes(b" " * 3_000_000)
        self.assertEqual(curl("--data-binary", f"@{large}", self.service.url + "/users")[1], "413")
        self.assertEqual(curl("-H", "Expect:", "--data-binary", f"@{large}", self.service.url + "/users")[1], "413")


class Protocol(Case):
    options = ("--read-timeout", 700, "--idle-timeout", 60_000)

    def test_connections_are_kept_alive_or_closed_as_the_client_wishes(self):
        with self.service.client() as client:
            for _ in range(3):
                self.assertEqual(client.request("GET", "/health")[1]["connection"], "keep-alive")
            self.assertEqual(client.request("GET", "/health", headers="Connection: close\r\n")[1]["connection"], "close")
            self.assertTrue(client.closed())
        with self.service.client() as client:
            client.send("GET /health HTTP/1.0\r\n\r\n")
            self.assertEqual(client.response()[0], 200)
            self.assertTrue(client.closed())

    def test_pipelined_requests_are_answered_in_order(self):
        count = 100
        with self.service.client() as client:
            client.send("".join(f"GET /users/search?q=none&limit={n % 100 + 1} HTTP/1.1\r\nHost: t\r\n\r\n"
                                f"GET /missing HTTP/1.1\r\nHost: t\r\n\r\n" for n in range(count)))
            self.assertEqual([client.response()[0] for _ in range(2 * count)], [200, 404] * count)

    def test_a_request_may_arrive_byte_by_byte(self):
        body = json.dumps(user(1))
        text = f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with self.service.client() as client:
            for byte in text:
                client.send(byte)
            self.check(client.response(), 201)

    def test_malformed_requests_get_400_and_the_connection_is_closed(self):
        for text in ["nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nHost t\r\n\r\n",
                     "GET / HTTP/1.1\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n",
                     "GET /users?q=%2 HTTP/1.1\r\nHost: t\r\n\r\n",
                     "POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n",
                     "POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                     "POST /users HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                     "POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     "GET /health HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n",
                     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]:
            with self.subTest(text=text), self.service.client() as client:
                client.send(text.encode("latin-1"))
                self.check(client.response(), 400)
                self.assertTrue(client.closed())
        with self.service.client() as client:
            self.check(client.request("GET", "/health"), 200)

    def test_a_malformed_request_does_not_cost_the_good_ones_before_it(self):
        with self.service.client() as client:
            client.send("GET /health HTTP/1.1\r\nHost: t\r\n\r\nnonsense\r\n\r\n")
            self.check(client.response(), 200)
            self.check(client.response(), 400)
            self.assertTrue(client.closed())

    def test_what_is_too_large_is_refused(self):
        with self.service.client() as client:
            client.send("POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n")
            self.check(client.response(), 413)
        with self.service.client() as client:
            client.send("POST /users HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"12000\r\n" + b"x" * 0x12000)
            self.check(client.response(), 413)
        with self.service.client() as client:
            client.send("GET / HTTP/1.1\r\nHost: t\r\nX: " + "x" * 20000 + "\r\n\r\n")
            self.check(client.response(), 431)
        with self.service.client() as client:
            client.send("GET /" + "x" * 20000 + " HTTP/1.1\r\nHost: t\r\n\r\n")
            self.check(client.response(), 414)
        with self.service.client() as client:
            self.check(client.request("GET", "/health"), 200)

    def test_a_slow_client_is_told_so_and_holds_up_nobody(self):
        with self.service.client() as slow, self.service.client() as other:
            slow.send("POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{")
            self.check(other.request("GET", "/health"), 200)
            self.check(slow.response(), 408)
            self.assertTrue(slow.closed())

    def test_a_client_that_does_not_read_its_answers_holds_up_nobody(self):
        with self.service.client() as deaf, self.service.client() as other:
            for number in range(30):
                self.check(other.request("POST", "/users", user(number, bio="b" * 9000)), 201)
            deaf.socket.settimeout(0.5)
            try:
                while True:
                    deaf.send("GET /users?limit=100 HTTP/1.1\r\nHost: t\r\n\r\n" * 10)
            except (TimeoutError, OSError):
                pass
            self.check(other.request("GET", "/health"), 200)


class IdleClients(Case):
    options = ("--idle-timeout", 300)

    def test_an_idle_connection_is_closed(self):
        with self.service.client() as client:
            self.assertTrue(client.closed())
        with self.service.client() as client:
            self.check(client.request("GET", "/health"), 200)
            self.assertTrue(client.closed())


class Deadlines(Case):
    options = ("--request-timeout", 300)

    def hold_the_write_lock(self):
        other = sqlite3.connect(self.service.database, isolation_level=None, timeout=30)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        return other

    def test_a_request_whose_deadline_passes_gets_503_and_did_nothing(self):
        other = self.hold_the_write_lock()
        with self.service.client() as client:
            late = client.request("POST", "/users", user(1))
            self.check(late, 503)
            self.assertEqual(late[1]["retry-after"], "1")
            self.check(client.request("GET", "/users"), 200)
            other.execute("ROLLBACK")
            self.assertEqual(self.check(client.request("GET", "/users"), 200), {"users": []})
            self.assertTrue(until(lambda: client.request("POST", "/users", user(1))[0] == 201))


class ClientsThatLeave(Case):
    options = ("--request-timeout", 60_000)

    def test_a_client_that_goes_away_cancels_its_request_only(self):
        other = Deadlines.hold_the_write_lock(self)
        with self.service.client() as stays:
            with self.service.client() as leaves:
                body = json.dumps(user(1))
                leaves.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
                self.assertTrue(until(lambda: self.service.metric("http_requests_in_progress") == 2))
            self.assertTrue(until(lambda: self.service.metric("http_requests_cancelled_total") == 1))
            other.execute("ROLLBACK")
            two = self.check(stays.request("POST", "/users", user(2)), 201)
            self.assertEqual(self.check(stays.request("GET", "/users"), 200), {"users": [two]})

    def test_sigterm_lets_what_is_under_way_finish(self):
        other = Deadlines.hold_the_write_lock(self)
        with self.service.client() as busy, self.service.client() as idle:
            self.check(idle.request("GET", "/health"), 200)
            body = json.dumps(user(1))
            busy.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            self.assertTrue(until(lambda: self.service.metric("http_requests_in_progress") == 2))
            self.service.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.closed())
            other.execute("ROLLBACK")
            other.close()
            answer = busy.response()
            self.check(answer, 201)
            self.assertEqual(answer[1]["connection"], "close")
            self.assertTrue(busy.closed())
        self.assertEqual(self.service.process.wait(timeout=60), 0)
        self.assertEqual(self.service.log(), "")
        # A clean end leaves one file: what was in the log is in the database.
        self.assertEqual(sorted(p.name for p in Path(self.folder).glob("users.db*")), ["users.db"])


    def test_sigterm_lets_a_request_that_is_arriving_arrive(self):
        body = json.dumps(user(1))
        with self.service.client() as arriving, self.service.client() as idle:
            self.check(idle.request("GET", "/health"), 200)
            arriving.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body[:5]}")
            self.assertTrue(until(lambda: self.service.metric("http_connections_open") == 3))
            self.service.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.closed())
            arriving.send(body[5:])
            answer = arriving.response()
            self.check(answer, 201)
            self.assertEqual(answer[1]["connection"], "close")
            self.assertTrue(arriving.closed())
        self.assertEqual(self.service.process.wait(timeout=60), 0)


class Impatience(Case):
    options = ("--grace", 100, "--request-timeout", 60_000)

    def test_sigterm_cancels_what_takes_longer_than_the_grace(self):
        Deadlines.hold_the_write_lock(self)
        with self.service.client() as busy:
            body = json.dumps(user(1))
            busy.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            self.assertTrue(until(lambda: self.service.metric("http_requests_in_progress") == 2))
            self.assertEqual(self.service.stop(), 0)
            self.assertTrue(busy.closed())


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
                    body = json.dumps(user(number))
                    client.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
                else:
                    path = "/health" if (number + round_) % 2 else "/users?limit=1"
                    client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
            for number, client in enumerate(clients):
                self.check(client.response(), 201 if round_ == 0 and number % 10 == 0 else 200)
        self.everyone_leaves(clients)

    def test_a_thousand_slow_clients_hold_up_nobody(self):
        clients = self.thousand()
        body = json.dumps(user(1))
        text = f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}"
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
        body = json.dumps(user(1))
        for client in clients:
            client.send(f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}")
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


class Migrations(Case):
    def history(self):
        with sqlite3.connect(self.service.database) as db:
            return db.execute("SELECT version, name, applied_at FROM cosqlite_migrations ORDER BY version").fetchall()

    def refuse(self, change, *messages):
        self.assertEqual(self.service.stop(), 0)
        with sqlite3.connect(self.service.database) as db:
            db.execute(change)
        done = subprocess.run([program, "--port", "0", "--database", str(self.service.database)],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        for message in messages:
            self.assertIn(message, done.stderr)

    def test_each_step_is_applied_at_the_first_start_and_never_again(self):
        first = self.history()
        self.assertEqual([entry[:2] for entry in first], [(1, "users"), (2, "profiles")])
        self.assertEqual(self.service.stop(), 0)
        self.service = self.start()
        self.assertEqual(self.history(), first)

    def test_a_database_that_is_behind_is_brought_forward_with_its_users(self):
        with self.service.client() as client:
            self.check(client.request("POST", "/users", user(1)), 201)
        self.assertEqual(self.service.stop(), 0)
        with sqlite3.connect(self.service.database) as db:
            db.executescript("DROP TABLE profiles; DELETE FROM cosqlite_migrations WHERE version = 2")
        self.service = self.start()
        self.assertEqual([entry[:2] for entry in self.history()], [(1, "users"), (2, "profiles")])
        with self.service.client() as client:
            self.check(client.request("POST", "/users", user(1)), 409)
            self.check(client.request("POST", "/users", user(2)), 201)

    def test_services_that_start_at_once_on_a_new_file_apply_each_step_once(self):
        self.assertEqual(self.service.stop(), 0)
        for path in Path(self.folder).glob("users.db*"):
            path.unlink()
        command = [program, "--port", "0", "--database", str(self.service.database)]
        services = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                    for _ in range(6)]
        for service in services:
            self.addCleanup(service.kill)
            self.assertRegex(service.stdout.readline(), "listening on ")
        for service in services:
            service.send_signal(signal.SIGTERM)
            self.assertEqual(service.communicate(timeout=60)[1], "")
            self.assertEqual(service.returncode, 0)
        self.assertEqual([entry[:2] for entry in self.history()], [(1, "users"), (2, "profiles")])

    def test_the_database_of_a_newer_service_is_refused(self):
        self.refuse("INSERT INTO cosqlite_migrations VALUES (3, 'later', 'x', '2026-01-01 00:00:00.000', 1)",
                    "http_users: ", "3", "newer")

    def test_a_database_whose_history_is_another_is_refused(self):
        self.refuse("UPDATE cosqlite_migrations SET checksum = 'x' WHERE version = 2", "migration 2 (profiles)")

    def test_the_database_of_another_program_is_refused(self):
        self.refuse("PRAGMA application_id = 5", "application_id is 0x00000005")


class Crashes(Case):
    def test_no_acknowledged_user_is_lost_by_kill_9(self):
        acknowledged = set()
        for _ in range(3):
            threads = [threading.Thread(target=self.create_until_the_end, args=(self.service, n, acknowledged))
                       for n in range(4)]
            before = len(acknowledged)
            for thread in threads:
                thread.start()
            self.assertTrue(until(lambda: len(acknowledged) >= before + 40))
            self.service.process.kill()
            self.service.process.wait()
            for thread in threads:
                thread.join()
            self.service = self.start()
            self.assertLessEqual(acknowledged, self.everybody())

    counter = 0
    lock = threading.Lock()

    def create_until_the_end(self, service, _, acknowledged):
        try:
            with service.client() as client:
                while True:
                    with self.lock:
                        Crashes.counter += 1
                        number = Crashes.counter
                    answer = client.request("POST", "/users", user(number))
                    if answer is None:
                        return
                    if answer[0] == 201:
                        acknowledged.add((json.loads(answer[2])["id"], f"user{number}@example.org"))
        except OSError:
            return

    def everybody(self):
        found, after = set(), 0
        with self.service.client() as client:
            while True:
                page = self.check(client.request("GET", f"/users?limit=100&after={after}"), 200)["users"]
                if not page:
                    return found
                found |= {(u["id"], u["email"]) for u in page}
                after = page[-1]["id"]

    def test_it_starts_again_on_its_own_database(self):
        with self.service.client() as client:
            one = self.check(client.request("POST", "/users", user(1)), 201)
        self.assertEqual(self.service.stop(), 0)
        self.service = self.start()
        with self.service.client() as client:
            self.assertEqual(self.check(client.request("GET", f"/users/{one['id']}"), 200), one)

    def test_it_says_why_it_does_not_start(self):
        taken = subprocess.run([program, "--port", str(self.service.port), "--database",
                                os.path.join(self.folder, "other.db")], capture_output=True, text=True, timeout=60)
        self.assertEqual(taken.returncode, 1)
        self.assertIn("http_users: 127.0.0.1:", taken.stderr)
        self.assertIn("in use", taken.stderr)
        missing = subprocess.run([program, "--database", os.path.join(self.folder, "no", "u.db")], capture_output=True,
                                 text=True, timeout=60)
        self.assertEqual(missing.returncode, 1)
        for wrong, said in ((["--port", "x"], '--port wants a number from 0 to 65535, not "x"'),
                            (["--port", "65536"], "--port wants a number"),
                            (["--readers", "-1"], "--readers wants a number"),
                            (["--database"], "--database wants a value"),
                            (["--nonsense", "1"], "there is no option --nonsense")):
            done = subprocess.run([program, *wrong], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    program = sys.argv[1]
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])

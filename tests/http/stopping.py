"""Requests that end early: by their deadline, by a client that leaves, by SIGTERM."""

import signal
from pathlib import Path

from case import Case, creation, until, user


class Deadlines(Case):
    options = ("--request-timeout", 300)

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
        other = self.hold_the_write_lock()
        with self.service.client() as stays:
            with self.service.client() as leaves:
                leaves.send(creation(1))
                self.assertTrue(until(lambda: self.service.metric("http_requests_in_progress") == 2))
            self.assertTrue(until(lambda: self.service.metric("http_requests_cancelled_total") == 1))
            other.execute("ROLLBACK")
            two = self.check(stays.request("POST", "/users", user(2)), 201)
            self.assertEqual(self.check(stays.request("GET", "/users"), 200), {"users": [two]})

    def test_sigterm_lets_what_is_under_way_finish(self):
        other = self.hold_the_write_lock()
        with self.service.client() as busy, self.service.client() as idle:
            self.check(idle.request("GET", "/health"), 200)
            busy.send(creation(1))
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
        text = creation(1)
        some = text.index("{") + 5
        with self.service.client() as arriving, self.service.client() as idle:
            self.check(idle.request("GET", "/health"), 200)
            arriving.send(text[:some])
            self.assertTrue(until(lambda: self.service.metric("http_connections_open") == 3))
            self.service.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.closed())
            arriving.send(text[some:])
            answer = arriving.response()
            self.check(answer, 201)
            self.assertEqual(answer[1]["connection"], "close")
            self.assertTrue(arriving.closed())
        self.assertEqual(self.service.process.wait(timeout=60), 0)


class Impatience(Case):
    options = ("--grace", 100, "--request-timeout", 60_000)

    def test_sigterm_cancels_what_takes_longer_than_the_grace(self):
        self.hold_the_write_lock()
        with self.service.client() as busy:
            busy.send(creation(1))
            self.assertTrue(until(lambda: self.service.metric("http_requests_in_progress") == 2))
            self.assertEqual(self.service.stop(), 0)
            self.assertTrue(busy.closed())

"""What the test cases have in common."""

import json
import sqlite3
import tempfile
import time
import unittest

from service import Service


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def user(number, **more):
    return {"email": f"user{number}@example.org", "name": f"User {number}", **more}


def creation(number):
    """The text of a request that creates a user."""
    body = json.dumps(user(number))
    return f"POST /users HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n{body}"


class Case(unittest.TestCase):
    """Each test has a service and a database of its own."""

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

    def hold_the_write_lock(self):
        """The connection of another program, which holds the lock until it is told to ROLLBACK."""
        other = sqlite3.connect(self.service.database, isolation_level=None, timeout=30)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        return other

"""The schema at the start: made, brought forward, or refused."""

import signal
import sqlite3
import subprocess
from pathlib import Path

from case import Case, user
from service import Service


class Migrations(Case):
    def history(self):
        with sqlite3.connect(self.service.database) as db:
            return db.execute("SELECT version, name, applied_at FROM cosqlite_migrations ORDER BY version").fetchall()

    def refuse(self, change, *messages):
        self.assertEqual(self.service.stop(), 0)
        with sqlite3.connect(self.service.database) as db:
            db.execute(change)
        done = Service.refused("--port", 0, "--database", self.service.database)
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
        command = Service.command(self.service.database)
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

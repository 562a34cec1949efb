"""It starts again after any end, with every user that was acknowledged, or says why it does not start."""

import json
import threading
from pathlib import Path

from case import Case, until, user
from service import Service


class Starts(Case):
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
                        Starts.counter += 1
                        number = Starts.counter
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
        taken = Service.refused("--port", self.service.port, "--database", Path(self.folder) / "other.db")
        self.assertEqual(taken.returncode, 1)
        self.assertIn("http_users: 127.0.0.1:", taken.stderr)
        self.assertIn("in use", taken.stderr)
        missing = Service.refused("--database", Path(self.folder) / "no" / "u.db")
        self.assertEqual(missing.returncode, 1)
        for wrong, said in ((["--port", "x"], '--port wants a number from 0 to 65535, not "x"'),
                            (["--port", "65536"], "--port wants a number"),
                            (["--readers", "-1"], "--readers wants a number"),
                            (["--database"], "--database wants a value"),
                            (["--nonsense", "1"], "there is no option --nonsense")):
            done = Service.refused(*wrong)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)

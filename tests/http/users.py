"""Users are created, found, listed, searched and deleted, and what is wrong with a request is said."""

import json
import shutil
import subprocess
from pathlib import Path

from case import Case, until, user


class Users(Case):
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

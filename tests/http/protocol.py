"""HTTP itself: whole, in pieces, pipelined, malformed, too large, too slow."""

from case import Case, creation, user


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
        text = creation(1)
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

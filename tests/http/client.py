"""A client that speaks HTTP over a plain socket."""

import json
import socket


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

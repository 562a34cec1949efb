"""The running service."""

import re
import signal
import subprocess
from pathlib import Path

from client import Client


class Service:
    """The service as a process of its own, on a free port."""

    program = ""

    def __init__(self, folder, *options):
        self.database = Path(folder) / "users.db"
        self.errors = open(Path(folder) / "errors", "a+", encoding="utf-8")
        self.process = subprocess.Popen(self.command(self.database, *options), stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        if not found:
            raise AssertionError(f"the service did not start: {line!r} {self.log()!r}")
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @classmethod
    def command(cls, database, *options):
        return [cls.program, "--port", "0", "--database", str(database), *map(str, options)]

    @classmethod
    def refused(cls, *options):
        """How it ended, where it is started in a way in which it cannot run."""
        return subprocess.run([cls.program, *map(str, options)], capture_output=True, text=True, timeout=60)

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

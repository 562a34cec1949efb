#!/usr/bin/env python3
"""Drives the web service and its twin on aiosqlite with wrk, in turns, and prints requests per second and their ratio.

usage: compare.py <http_users> [options]; or: ./dev bench http [options]
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What wrk sends: each load says which request comes next.
PARTS = """
math.randomseed(os.time())
local base = math.random(1, 1000000000)
local n = 0
local function create()
  n = n + 1
  local body = string.format('{"email":"u%d-%d@example.org","name":"User %d","bio":"measured"}', base, n, n)
  return wrk.format("POST", "/users", nil, body)
end
local function read() return wrk.format("GET", "/users/" .. math.random(1, 1000)) end
local function list() return wrk.format("GET", "/users?limit=20&after=" .. math.random(0, 900)) end
"""
LOADS = {
    "read one user": "request = read",
    "list 20 users": "request = list",
    "create a user": "request = create",
    "nine reads, one create": "request = function() return math.random(10) == 1 and create() or read() end",
}


class Service:
    def __init__(self, name, command, folder):
        self.name = name
        # What the requests that wrk abandons at its end provoke is of no interest.
        self.errors = open(folder / (name + ".errors"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([*command, "--port", "0", "--database", str(folder / (name + ".db"))],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            sys.exit(f"{name} did not start: {self.errors.read()}")
        self.url = line.split()[-1]
        for number in range(1000):
            self.create({"email": f"seed{number}@example.org", "name": f"User {number}", "bio": "b" * 100})

    def create(self, user):
        request = urllib.request.Request(self.url + "/users", json.dumps(user).encode())
        urllib.request.urlopen(request).read()

    def measure(self, script, options):
        command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "-s", script, self.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if "Socket errors" in done.stdout or "Non-2xx" in done.stdout:
            sys.exit(f"{self.name}: wrk met errors\n{done.stdout}")
        return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program")
    options.add_argument("--turns", type=int)
    options.add_argument("--seconds", type=int)
    options.add_argument("--quick", action="store_true", help="2 turns of a second, otherwise 5 of two")
    options.add_argument("--filter", default="", help="only loads whose name contains this")
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--json")
    options.add_argument("--python", default="/usr/bin/python3", help="a Python that has aiosqlite")
    options = options.parse_args()
    turn_count = options.turns or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    loads = {name: script for name, script in LOADS.items() if options.filter in name}

    # Beside the program, on a real disk: a durable write waits for a real fsync.
    with tempfile.TemporaryDirectory(dir=Path(options.program).parent) as name:
        folder = Path(name)
        services = [Service("cosqlite", [options.program], folder),
                    Service("aiosqlite", [options.python, str(HERE / "aiosqlite_service.py")], folder)]
        results = {}
        try:
            for load, script in loads.items():
                path = folder / "load.lua"
                path.write_text(PARTS + script)
                turns = {service.name: [] for service in services}
                for _ in range(turn_count):
                    for service in services:
                        turns[service.name].append(service.measure(path, options))
                results[load] = turns
        finally:
            for service in services:
                service.stop()

    print(f"{'requests per second':<24}{'cosqlite':>12}{'aiosqlite':>12}{'ratio':>8}   spread of the ratio")
    for load, turns in results.items():
        ratios = [ours / theirs for ours, theirs in zip(turns["cosqlite"], turns["aiosqlite"])]
        print(f"{load:<24}{statistics.median(turns['cosqlite']):>12.0f}{statistics.median(turns['aiosqlite']):>12.0f}"
              f"{statistics.median(ratios):>8.1f}   {min(ratios):.1f} to {max(ratios):.1f}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

"""Tests of examples/http_users by real clients against the running process.   run.py <program> [<test> …]"""

import sys
import unittest

sys.dont_write_bytecode = True

# The test cases, which unittest looks for in this module.
from crowd import Crowd
from migrations import Migrations
from protocol import IdleClients, Protocol
from service import Service
from starts import Starts
from stopping import ClientsThatLeave, Deadlines, Impatience
from users import Users

if __name__ == "__main__":
    Service.program = sys.argv[1]
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])

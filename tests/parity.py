"""Checks docs/parity.md: every test that it names exists, and everything public of Python's sqlite3 is in it.

parity.py <source root>
"""

import re
import sqlite3
import sys
from pathlib import Path

root = Path(sys.argv[1])
page = (root / "docs/parity.md").read_text(encoding="utf-8")
faults = []


def tests_of(name):
    path = root / "tests" / f"{name}.cpp"
    if not path.exists():
        return None
    # A name may be written as several literals side by side.
    cases = re.findall(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', path.read_text(encoding="utf-8"))
    return {"".join(re.findall(r'"((?:[^"\\]|\\.)*)"', case)) for case in cases}


def check_named_tests():
    named = re.findall(r'`(test_\w+)`\s"([^"]+)"', page)
    if len(named) < 100:
        faults.append(f"only {len(named)} tests are named")
    for name, test in named:
        tests = tests_of(name)
        if tests is None:
            faults.append(f"tests/{name}.cpp does not exist")
        elif test not in tests:
            faults.append(f'tests/{name}.cpp has no test "{test}"')
    return len(named)


def check_rows():
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|") or line.startswith("|---") or line.endswith("| shown by |"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) != 3 or not all(cells):
            faults.append(f"line {number}: three cells expected: {line}")
        elif cells[2] != "—" and not re.fullmatch(r'`test_\w+` "[^"]+"', cells[2]):
            faults.append(f"line {number}: neither a test nor a dash: {cells[2]}")


def section(title, level):
    start = re.search(rf"^{'#' * level} {re.escape(title)}$", page, re.MULTILINE)
    end = re.search(rf"^#{{1,{level}}} ", page[start.end():], re.MULTILINE)
    return page[start.end():start.end() + end.start()] if end else page[start.end():]


# Public names that this machine's Python may not have: those of 3.12 and 3.13, and aiosqlite's as of 0.22.
newer_python = {
    "sqlite3": ["LEGACY_TRANSACTION_CONTROL"],
    "Connection": ["autocommit", "getconfig", "setconfig", "filter"],
}
aiosqlite = {
    "aiosqlite": """connect register_adapter register_converter sqlite_version sqlite_version_info Row Warning Error
                 DatabaseError IntegrityError ProgrammingError OperationalError NotSupportedError paramstyle
                 __version__""",
    "Connection": """cursor commit rollback close execute execute_insert execute_fetchall executemany executescript
                  interrupt create_function in_transaction isolation_level row_factory text_factory total_changes
                  enable_load_extension load_extension set_progress_handler set_trace_callback set_authorizer iterdump
                  backup stop""",
    "Cursor": """execute executemany executescript fetchone fetchmany fetchall close rowcount lastrowid arraysize
              description row_factory connection""",
}


def mentioned_in(title):
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", section(title, 2)))))


def check_names(owner, names, where):
    mentioned = mentioned_in(where)
    for name in names:
        if name not in mentioned:
            faults.append(f"{owner}.{name} of {where} is not in docs/parity.md")


def check_surface():
    def public(of):
        return [name for name in dir(of) if not name.startswith("_")]

    python = "Python 3.13's sqlite3"
    modules = {"collections", "datetime", "dbapi2", "time"}
    constants = [name for name in public(sqlite3) if name.startswith("SQLITE_")]
    own = {"Connection", "Cursor", "Row", "Blob"}
    check_names("sqlite3", sorted(set(public(sqlite3)) - modules - set(constants) - own), python)
    for owner in (sqlite3.Connection, sqlite3.Cursor, sqlite3.Row) + ((sqlite3.Blob,) if hasattr(sqlite3, "Blob") else ()):
        check_names(owner.__name__, public(owner), python)
    for owner, names in newer_python.items():
        check_names(owner, names, python)
    for owner, names in aiosqlite.items():
        check_names(owner, names.split(), "aiosqlite 0.22")


count = check_named_tests()
check_rows()
check_surface()
for fault in faults:
    print(fault, file=sys.stderr)
print(f"{count} tests are named")
sys.exit(1 if faults else 0)

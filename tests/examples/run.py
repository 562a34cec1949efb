"""Runs the examples as their users do.   run.py <name of the test class> <program>"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

program = ""


def run(*arguments, cwd=None):
    return subprocess.run([os.path.abspath(program), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=240)


class Temporary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Quickstart(Temporary):
    def test_keeps_its_users_from_run_to_run(self):
        self.assertEqual(run(cwd=self.folder).stdout, "Ada is number 1\n1: Ada\n")
        self.assertEqual(run(cwd=self.folder).stdout, "Ada is number 2\n1: Ada\n2: Ada\n")

    def test_is_at_most_25_lines_long(self):
        source = Path(os.environ["COSQLITE_SOURCE_ROOT"], "examples/quickstart.cpp").read_text(encoding="utf-8")
        self.assertLessEqual(len(source.splitlines()), 25)


class Migrate(Temporary):
    def test_applies_each_step_once(self):
        first = run(self.folder / "n.db")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("3 steps would run", first.stdout)
        self.assertIn("applied 2 slugs\n", first.stdout)
        self.assertIn("the first note is at /first-note\n", first.stdout)
        second = run(self.folder / "n.db")
        self.assertIn("0 steps would run", second.stdout)
        self.assertNotIn("applied 1", second.stdout.replace(": applied", ""))
        with sqlite3.connect(self.folder / "n.db") as db:
            self.assertEqual(db.execute("SELECT title, slug FROM notes").fetchall(), [("first note", "first-note")])

    def test_refuses_the_database_of_another_program(self):
        with sqlite3.connect(self.folder / "n.db") as db:
            db.execute("PRAGMA application_id = 5")
        done = run(self.folder / "n.db")
        self.assertEqual(done.returncode, 1)
        self.assertIn("application_id is 0x00000005", done.stderr)


class Median(Temporary):
    def test_aggregates_and_slides_its_window(self):
        done = run()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "blue   61.0 s\n"
                                      "red    60.0 s\n"
                                      "day 1:  62.0 s, around it  60.0 s\n"
                                      "day 2:  58.0 s, around it  62.0 s\n"
                                      "day 3: 190.0 s, around it  58.0 s\n"
                                      "day 4:  57.0 s, around it 123.5 s\n")


class JsonFunction(Temporary):
    def test_its_json_is_read_grouped_and_indexed_by_sqlite(self):
        done = run()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "spring sale  2\n"
                                      '"news"       1\n'
                                      "parameter campaign\n"
                                      "parameter lang\n")


class UnicodeCollation(Temporary):
    def test_orders_and_finds_words_whatever_their_case_and_composition(self):
        done = run()
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:7], ["Apfel", "apricot", "e\u0301tude", "ÉTUI", "\ufb01n", "Straße", "zebra"])
        self.assertEqual(lines[7:], ["STRASSE is Straße, Étude is e\u0301tude",
                                     "FIN beside the ligature: SQLITE_CONSTRAINT_UNIQUE"])


class BlobCopy(Temporary):
    full_bar = "[" + 40 * "#" + "] 100 %\n"

    def test_256_mib_go_there_and_back_in_less_than_16_mb_of_memory(self):
        # Sanitizers multiply memory and time.
        sanitized = os.environ["COSQLITE_SANITIZED"] == "true"
        size = 16 if sanitized else 256
        done = run(size)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("file to blob " + self.full_bar, done.stdout)
        self.assertIn("blob to file " + self.full_bar, done.stdout)
        self.assertIn(f"{size} MiB there and back, the same", done.stdout)
        peak = float(re.search(r"at most ([\d.]+) MB of memory", done.stdout)[1])
        self.assertGreater(peak, 1)
        if not sanitized:
            self.assertLess(peak, 16)

    def test_wrong_usage_has_an_exit_code_of_its_own(self):
        for wrong in ("nonsense", "-5", "0", "1x", "954", ""):
            done = run(wrong)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn("usage: blob_copy", done.stderr)


class CosqliteBackup(Temporary):
    def setUp(self):
        super().setUp()
        self.source = self.folder / "source.db"
        self.destination = self.folder / "copies" / "copy.db"
        self.destination.parent.mkdir()

    def fill(self, rows):
        db = sqlite3.connect(self.source)
        self.addCleanup(db.close)
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB)")
        db.execute("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   "INSERT INTO t SELECT i, zeroblob(100000) FROM n", (rows,))
        db.commit()
        return db

    def rows_of_the_copy(self):
        db = sqlite3.connect(self.destination)
        self.addCleanup(db.close)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        return db.execute("SELECT count(*) FROM t").fetchone()[0]

    def files(self):
        return sorted(path.name for path in self.destination.parent.iterdir())

    def bytes_beside(self):
        """The size of the largest file in the folder of the copy that is not the copy itself."""
        sizes = [0]
        for path in self.destination.parent.iterdir():
            try:
                if path != self.destination:
                    sizes.append(path.stat().st_size)
            except FileNotFoundError:
                continue
        return max(sizes)

    def interrupt_a_copy(self, before):
        """Presses Ctrl-C in the middle of a copy; gives what the program has said. `before` is what stood there."""
        # It may be done before the signal comes; the copy must be complete then.
        for _ in range(50):
            if before is not None:
                self.destination.write_bytes(before)
            running = subprocess.Popen([os.path.abspath(program), self.source, self.destination],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            until = time.monotonic() + 60
            while running.poll() is None and self.bytes_beside() < 8 << 20 and time.monotonic() < until:
                time.sleep(0.0005)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
            if running.returncode != 0:
                self.assertEqual(running.returncode, 130, err)
                return out, err
            self.assertEqual(self.rows_of_the_copy(), 800)
            self.destination.unlink()
        self.fail("no copy of fifty could be interrupted")

    def test_copies_a_database_that_is_open_elsewhere(self):
        self.fill(30)
        done = run(self.source, self.destination)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("[" + 40 * "#" + "] 100 %\n", done.stdout)
        self.assertRegex(done.stdout, r"[1-9]\d* pages copied to ")
        self.assertEqual(self.files(), ["copy.db"])
        self.assertEqual(self.rows_of_the_copy(), 30)

    def test_interrupted_in_the_middle_it_leaves_nothing_partial(self):
        self.fill(800)
        out, err = self.interrupt_a_copy(None)
        self.assertIn("is as it was before", err)
        self.assertNotIn("100 %", out)
        self.assertEqual(self.files(), [])

    def test_interrupted_in_the_middle_it_leaves_an_older_copy_as_it_was(self):
        self.fill(800)
        older = self.folder / "older.db"
        with sqlite3.connect(older) as db:
            db.execute("CREATE TABLE t(a)")
        db.close()
        self.interrupt_a_copy(older.read_bytes())
        self.assertEqual(self.files(), ["copy.db"])
        self.assertEqual(self.destination.read_bytes(), older.read_bytes())

    def test_what_fails_says_why_and_leaves_nothing(self):
        done = run(self.folder / "missing.db", self.destination)
        self.assertEqual(done.returncode, 1)
        self.assertIn("missing.db", done.stderr)
        self.source.write_text("this is no database, but long enough to be looked at")
        self.assertEqual(run(self.source, self.destination).returncode, 1)
        self.assertEqual(self.files(), [])
        self.assertEqual(run(self.source).returncode, 2)


class Uuid(Temporary):
    def test_stores_and_finds_its_ids(self):
        done = run()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"lamp [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12} is behind ")
        self.assertIn("the UUIDs are the same", done.stdout)
        self.assertIn("cannot read column 0 (id), which is BLOB, as a UUID, which has 16 bytes", done.stdout)


class UnicodeImport(Temporary):
    small = "".join(
        f"{code:04X};LATIN SMALL LETTER {chr(code).upper()};Ll;0;L;;;;;N;;;{code - 32:04X};;{code - 32:04X}\n"
        for code in range(0x61, 0x7B)
    )
    blocks = "# comment\n\n0000..007F; Basic Latin\n0080..00FF; Latin-1 Supplement\n"

    def input(self, data=small, blocks=blocks):
        for name, text in (("UnicodeData.txt", data), ("Blocks.txt", blocks)):
            if text is None:
                (self.folder / name).unlink(missing_ok=True)
            else:
                (self.folder / name).write_text(text, encoding="utf-8")
        return ["--data", self.folder, self.folder / "u.db"]

    def refused(self, message, **files):
        self.input(**files)
        self.refused_as_it_is(message)

    def refused_as_it_is(self, message):
        done = run("--data", self.folder, self.folder / "u.db")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(message.replace("DIR", str(self.folder)), done.stderr)
        self.assertIn("nothing was imported", done.stderr)
        with sqlite3.connect(self.folder / "u.db") as db:
            for table in ("characters", "blocks"):
                self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (0,))

    def test_imports_every_line_of_the_real_database(self):
        if not os.path.exists("/usr/share/unicode/UnicodeData.txt"):
            self.skipTest("the package unicode-data is not installed")
        done = run(self.folder / "u.db")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("U+2603  SNOWMAN ", done.stdout)
        self.assertIn("☃", done.stdout)
        self.assertIn("100 %", done.stdout)
        self.assertNotIn("\r", done.stdout)
        self.assertRegex(done.stdout, r"\d+ rows in [\d.]+ s: \d+ rows/s; [1-9]\d* searches answered meanwhile")
        self.assertRegex(done.stdout, r"1 ms timer fired [1-9]\d* times, at worst [\d.]+ ms late")
        with open("/usr/share/unicode/UnicodeData.txt", encoding="utf-8") as lines:
            expected = sum(1 for _ in lines)
        with sqlite3.connect(self.folder / "u.db") as db:
            self.assertEqual(db.execute("SELECT count(*) FROM characters").fetchone(), (expected,))
            self.assertEqual(db.execute("SELECT name FROM blocks WHERE first = 0").fetchone(), ("Basic Latin",))
            self.assertEqual(
                db.execute("SELECT name, upper, lower, category FROM characters WHERE code = 0xe9").fetchone(),
                ("LATIN SMALL LETTER E WITH ACUTE", 0xC9, None, "Ll"))

    def test_uses_a_temporary_folder_of_its_own_and_removes_it(self):
        arguments = self.input()[:2]
        done = run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        path = re.search(r"into (\S+)", done.stdout)[1]
        self.assertFalse(os.path.exists(os.path.dirname(path)))

    def test_importing_again_replaces_what_was_there(self):
        arguments = self.input()
        for _ in range(2):
            done = run(*arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("28 rows in", done.stdout)

    def test_draws_its_bar_on_request(self):
        done = run("--progress", *self.input())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("[" + 40 * "#" + "] 100 %  28 rows\n", done.stdout)

    def test_a_missing_file_is_named(self):
        self.refused("DIR/Blocks.txt: there is no such file (Debian's package unicode-data has it)", blocks=None)
        self.refused("DIR/UnicodeData.txt: there is no such file", data=None)

    def test_a_file_that_cannot_be_read_is_named_with_the_reason(self):
        (self.folder / "UnicodeData.txt").mkdir()
        (self.folder / "Blocks.txt").write_text(self.blocks, encoding="utf-8")
        done = run("--data", self.folder, self.folder / "u.db")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{self.folder}/UnicodeData.txt: cannot be read: Is a directory; nothing was imported", done.stderr)
        (self.folder / "UnicodeData.txt").rmdir()
        self.input()
        (self.folder / "UnicodeData.txt").chmod(0)
        if os.access(self.folder / "UnicodeData.txt", os.R_OK):
            self.skipTest("nothing is unreadable to root")
        self.refused_as_it_is("DIR/UnicodeData.txt: cannot be read: Permission denied")

    def test_a_file_that_was_cut_short_is_noticed(self):
        whole = self.small
        self.refused("DIR/UnicodeData.txt:26: the file ends in the middle of a line", data=whole[:-1])
        self.refused("DIR/UnicodeData.txt:26: the file ends in the middle of a line", data=whole[:-20])
        self.refused("DIR/Blocks.txt:4: the file ends in the middle of a line", blocks=self.blocks[:-5])

    def test_a_malformed_line_is_named(self):
        lines = self.small.splitlines(keepends=True)

        def broken(text):
            return "".join(lines[:3] + [text] + lines[4:])

        for text, message in [
            ("0064;LATIN;Ll\n", "15 fields expected, found 3"),
            (lines[3].strip() + ";extra\n", "15 fields expected, found 16"),
            (lines[3].replace("0064", "zz", 1), '"zz" is no code point'),
            (lines[3].replace("0064", "110000", 1), '"110000" is beyond the last code point'),
            (lines[3].replace("0064", "0061", 1), "the code points do not ascend"),
            (lines[3].replace(";0;L", ";x;L"), '"x" is no combining class'),
            (lines[3].replace(";Ll;", ";L;"), '"L" is no general category'),
            (lines[3].replace("LATIN SMALL LETTER D", ""), "the name is empty"),
            ("0064;<Range, Last>;Ll;0;L;;;;;N;;;;;\n", "a range's First and Last do not stand side by side"),
        ]:
            with self.subTest(message):
                self.refused("DIR/UnicodeData.txt:4: " + message, data=broken(text))
        self.refused("DIR/UnicodeData.txt:26: the file ends inside a range",
                     data="".join(lines[:25]) + "007A;<Range, First>;Ll;0;L;;;;;N;;;;;\n")
        self.refused("UnicodeData.txt:0: the file is empty", data="")

    def test_a_malformed_block_is_named(self):
        self.refused("DIR/Blocks.txt:2: a block looks like", blocks="0000..007F; Basic Latin\n0080-00FF; Other\n")
        self.refused("DIR/Blocks.txt:1: the block ends before it begins", blocks="0080..007F; Basic Latin\n")

    def test_what_was_imported_before_the_malformed_line_is_taken_back(self):
        many = "".join(f"{code:04X};NAME;Lo;0;L;;;;;N;;;;;\n" for code in range(3000))
        self.refused("DIR/UnicodeData.txt:3001: 15 fields", data=many + "nonsense\n")

    def test_wrong_usage_and_a_failing_database_have_exit_codes_of_their_own(self):
        for wrong, said in ((["--data"], "--data wants a folder"), (["--nonsense"], "no option --nonsense"),
                            (["a", "b"], "one file to import into")):
            done = run(*wrong)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)
        self.assertEqual(run("--help").returncode, 0)

    def test_a_database_that_cannot_be_written_is_said_so(self):
        def failed(message, database):
            arguments = self.input()[:2]
            done = run(*arguments, database)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertRegex(done.stderr, r"\Aunicode_import: [^\n]*" + message)

        failed("missing/u.db", self.folder / "missing" / "u.db")
        failed(re.escape(str(self.folder)), self.folder)
        (self.folder / "text.db").write_text("This is no database, and longer than the header of one would be. " * 20,
                                             encoding="utf-8")
        failed("not a database", self.folder / "text.db")
        failed("a/b", "/dev/null/a/b")


if __name__ == "__main__":
    name, program = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], name])

"""Turns the code blocks of README.md and the guide into programs, so that the tests compile and run what is printed.

usage: extract.py program <page.md> <output.cpp>        all C++ blocks of a page as one program that runs them in order
       extract.py refused <root> <page.md> <compiler>…  the blocks that GCC 12 must refuse, one at a time
       extract.py check <root> <page>…                  everything else: excerpts, shell, SQL, Python, links; and that no
                                                        page with C++ blocks is missing from the list

What a block is stands in a comment on the line before it, which readers do not see:

    <!-- snippet: body -->          statements in a coroutine; `db` is an open connection, see support.hpp
    <!-- snippet: declarations -->  types and functions, which the page's later blocks may use
    <!-- snippet: global -->        the same outside of any namespace, for adapters
    <!-- snippet: compiled -->      like body, but not run
    <!-- snippet: refused -->       like body; GCC 12 must refuse to compile it, other compilers must take it
    <!-- snippet: file PATH -->     the whole of that file, letter for letter
    <!-- snippet: part PATH -->     a part of that file, letter for letter
    <!-- snippet: lines PATH -->    some lines of that file, in order
    <!-- snippet: output -->        what the block before it prints

A C++ block without a comment is a whole program.
"""

import ast
import asyncio
import contextlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*$")
MARK = re.compile(r"^<!-- snippet: (.+) -->$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTES_A_FILE = ("file ", "part ", "lines ")
REFUSAL = "name the lambda first"
QUICKSTART = "examples/quickstart.cpp"


class Block:
    def __init__(self, page, line, language, mark, text):
        self.page, self.line, self.language, self.mark, self.text = page, line, language, mark, text
        self.place = f"{page}:{line}"

    def is_program(self):
        return self.language in ("cpp", "c") and not self.mark.startswith(QUOTES_A_FILE)


def blocks(path, name):
    found, mark, start, language, text = [], "", None, "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line.strip())
        if start is None and fence:
            start, language, text = number + 1, fence[1], []
        elif start is not None and line.strip() == "```":
            found.append(Block(name, start, language, mark, "\n".join(text) + "\n"))
            start, mark = None, ""
        elif start is not None:
            text.append(line)
        elif mark_here := MARK.match(line.strip()):
            mark = mark_here[1]
        elif line.strip():
            mark = ""
    if start is not None:
        sys.exit(f"{name}:{start}: the block has no end")
    return found


# --- programs --------------------------------------------------------------------------------------------------------


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", '\\n"\n    "') + '"'


def renamed_main(text):
    """`main` as a function like any other, which must return what `main` returns by itself."""
    start = text.index("int main(")
    depth = 0
    for end in range(text.index("{", start), len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            break
    return text[:start] + "int snippet_main(" + text[start + len("int main("):end] + "return 0; " + text[end:]


class Program:
    """The C++ text made of a page's blocks."""

    def __init__(self):
        self.includes, self.code, self.entries = [], [], []

    def add(self, block, also_refused=False):
        lines = []
        for line in block.text.splitlines():
            if line.startswith("#include"):
                self.includes.append(line)
                line = ""
            lines.append(line)
        text = f'#line {block.line} "{block.page}"\n' + "\n".join(lines) + "\n"
        scope = f"line_{block.line}"
        if block.mark == "declarations":
            self.code.append(f"namespace fragments {{\n{text}}}\n")
        elif block.mark == "global":
            self.code.append(text)
        elif not block.mark:
            if "int main(" not in block.text:
                sys.exit(f"{block.place}: neither a program nor marked as something else")
            self.code.append(f"namespace {scope} {{\n{renamed_main(text)}}}\n")
            self.enter(block, f"snippets::program({scope}::snippet_main)")
        elif block.language == "c" and block.mark in ("body", "compiled"):
            self.code.append(f"namespace {scope} {{\nvoid body([[maybe_unused]] sqlite3* db) {{\n{text}}}\n}}\n")
            self.enter(block, f"snippets::c_body({scope}::body)")
        elif block.mark in ("body", "compiled", "refused"):
            guarded = block.mark == "refused" and not also_refused
            before, after = ("#if !SNIPPETS_OLD_GCC\n", "#endif\n") if guarded else ("", "")
            self.code.append(f"namespace fragments::{scope} {{\n"
                             "cosqlite::task<> body([[maybe_unused]] cosqlite::connection& db) {\n"
                             "[[maybe_unused]] const bool gcc_needs_a_local = true;\n"
                             f"{before}{text}{after}co_return;\n}}\n}}\n")
            self.enter(block, f"snippets::body(fragments::{scope}::body)")
        else:
            sys.exit(f"{block.place}: unknown mark: {block.mark}")

    def enter(self, block, call):
        run = "run" if block.mark in ("", "body") else "skip"
        self.entries.append({"place": block.place, "call": call, "run": run, "output": None})

    def expect(self, block):
        if not self.entries:
            sys.exit(f"{block.place}: no block stands before this output")
        self.entries[-1]["output"] = block.text

    def text(self):
        calls = []
        for entry in self.entries:
            expected = "snippets::any_output" if entry["output"] is None else quoted(entry["output"])
            calls.append(f'  page.{entry["run"]}("{entry["place"]}", {entry["call"]}, {expected});\n')
        return ('#include "snippets/support.hpp"\n' + "\n".join(dict.fromkeys(self.includes)) + "\n\n"
                "namespace fragments {\nusing namespace cosqlite;\nusing namespace std::chrono_literals;\n}\n"
                + "\n".join(self.code) + "\nint main() {\n  snippets::page page;\n" + "".join(calls)
                + "  return page.failures();\n}\n")


def program(path, output):
    name = path.name if path.parent.name != "docs" else "docs/" + path.name
    made = Program()
    for block in blocks(path, name):
        if block.mark == "output":
            made.expect(block)
        elif block.is_program():
            made.add(block)
    Path(output).write_text(made.text(), encoding="utf-8")


def refused(root, page, compiler):
    """Whether each block that is marked so is refused, for the reason that the library gives."""
    count, failures = 0, []
    declarations = []
    for block in blocks(root / page, page):
        if block.is_program() and block.mark in ("declarations", "global"):
            declarations.append(block)
        if block.mark != "refused":
            continue
        made = Program()
        for part in [*declarations, block]:
            made.add(part, also_refused=True)
        command = [*compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", "-", "-I", root / "include", "-I", root / "tests"]
        done = subprocess.run(command, input=made.text(), capture_output=True, text=True, check=False)
        count += 1
        if done.returncode == 0:
            failures.append(f"{block.place}: it compiles")
        elif REFUSAL not in done.stderr:
            failures.append(f"{block.place}: refused for another reason: {done.stderr}")
    if count == 0:
        failures.append(f"{page} has no block that must be refused")
    return report(count, failures)


# --- everything else -------------------------------------------------------------------------------------------------


def check_quotation(root, block):
    how, name = block.mark.split(" ", 1)
    text = (root / name).read_text(encoding="utf-8")
    if how == "file" and block.text != text:
        return f"is not the same as {name}"
    if how == "part" and block.text not in text:
        return f"is not in {name}"
    if how == "lines":
        lines = iter(text.splitlines())
        missing = [line for line in block.text.splitlines() if line and line not in lines]
        if missing:
            return f"{missing[0]!r} does not follow in {name}"
    return None


def check_shell(root, block):
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    commands = re.findall(r"^  (\w+)\)", (root / "dev").read_text(encoding="utf-8"), re.M)
    for command in re.findall(r"\./dev (\w+)", block.text):
        if command not in commands:
            return f"./dev knows no command {command}"
    return None


def check_sql(block):
    try:
        sqlite3.connect(":memory:").executescript(block.text)
    except sqlite3.Error as e:
        return str(e)
    return None


def check_python(block):
    """Runs it with the statements' own awaits, where aiosqlite is installed."""
    code = compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        import aiosqlite
    except ImportError:
        return None

    async def run():
        coroutine = eval(code, {"aiosqlite": aiosqlite, "asyncio": asyncio})  # pylint: disable=eval-used
        if coroutine is not None:
            await coroutine

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        here = os.getcwd()
        os.chdir(folder)
        try:
            asyncio.run(run())
        finally:
            os.chdir(here)
    return None


def check_block(root, block):
    if block.mark.startswith(QUOTES_A_FILE):
        return check_quotation(root, block)
    if block.language == "sh":
        return check_shell(root, block)
    if block.language == "sql":
        return check_sql(block)
    if block.language == "python":
        return check_python(block)
    if block.language in ("meson", "cmake"):
        return "must be quoted from a file that the tests build: <!-- snippet: lines PATH -->"
    if block.language in ("cpp", "c", "text", "json", ""):
        return None
    return f"nobody checks blocks of {block.language}"


def prose(path):
    """The lines of a page outside of its blocks, by number."""
    inside = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line.strip()):
            inside = not inside
        elif not inside:
            yield number, line


def anchors(path):
    """The fragments that the headings of a page can be linked by."""
    for _, line in prose(path):
        if line.startswith("#"):
            heading = re.sub(r"[`*]|\(.*?\)(?=\])", "", line.lstrip("#").strip()).lower()
            yield re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def check_links(path, page):
    for number, line in prose(path):
        for target in LINK.findall(line):
            file, _, fragment = target.partition("#")
            if "://" in target:
                continue
            to = (path.parent / file).resolve() if file else path
            if not to.exists():
                yield f"{page}:{number}: there is no {file}"
            elif fragment and fragment not in anchors(to):
                yield f"{page}:{number}: {file} has no heading {fragment}"


def check_width(path, page):
    for number, line in prose(path):
        if len(line) > 120 and not line.startswith(("|", "!")):
            yield f"{page}:{number}: is wider than 120 columns"


def check_quickstart(root):
    """README's first program is the example of that name, and fits on a screen."""
    first = next((b for b in blocks(root / "README.md", "README.md") if b.language == "cpp"), None)
    if first is None or first.mark != "file " + QUICKSTART:
        yield f"README.md: its first program is not {QUICKSTART}"
    elif first.text.count("\n") > 25:
        yield f"{first.place}: has more than 25 lines"


def check_ways_in(root):
    """Every page is reached from the guide's index and from the site's menu."""
    index = (root / "docs/index.md").read_text(encoding="utf-8")
    menu = (root / "docs/layout.xml").read_text(encoding="utf-8")
    for path in sorted((root / "docs").glob("*.md")):
        if path.name != "index.md" and f"({path.name})" not in index:
            yield f"docs/index.md does not link to {path.name}"
        if "md_docs_" + path.stem.replace("-", "_") + '"' not in menu:
            yield f"docs/layout.xml has no entry for {path.name}"


def check(root, listed):
    failures, count = [*check_quickstart(root), *check_ways_in(root)], 0
    pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/http_users/README.md"]
    pages += sorted(str(p.relative_to(root)) for p in (root / "docs").glob("*.md"))
    for page in pages:
        found = blocks(root / page, page)
        count += len(found)
        if Path(page).stem not in listed and any(b.is_program() for b in found):
            failures.append(f"{page} has C++ blocks and is not in the list of tests/meson.build")
        for block in found:
            if trouble := check_block(root, block):
                failures.append(f"{block.place}: {trouble}")
        failures += [*check_links(root / page, page), *check_width(root / page, page)]
    return report(count, failures)


def report(count, failures):
    for failure in failures:
        print(failure)
    print(f"{count} blocks looked at, {len(failures)} complaints")
    return 1 if failures else 0


def main(command, *arguments):
    if command == "program":
        return program(Path(arguments[0]), arguments[1])
    root = Path(arguments[0]).resolve()
    if command == "refused":
        return refused(root, arguments[1], arguments[2:])
    return check(root, arguments[1:])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

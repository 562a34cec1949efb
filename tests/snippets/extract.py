"""Turns the code blocks of README.md and the guide into programs, so that the tests compile and run what is printed.

usage: extract.py program <page.md> <output.cpp>   all C++ blocks of a page as one program that runs them in order
       extract.py check <root> <page.md>…          everything else: excerpts, shell, SQL, Python; and that no page is forgotten

What a block is stands in a comment on the line before it, which readers do not see:

    <!-- snippet: body -->          statements in a coroutine; `db` is an open connection, see support.hpp
    <!-- snippet: declarations -->  types and functions, which the page's later blocks may use
    <!-- snippet: global -->        the same outside of any namespace, for adapters
    <!-- snippet: compiled -->      like body, but not run
    <!-- snippet: refused -->       like body; GCC 12 must refuse to compile it, other compilers must take it
    <!-- snippet: file PATH -->     an excerpt of that file, letter for letter
    <!-- snippet: lines PATH -->    some lines of that file, in order
    <!-- snippet: output -->        what the block before it prints

A C++ block without a comment is a whole program.
"""

import ast
import asyncio
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*$")
MARK = re.compile(r"^<!-- snippet: (.+) -->$")


class Block:
    def __init__(self, page, line, language, mark, text):
        self.page, self.line, self.language, self.mark, self.text = page, line, language, mark, text
        self.place = f"{page}:{line}"


def blocks(path, name):
    found, mark, start, language, text = [], "", None, "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line.strip())
        if start is None and fence and fence[1]:
            start, language, text = number + 1, fence[1], []
        elif start is None and line.strip() == "```":
            start, language, text = number + 1, "", []
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


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", '\\n"\n    "') + '"'


def renamed_main(text):
    """`main` as a function like any other, which must return what `main` returns by itself."""
    start = text.index("int main(")
    depth, end = 0, text.index("{", start)
    for end in range(end, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            break
    return text[:start] + "int snippet_main(" + text[start + len("int main("):end] + "return 0; " + text[end:]


def program(page, output):
    """One C++ program that runs the blocks of `page`."""
    name = page.name if page.parent.name != "docs" else "docs/" + page.name
    includes, code, entries = [], [], []
    for block in blocks(page, name):
        if block.language == "text" and block.mark == "output":
            if not entries:
                sys.exit(f"{block.place}: no block stands before this output")
            entries[-1]["output"] = block.text
            continue
        if block.language not in ("cpp", "c") or block.mark.startswith(("file ", "lines ")):
            continue
        lines = []
        for line in block.text.splitlines():
            if line.startswith("#include"):
                includes.append(line)
                line = ""
            lines.append(line)
        text = f'#line {block.line} "{block.place.rsplit(":", 1)[0]}"\n' + "\n".join(lines) + "\n"
        scope = f"line_{block.line}"
        if block.mark == "declarations":
            code.append(f"namespace fragments {{\n{text}}}\n")
            continue
        if block.mark == "global":
            code.append(text)
            continue
        if not block.mark:
            if "int main(" not in block.text:
                sys.exit(f"{block.place}: neither a program nor marked as something else")
            text = renamed_main(text)
            code.append(f"namespace {scope} {{\n{text}}}\n")
            call = f"snippets::program({scope}::snippet_main)"
        elif block.language == "c" and block.mark in ("body", "compiled"):
            code.append(f"namespace {scope} {{\nvoid body([[maybe_unused]] sqlite3* db) {{\n{text}}}\n}}\n")
            call = f"snippets::c_body({scope}::body)"
        elif block.mark in ("body", "compiled", "refused"):
            guard = ("#if !defined(__GNUC__) || defined(__clang__) || __GNUC__ > 12\n", "#endif\n")
            before, after = guard if block.mark == "refused" else ("", "")
            code.append(f"namespace fragments::{scope} {{\n"
                        "cosqlite::task<> body([[maybe_unused]] cosqlite::connection& db) {\n"
                        "[[maybe_unused]] const bool gcc_needs_a_local = true;\n"
                        f"{before}{text}{after}co_return;\n}}\n}}\n")
            call = f"snippets::body(fragments::{scope}::body)"
        else:
            sys.exit(f"{block.place}: unknown mark: {block.mark}")
        entries.append({"place": block.place, "call": call, "run": block.mark in ("", "body"), "output": None})

    with open(output, "w", encoding="utf-8") as out:
        out.write('#include "snippets/support.hpp"\n' + "\n".join(dict.fromkeys(includes)) + "\n\n")
        out.write("namespace fragments {\nusing namespace cosqlite;\nusing namespace std::chrono_literals;\n}\n")
        out.write("\n".join(code))
        out.write("\nint main() {\n  snippets::page page;\n")
        for entry in entries:
            expected = "snippets::any_output" if entry["output"] is None else quoted(entry["output"])
            run = "run" if entry["run"] else "skip"
            out.write(f'  page.{run}("{entry["place"]}", {entry["call"]}, {expected});\n')
        out.write("  return page.failures();\n}\n")


def check_excerpt(root, block):
    path = root / block.mark[len("file "):]
    if block.text not in path.read_text(encoding="utf-8"):
        return f"is not in {path.relative_to(root)}"
    return None


def check_lines(root, block):
    path = root / block.mark[len("lines "):]
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    missing = [line for line in block.text.splitlines() if line and line not in lines]
    return f"{missing[0]!r} does not follow in {path.relative_to(root)}" if missing else None


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
    import contextlib
    import io
    import os

    async def run():
        names = {"aiosqlite": aiosqlite, "asyncio": asyncio}
        coroutine = eval(code, names)  # pylint: disable=eval-used
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
    if block.mark.startswith("file "):
        return check_excerpt(root, block)
    if block.mark.startswith("lines "):
        return check_lines(root, block)
    if block.language == "sh":
        return check_shell(root, block)
    if block.language == "sql":
        return check_sql(block)
    if block.language == "python":
        return check_python(block)
    if block.language in ("meson", "cmake"):
        return "must be an excerpt of a file that the tests build: <!-- snippet: file PATH -->"
    if block.language in ("cpp", "c", "text", "json", ""):
        return None
    return f"nobody checks blocks of {block.language}"


def check(root, pages):
    failures = [f"{path.relative_to(root)} is not in the list of tests/meson.build"
                for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]
                if str(path.relative_to(root)) not in pages]
    count = 0
    for page in [*pages, "CONTRIBUTING.md"]:
        for block in blocks(root / page, page):
            count += 1
            if trouble := check_block(root, block):
                failures.append(f"{block.place}: {trouble}")
    for failure in failures:
        print(failure)
    print(f"{count} blocks looked at, {len(failures)} complaints")
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1] == "program":
        program(Path(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(check(Path(sys.argv[2]).resolve(), sys.argv[3:]))

"""Sums the test cases of a `meson test` run into the line "N passed, M failed"; fails when one of them failed.

A Catch2 program counts as many cases as it ran; any other test, and one that crashed or timed out, counts as one.
"""

import json
import re
import sys


def cases(test):
    output = test.get("stdout", "")
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if all_passed := re.search(r"^All tests passed \(.* in (\d+) test cases?\)", output, re.M):
        return int(all_passed[1]), 0 if good else 1
    if summary := re.search(r"^test cases:(.*)$", output, re.M):
        passed = re.search(r"(\d+) passed", summary[1])
        failed = re.search(r"(\d+) failed(?! as)", summary[1])
        failures = int(failed[1]) if failed else 0
        return int(passed[1]) if passed else 0, failures if good else max(failures, 1)
    if test["result"] == "SKIP":
        return 0, 0
    return (1, 0) if good else (0, 1)


def main(path):
    passed, failed, troubled = 0, 0, []
    try:
        with open(path, encoding="utf-8") as log:
            tests = [json.loads(line) for line in log]
    except FileNotFoundError:
        tests = []
    for test in tests:
        passed_here, failed_here = cases(test)
        passed += passed_here
        failed += failed_here
        if failed_here:
            troubled.append(f"{test['name']} ({test['result'].lower()})")
    if troubled:
        print("failed:", ", ".join(troubled))
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


sys.exit(main(sys.argv[1]))

#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Parses results of tests. A result is a line: "ok NAME", "not ok NAME: why" or
"skip NAME: why".

  results.py peer EXPECTED      results of the in-tree udmabuf, from standard input
  results.py ktap FILE...       KUnit's reports of suites
  results.py igt RESULTS.JSON NAMES EXPECTED
                                igt_runner's results; NAMES has all subtests to be run
  results.py summary FOLDER [KERNEL-BOOT...]
                                counts the results in FOLDER/KERNEL-BOOT/output.log, and
                                reports in console.log outside of tests; each named boot
                                must have results

EXPECTED has known failures of the in-tree udmabuf, and of tests that are not dmabufx's:
"SERIES | TEST | FAILURE | why". FAILURE is a regular expression; a failure with another
text is not known. SERIES+ means that series and all later ones.
"""
import json
import os
import pathlib
import re
import sys
from dataclasses import dataclass

RESULT = re.compile(r"(ok|not ok|skip) ([^:]*)(?:: (.*))?$")


@dataclass
class Known:
    failure: str
    why: str


def version(series):
    return tuple(int(part) for part in series.split("."))


def is_of(wanted, series):
    """Whether a line for the kernels WANTED applies to this series."""
    if wanted.endswith("+"):
        return version(series) >= version(wanted[:-1])
    return series == wanted


def read_expected(path):
    """Known failures of the running kernel, by the test's name."""
    series = re.match(r"\d+\.\d+", os.uname().release)[0]
    expected = {}
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        wanted, test, failure, why = (field.strip() for field in line.split(" | ", 3))
        if is_of(wanted, series):
            expected[test] = Known(failure, why)
    return expected


def judge(name, result, why, known, ours):
    """The line for a result. A test that is not OURS may fail: distributions update it."""
    if known and result == "not ok" and re.search(known.failure, why):
        return f"# {name}: {why}\nok {name}: fails as documented: {known.why}"
    if known and result == "ok":
        return f"skip {name}: passed, though it is known to fail: {known.why}"
    if result == "not ok" and not ours:
        return f"skip {name}: fails, which is not documented: {why}"
    return f"{result} {name}" + (f": {why}" if why else "")


def peer(path):
    expected = read_expected(path)
    for line in sys.stdin:
        found = RESULT.match(line.rstrip("\n"))
        if found:
            result, name, why = found.groups(default="")
            line = judge(f"udmabuf/{name}", result, why, expected.get(name), False) + "\n"
        print(line, end="", flush=True)


def show(lines):
    for line in lines:
        print(line)


def ktap(*paths):
    for path in paths:
        ktap_suites(pathlib.Path(path).read_text(encoding="utf-8").splitlines())


def ktap_suites(lines):
    """Prints a line for each case; if it failed, its messages first."""
    suite, planned, came, failed, said = "", 0, 0, False, []
    for line in lines:
        case = re.match(r"    (ok|not ok) \d+ (?:- )?(.*?)(?: *# *(?:(SKIP) ?)?(.*))?$", line)
        if line.startswith("    # Subtest: "):
            suite, came, failed, said = line.split()[2], 0, False, []
        elif line.startswith("    1.."):
            planned = int(line.strip()[3:])
        elif case:
            result, name, skipped, why = case.groups(default="")
            came += 1
            if result == "not ok":
                failed = True
                show(said)
            print(f"{'skip' if skipped else result} kunit/{suite}.{name}" +
                  (f": {why}" if why else ""))
            said = []
        elif line.startswith("    "):
            said.append("# " + re.sub(r"^ +(# )?", "", line))
        elif re.match("(not )?ok ", line):
            if came != planned or (line.startswith("not") and not failed):
                show(said)
                print(f"not ok kunit/{suite}: failed as a whole, "
                      f"{came} of {planned} cases ended")


# Warnings of the kernel that do not fail a test. It does not count huge pages that
# memfd_pin_folios() allocates, and warns whenever its counters are refreshed. It reports
# pages that a test breaks. On a busy host, an emulated machine is late.
TOLERATED = re.compile(r"vmstat_refresh: nr_hugetlb -\d+$|Memory failure: 0x|"
                       r"hardware memory corruption|hrtimer: interrupt took \d+ ns$|"
                       r"TSC found unstable|sched_clock: Marking unstable|clocksource: ")


def read_igt(path):
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["tests"]
    except (OSError, ValueError, KeyError) as error:
        print(f"not ok igt: no results: {error}")
        return {}


def igt_why(test):
    """The library's last message about a failure or a skip."""
    text = test.get("err", "") + test.get("out", "")
    lines = [line for line in text.splitlines()
             if "SKIP" not in line and "FAIL" not in line]
    for word in ("requirement not met", "Failed assertion"):
        for number, line in enumerate(lines):
            if word in line:
                said = lines[number:number + 3]
                return "; ".join(part.split("CRITICAL: ")[-1] for part in said)
    kernel = [line.strip() for line in test.get("dmesg-warnings", "").splitlines()]
    return (kernel or lines or ["there is no message"])[-1]


def igt_result(test):
    """Result and reason for a line. The runner's exit status says nothing about them."""
    result = test["result"]
    warnings = test.get("dmesg-warnings", "").splitlines()
    if not any(not TOLERATED.search(line) for line in warnings if line.strip()):
        result = {"dmesg-warn": "pass", "dmesg-fail": "fail"}.get(result, result)
    if result in ("pass", "skip"):
        return {"pass": "ok"}.get(result, result), igt_why(test) if result == "skip" else ""
    return "not ok", f"{result}: {igt_why(test)}"


def igt(results, names, path):
    tests = read_igt(results)
    expected = read_expected(path)
    for name, test in tests.items():
        name = name.removeprefix("igt@")
        subtest, _, driver = name.rpartition("@")
        result, why = igt_result(test)
        # A crash of the program is never a known failure, nor one of the other driver.
        crashed = result == "not ok" and not why.startswith("fail: ")
        of_udmabuf = driver == "udmabuf" and not crashed
        known = expected.get(subtest if of_udmabuf else name)
        print(judge(name, result, why, None if crashed else known, not of_udmabuf))
    for name in pathlib.Path(names).read_text(encoding="utf-8").splitlines():
        if name.startswith("igt@") and not any(
                found == name or found.startswith(name + "@") for found in tests):
            print(f"not ok {name.removeprefix('igt@')}: has no result")


def report_expression():
    header = pathlib.Path(__file__).with_name("reports.h").read_text(encoding="utf-8")
    return re.compile("|".join(re.findall(r'^"(.*)",$', header, re.MULTILINE)))


def stray_reports(console):
    """Reports between tests, and in a test that never ended."""
    report, held = report_expression(), None
    for line in console.read_text(encoding="utf-8", errors="replace").splitlines():
        if "dmabufx-tests: begin " in line:
            held = []
        elif "dmabufx-tests: end " in line:
            held = None
        elif report.search(line):
            if held is None:
                yield line
            else:
                held.append(line)
    yield from held or []


def results_of(folder):
    """Lines of one boot: (result, text)."""
    where = folder.name.replace("-", " ", 1)
    for line in (folder / "output.log").read_text(encoding="utf-8",
                                                  errors="replace").splitlines():
        found = RESULT.match(line)
        if found:
            yield found[1], f"{where}: {line}"
    console = folder / "console.log"
    for line in stray_reports(console) if console.exists() else ():
        yield "not ok", (f"{where}: not ok console: the kernel reported, "
                         f"outside of any test: {line}")


def hung(folders):
    """How often guests were booted again."""
    text = "\n".join((folder / "output.log").read_text(encoding="utf-8", errors="replace")
                     for folder in folders)
    return len(re.findall(": the guest (?:hung before init|went away without a word)", text))


def summary(top, *planned):
    folders = sorted(log.parent for log in pathlib.Path(top).glob("*/output.log"))
    lines = {"ok": [], "not ok": [], "skip": []}
    silent = set(planned)
    for folder in folders:
        for result, line in results_of(folder):
            lines[result].append(line)
            silent.discard(folder.name)
    lines["not ok"] += [f"{name.replace('-', ' ', 1)}: not ok guest: has no results"
                        for name in sorted(silent)]
    if hung(folders):
        print(f"Guests that hung or died without a word, and were booted once more: "
              f"{hung(folders)}")
    print()
    if lines["skip"]:
        show(["Skipped:", *lines["skip"]])
    if lines["not ok"]:
        show([f"Failed (output.log and console.log of each boot are in {top}):",
              *lines["not ok"]])
    print(f"{len(lines['ok'])} passed, {len(lines['not ok'])} failed, "
          f"{len(lines['skip'])} skipped")
    return 0 if lines["ok"] and not lines["not ok"] else 1


def main():
    command = {"peer": peer, "ktap": ktap, "igt": igt,
               "summary": summary}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if not command:
        sys.exit(__doc__)
    sys.exit(command(*sys.argv[2:]))


main()

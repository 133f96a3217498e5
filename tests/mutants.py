#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Reads, checks and compiles the mutations in tests/mutations, ways to break the module.

    mutants.py check              verifies that each mutation applies to the sources, and
                                  that docs/testing.md has the table that bugs prints
    mutants.py bugs               prints a table of bugs that other drivers had
    mutants.py list [NAME...]     prints "NAME KERNEL BOOT PATTERN..." of all mutations, or
                                  of these
    mutants.py build VERSION NAME...
                                  compiles these for an installed kernel of this version

SOURCE.toml has a table for each mutation of drivers/dmabufx/SOURCE.c:

    [name-of-the-mutation]
    why = "what is broken, in words"
    tests = "patterns of the names of tests, one of which has to fail"
    old = lines of the source, which must be there exactly once
    new = the lines that replace them

Optional keys:

    bug = "text"                  the bug that the mutation repeats, of another driver or
                                  of an earlier one of this kind
    kernel = "debug"              the kernel that notices, if "backports" does not
    boot = "swiotlb"              the boot, if not "normal"
    changes = [...]               several tables of old, new and file; file is another
                                  source than SOURCE.c

build compiles the intact module once, by the kernel's own build, in
build/mutants/VERSION/as-it-is. For each mutation it compiles only the objects of the
changed source, with the commands that the kernel's build left beside its objects, and
links them with all others to build/mutants/VERSION/NAME/*.ko. It does not run modpost
again. So a mutation must not change the module's exports nor, for kernels with
CONFIG_MODVERSIONS, its imports.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

TOP = pathlib.Path(__file__).resolve().parent.parent
DRIVER = pathlib.Path("drivers/dmabufx")


class Problem(Exception):
    """An error in the list of mutations."""


class Mutation:
    """One way to break the module."""

    KEYS = {"why", "tests", "bug", "kernel", "boot", "old", "new", "file", "changes"}

    def __init__(self, name, table, source):
        unknown = table.keys() - self.KEYS
        if unknown:
            raise Problem(f"{name}: unknown keys: {', '.join(sorted(unknown))}")
        self.name = name
        try:
            self.why = table["why"]
            self.tests = table["tests"].split()
            self.bug = table.get("bug")
            self.kernel = table.get("kernel", "backports")
            self.boot = table.get("boot", "normal")
            self.changes = [
                (DRIVER / change.get("file", source), change["old"], change["new"])
                for change in table.get("changes", [table])]
        except KeyError as missing:
            raise Problem(f"{name}: has no {missing}") from None
        if not self.tests:
            raise Problem(f"{name}: names no tests")

    def sources(self):
        """Returns the changed sources, as {path: text}."""
        texts = {}
        for path, old, new in self.changes:
            text = texts.get(path) or (TOP / path).read_text(encoding="utf-8")
            found = ("\n" + text).count("\n" + old)
            if found != 1:
                raise Problem(f"{self.name}: its old text is {found} times in {path}")
            texts[path] = ("\n" + text).replace("\n" + old, "\n" + new)[1:]
        return texts


def read_all():
    """Returns all mutations by name."""
    mutations = {}
    for path in sorted((TOP / "tests/mutations").glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise Problem(f"{path}: {error}") from None
        for name, table in tables.items():
            if name in mutations:
                raise Problem(f"{name}: is there twice")
            mutations[name] = Mutation(name, table, f"{path.stem}.c")
    return mutations


def chosen(names):
    """Returns the mutations of these names, or all."""
    mutations = read_all()
    unknown = [name for name in names if name not in mutations]
    if unknown:
        raise Problem(f"no such mutation: {', '.join(unknown)}")
    return [mutations[name] for name in names or mutations]


def bugs():
    """Returns a table of bugs, with the mutations that repeat them and their tests."""
    rows = {}
    for mutation in read_all().values():
        if mutation.bug:
            rows.setdefault(mutation.bug, []).append(mutation)
    return "".join(
        ["| bug | mutation | noticed by |\n|---|---|---|\n"] +
        [f"| {bug} | {listed(m.name for m in rows[bug])} "
         f"| {listed(test for m in rows[bug] for test in m.tests)} |\n"
         for bug in sorted(rows)])


def listed(words):
    return ", ".join(f"`{word}`" for word in dict.fromkeys(words))


def check():
    """Verifies that each mutation applies, and that no two are the same."""
    if bugs() not in (TOP / "docs/testing.md").read_text(encoding="utf-8"):
        raise Problem("docs/testing.md has another table than 'mutants.py bugs' prints")
    made = {}
    for mutation in read_all().values():
        result = tuple(sorted(mutation.sources().items()))
        if result in made:
            raise Problem(f"{mutation.name}: is the same as {made[result]}")
        made[result] = mutation.name
    print(f"{len(made)} mutations apply")


class Tree:
    """The intact module, compiled by the kernel's own build."""

    MODULES = ("dmabufx", "tests/dmabufx-kunit")

    def __init__(self, version):
        self.out = TOP / "build/mutants" / version
        self.top = self.out / "as-it-is"
        self.kernel = pathlib.Path(f"/lib/modules/{version}/build").resolve()
        for folder in (DRIVER, "include", "uapi"):
            for source in (TOP / folder).rglob("*"):
                if source.suffix in (".c", ".h") and not source.name.endswith(".mod.c") \
                   or source.name == "Kbuild":
                    self.take(source)
        run(["make", "-s", "-C", self.kernel, f"M={self.top / DRIVER}",
             f"-j{os.cpu_count()}", "DMABUFX_TESTS=y", "modules"])

    def take(self, source):
        """Copies a source unless the copy is the same, for make would compile it again."""
        copy = self.top / source.relative_to(TOP)
        text = source.read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)

    def command(self, made):
        """Returns the .cmd file in which kbuild left the command for an object."""
        path = self.top / DRIVER / made
        return (path.parent / f".{path.name}.cmd").read_text(encoding="utf-8")

    def made_of(self, sources):
        """Returns all files that depend on these sources, in the order of compilation."""
        names = "|".join(re.escape(path.name) for path in sources)
        steps = []
        for module in self.MODULES:
            words = (self.top / DRIVER / f"{module}.mod").read_text(encoding="utf-8").split()
            objects = [os.path.relpath(self.top / DRIVER / word, self.top / DRIVER)
                       for word in words]
            stale = [made for made in objects
                     if re.search(rf"(?<![\w.-])({names})\b", self.command(made))]
            if stale:
                steps += [*stale, f"{module}.o", f"{module}.ko"]
        return steps

    def make(self, mutation):
        """Compiles the broken module, unless that has been done."""
        sources = mutation.sources()
        dir_ = self.out / mutation.name
        if self.is_made(dir_, sources):
            return mutation.name
        shutil.rmtree(dir_, ignore_errors=True)
        tree = dir_ / "tree"
        # Links to all files that do not change.
        shutil.copytree(self.top, tree, copy_function=lambda a, b: os.symlink(a, b))
        for path, text in sources.items():
            self.replace(tree / path, text)
        for module in self.MODULES:
            text = (self.top / DRIVER / f"{module}.mod").read_text(encoding="utf-8")
            self.replace(tree / DRIVER / f"{module}.mod", self.moved(text, tree))
        steps = self.made_of(sources)
        for made in steps:
            self.make_again(made, tree)
        if "dmabufx.ko" not in steps:
            raise Problem(f"{mutation.name}: changes nothing that the module is made of")
        for made in steps:
            if made.endswith(".ko"):
                more = imports(tree / DRIVER / made) - imports(self.top / DRIVER / made)
                if more and self.has_versions():
                    raise Problem(f"{mutation.name}: calls what {made} did not: {more}")
                run(["strip", "--strip-debug", tree / DRIVER / made])
                (tree / DRIVER / made).rename(dir_ / pathlib.Path(made).name)
        for path in sources:
            (dir_ / path.name).write_text(sources[path], encoding="utf-8")
        shutil.rmtree(tree)
        return mutation.name

    def has_versions(self):
        """Tells whether the kernel refuses symbols without a version from modpost."""
        config = (self.kernel / "include/config/auto.conf").read_text(encoding="utf-8")
        return "CONFIG_MODVERSIONS=y\n" in config

    def is_made(self, dir_, sources):
        """Tells whether this was compiled from these sources and today's other sources."""
        try:
            newest = max((self.top / DRIVER / f"{module}.ko").stat().st_mtime
                         for module in self.MODULES)
            return ((dir_ / "dmabufx.ko").stat().st_mtime > newest and
                    all((dir_ / path.name).read_text(encoding="utf-8") == text
                        for path, text in sources.items()))
        except OSError:
            return False

    def moved(self, text, tree):
        """Changes absolute paths, which builds of older kernels use."""
        return text.replace(str(self.top), str(tree))

    @staticmethod
    def replace(path, text):
        path.unlink()
        path.write_text(text, encoding="utf-8")

    def make_again(self, made, tree):
        command = re.search(r"^savedcmd_\S+ := (.*)$", self.command(made), re.MULTILINE)[1]
        (tree / DRIVER / made).unlink()
        whole_paths = str(self.top) in command
        run(self.moved(command, tree), self.kernel if whole_paths else tree / DRIVER)


def run(command, cwd=None):
    """Runs a command, or a line of the shell; if it fails, its output is in the Problem."""
    done = subprocess.run(command, cwd=cwd, shell=isinstance(command, str), text=True,
                          # kbuild exports it, and objtool reads it.
                          env=os.environ | {"SRCARCH": "x86"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Problem(f"failed: {command}\n{done.stdout}")
    return done.stdout


def imports(module):
    """Returns the undefined symbols of a module."""
    return set(run(["nm", "-u", "--format=just-symbols", module]).split())


def build(version, names):
    """Compiles these mutations, and prints progress."""
    mutations = chosen(names)
    tree = Tree(version)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        made = [pool.submit(tree.make, mutation) for mutation in mutations]
        for each in concurrent.futures.as_completed(made):
            print(f"compiled {each.result()}", flush=True)


def main(arguments):
    match arguments:
        case ["check"]:
            check()
        case ["bugs"]:
            print(bugs(), end="")
        case ["list", *names]:
            for mutation in chosen(names):
                print(mutation.name, mutation.kernel, mutation.boot, *mutation.tests)
        case ["build", version, *names]:
            build(version, names)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.exit(f"mutants: {problem}")

"""Runs modules of CPython's regression tests and returns what became of each test.

The result is one JSON object: module -> {"run": n, "failed": {test: last line}, "skipped": {test: reason}}.
It is run in a runspace by the test of this directory and by the demo, and outside by the same files, so that
the two can be compared test by test.
"""

import importlib
import io
import json
import os
import sys
import tempfile
import unittest


def names(test):
    """The name of a test without what differs from run to run."""
    text = test.id() if hasattr(test, "id") else str(test)
    return text.replace("__main__.", "")


class Result(unittest.TestResult):
    """Counts tests and keeps what did not pass, by name."""

    def __init__(self):
        super().__init__()
        self.failed, self.skips = {}, {}

    def _fail(self, test, err):
        self.failed[names(test)] = "%s: %s" % (err[0].__name__, str(err[1]).strip().splitlines()[-1:])

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(test, err)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.failed[names(test)] = "unexpected success"

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skips[names(test)] = reason


def run(module):
    """Run one module of the package test the way regrtest does by default."""
    from test import support

    support.verbose = 0
    support.use_resources = []  # none of network, cpu, largefile, gui ...
    result = Result()
    support._run_suite = lambda suite: suite.run(result)  # what test_main() of some modules ends in
    out, err = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = io.TextIOWrapper(io.BytesIO(), write_through=True)
    try:
        loaded = importlib.import_module("test." + module)
        if hasattr(loaded, "test_main"):
            loaded.test_main()
        else:
            support.run_unittest(unittest.defaultTestLoader.loadTestsFromModule(loaded))
    except unittest.SkipTest as e:
        result.skips[module] = str(e)
    finally:
        sys.stdout, sys.stderr = out, err
    return {"run": result.testsRun, "failed": result.failed, "skipped": result.skips}


def main(modules):
    report = {}
    here = os.getcwd()
    for module in modules:
        with tempfile.TemporaryDirectory() as work:
            os.chdir(work)
            try:
                report[module] = run(module)
            finally:
                os.chdir(here)
    return report


if __name__ == "__main__":
    json.dump(main(sys.argv[1:]), sys.stdout)

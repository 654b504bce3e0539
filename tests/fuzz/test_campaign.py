"""The campaign counts every way to fail, loses nothing to it, and goes on where it was; a slice of it runs here."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from lstm_deploy.errors import InputError, OutOfMemoryError

from . import campaign
from .campaign import RESULTS, State, load_classes, run_class
from .classes import FuzzClass, Wrong, outcome
from .page import PAGE, with_table

if sys.platform != "linux":
    pytest.skip("the campaign forks, and limits memory as Linux does", allow_module_level=True)
CORPUS = Path(__file__).parent / "corpus"


class Misbehaved(FuzzClass):
    """Each way to fail once, at a known index."""

    name = "misbehaved"
    wanted = 40
    hang_s = 0.5
    memory = 1 << 28

    def case(self, index):
        return index

    def one(self, case):
        if case == 3:
            os.abort()
        if case == 5:
            time.sleep(60)
        if case == 7:
            raise Wrong("seven")
        if case == 9:
            raise ZeroDivisionError
        if case == 11:
            print("noise")
        if case == 13:
            bytearray(1 << 30)
        if case == 15:
            raise OutOfMemoryError("no room; buy some")
        if case == 17:
            raise InputError("two\nlines")
        if case == 19:
            raise InputError("one line")
        if case == 21:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "answered"


EXPECTED = {"answered": 30, "refused": 1, "memory": 2, "crash": 3, "hang": 1, "wrong": 3}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_way_to_fail_is_counted_and_the_rest_goes_on(tmp_path, workers):
    state = run_class(Misbehaved(), tmp_path, cases=40, seconds=60, workers=workers, code="1")
    assert state.counts == EXPECTED
    assert {(f["index"], f["outcome"]) for f in state.failures} == {
        (3, "crash"), (5, "hang"), (7, "wrong"), (9, "crash"), (11, "wrong"), (17, "wrong"), (21, "crash"),
    }  # fmt: skip
    details = {f["index"]: f["detail"] for f in state.failures}
    assert "SIGABRT" in details[3]
    assert "ZeroDivisionError" in details[9]
    assert "in one" in details[5]  # where it stood
    assert (tmp_path / "misbehaved" / "hang-5").read_text() == "5"


def test_a_run_that_was_stopped_goes_on_and_one_of_other_code_begins_again(tmp_path):
    first = run_class(Misbehaved(), tmp_path, cases=10, seconds=60, workers=1, code="1")
    assert sum(first.counts.values()) == 10
    part = json.loads((tmp_path / "misbehaved.json").read_text())
    part["given"] = [[40, 43]]  # as a campaign leaves it that was killed
    part["next"] = 43
    (tmp_path / "misbehaved.json").write_text(json.dumps(part))
    whole = run_class(Misbehaved(), tmp_path, cases=43, seconds=60, workers=1, code="1")
    assert sum(whole.counts.values()) == 13
    again = State.load(tmp_path, "misbehaved", "2")
    assert (again.next, sum(again.counts.values())) == (0, 0)


def test_time_that_is_over_stops_after_the_case_in_hand(tmp_path):
    class Slow(FuzzClass):
        name, wanted = "slow", 10**6

        def case(self, index):
            return index

        def one(self, case):
            time.sleep(0.01)
            return "answered"

    began = time.monotonic()
    state = run_class(Slow(), tmp_path, cases=10**6, seconds=1, workers=2, code="1")
    assert time.monotonic() - began < 5
    given = sum(stop - start for start, stop in state.open)
    assert 20 < state.counts["answered"] == state.next - given


def test_an_unknown_class_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no class nonsense; expected some of"):
        campaign.main(["--only", "nonsense", "--state", str(tmp_path)])


@pytest.mark.parametrize("fuzzed", load_classes(), ids=lambda fuzzed: fuzzed.name)
def test_a_slice_of_each_class_has_no_failure(fuzzed, tmp_path):
    if reason := fuzzed.absent():
        pytest.skip(reason)
    state = run_class(fuzzed, tmp_path, cases=10**6, seconds=2, workers=1, code="1")
    assert not state.failures
    assert sum(state.counts.values()) > 0


@pytest.mark.parametrize("fuzzed", load_classes(), ids=lambda fuzzed: fuzzed.name)
def test_cases_are_the_same_whenever_they_are_drawn(fuzzed, tmp_path):
    if reason := fuzzed.absent():
        pytest.skip(reason)
    fuzzed.prepare()
    for index in range(3):
        for name in ("once", "again"):
            fuzzed.save(fuzzed.case(index), tmp_path / name)
        assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()


def test_the_page_shows_the_committed_result():
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text, json.loads(RESULTS.read_text(encoding="utf-8")))


def test_an_error_that_steers_a_terminal_is_wrong():
    class Steers(Misbehaved):
        def one(self, case):
            raise InputError(f"found {case}")

    assert outcome(Steers(), "a")[0] == "refused"
    assert outcome(Steers(), "\x1b[2J")[0] == "wrong"
    assert outcome(Steers(), "\u202e")[0] == "wrong"

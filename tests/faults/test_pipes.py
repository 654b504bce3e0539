"""Streams that nobody reads, that are closed, or whose disk is full: work that goes to files is done all the same."""

import subprocess
import sys
from pathlib import Path

import pytest
from fault_commands import MODEL, PROGRAM, SENTENCE, begin, end, half_files, one_line, run, wrong_unless
from record import Injection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, and streams as POSIX has them")
_CLOSED = {"standard input": "<&-", "standard output": ">&-", "standard error": "2>&-"}


def _shell(line, *arguments, **options):
    """A line of bash in which "$@" is the command."""
    done = subprocess.run(
        ["bash", "-c", line, "-", *PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def _commands(checkpoint, tmp_path):
    """Name, arguments and result of each command that writes a file."""
    return [
        ("train", ["train", "--epochs", 5, "--output", tmp_path / "new"], tmp_path / "new" / "tagger.json"),
        ("export", ["export", checkpoint, "--output", tmp_path / "new.onnx"], tmp_path / "new.onnx"),
        ("run", ["run", "--model", MODEL, "--output", tmp_path / "new.txt", SENTENCE], tmp_path / "new.txt"),
    ]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["train", "export", "run"])
def test_work_that_goes_to_a_file_needs_no_listener(checkpoint, tmp_path, which):
    name, command, result = _commands(checkpoint, tmp_path)[which]
    lines = [f'"$@" {closed}' for closed in _CLOSED.values()]
    lines += ['"$@" 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}', '"$@" >/dev/full 2>/dev/full']
    if name != "run":  # which takes a second each
        lines = lines[2:4] if name == "train" else lines[3:4]
        command = [*command, "--overwrite"] if name == "train" else command
    with Injection("closed stream", name, "what goes to a file is done all the same, exit 0") as fault:
        for line in lines:
            code, _, err = _shell(line, *command)
            done = wrong_unless(result.is_file() and result.stat().st_size, "no result")
            fault.count([wrong_unless(code == 0, f"exit {code}: {err}"), done, *half_files(result.parent)], line)
            result.unlink()


def test_a_reader_that_has_had_enough_ends_the_command_quietly(text):
    with Injection("closed pipe", "run", "quiet, exit 0") as fault:
        for more in ("", "--line-buffered", "--format jsonl"):
            line = f'"$@" {more} | head -1; echo ${{PIPESTATUS[0]}} >&2'
            code, out, err = _shell(line, "run", "--model", MODEL, "--input", text)
            fault.count([wrong_unless((code, out.count("\n"), err) == (0, 1, "0\n"), f"{code} {out!r} {err!r}")], more)


def test_a_reader_that_leaves_between_two_lines(tmp_path):
    with Injection("closed pipe", "run < stdin", "quiet, exit 0") as fault:
        child = begin("run", "--model", MODEL, "--line-buffered", stdin=subprocess.PIPE)
        child.stdin.write(f"{SENTENCE}\n".encode())
        child.stdin.flush()
        child.stdout.readline()
        child.stdout.close()
        child.stdout = None
        child.stdin.write(f"{SENTENCE}\n".encode() * 9)
        code, _, err = end(child)
        fault.count([wrong_unless((code, err) == (0, ""), f"{code} {err!r}")])


def test_standard_input_that_is_closed_is_an_error(tmp_path):
    with Injection("closed stream", "run < stdin", "one line, exit 1 or 2, nothing half") as fault:
        for arguments, code in ((["--input", "-"], 1), ([], 2)):
            found, out, err = _shell('"$@" <&-', "run", "--model", MODEL, "--output", tmp_path / "x", *arguments)
            fault.count(
                [wrong_unless(found == code and not out and "Traceback" not in err, err), *half_files(tmp_path)]
            )
            assert not (tmp_path / "x").exists()


def test_a_full_disk_under_standard_output_is_one_line(text):
    with Injection("full disk", "run > file", "one line with the cure, exit 1") as fault:
        for arguments in ([SENTENCE], ["--input", text], ["--line-buffered", "--input", text]):
            with Path("/dev/full").open("w") as full:
                code, _, err = run("run", "--model", MODEL, *arguments, stdout=full)
            fault.count([wrong_unless(code == 1 and "make room" in err, f"exit {code} {err}"), one_line(err)])

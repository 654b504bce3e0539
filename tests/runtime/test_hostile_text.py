"""Text that nobody meant well: memory and time stay bounded, and what cannot be answered is said."""

import contextlib
import gzip
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS, SUBWORD, TUTORIAL

from lstm_deploy import Predictor
from lstm_deploy.encoding import MOST_SPELT, Encoder
from lstm_deploy.errors import InputError, OutOfMemoryError
from lstm_deploy.formats import LineReader, format_of, read_sentences, streams
from lstm_deploy.tokenizer import Tokenizer
from lstm_deploy.vocabulary import Vocabulary

MEASURE = """
import json, resource, sys, time
from lstm_deploy import Predictor
predictor = Predictor.load(sys.argv[1], threads=1)
predictor.predict(["cat"])
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
{work}
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps([grown, time.monotonic() - start]))
"""
LIMITED = {
    "a word of 10^5 characters among 2,000 that are spelt": (
        CHARACTERS, 'predictor.predict_batch([["cat", "ate"]] * 1000 + [["cat" * 33_333]])', 250),
    "a word of 10^6 characters": (SUBWORD, 'predictor.predict_text("a" * 10**6)', 250),
    "ever other words of 10^5 characters": (
        SUBWORD, 'for i in range(200): predictor.predict([f"{i}" + "x" * 10**5])', 60),
    "a sentence of 10^5 words": (SUBWORD, 'predictor.predict_text("a " * 10**5)', 150),
}  # fmt: skip
LONG = {
    "a sentence of 10^6 words": (SUBWORD, 'predictor.predict_text("a " * 10**6)', 1500),
    "10^6 points": (SUBWORD, 'predictor.predict_text(".," * 500_000)', 1500),
    "a document of 10^6 ends of sentences": (SUBWORD, 'predictor.predict_document("A. " * 333_333)', 1500),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
@pytest.mark.parametrize("what", [*LIMITED, *(pytest.param(what, marks=pytest.mark.slow) for what in LONG)])
def test_memory_and_time_are_bounded(what):
    path, work, megabytes = (LIMITED | LONG)[what]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(work=work), path], capture_output=True, text=True, timeout=240
    )
    assert not done.returncode, done.stderr[-2000:]
    grown, seconds = json.loads(done.stdout)
    assert grown < megabytes
    assert seconds < 120


def test_a_sentence_too_wide_to_be_spelt_is_refused_alone_and_spoils_no_other():
    spelt = Predictor.load(CHARACTERS)
    wide = ["cat" * (MOST_SPELT // 30), *["cat"] * 10]
    with pytest.raises(OutOfMemoryError, match=r"11 tokens, the longest of 209,715 characters, are 2,306,865 places"):
        spelt.predict(wide)
    with pytest.raises(OutOfMemoryError, match="11 tokens alone does not fit"):
        spelt.predict_batch([["cat"], wide])
    assert spelt.batch_tokens == Predictor.load(CHARACTERS).batch_tokens
    long = ["cat" * (MOST_SPELT // 60), *["cat"] * 10]
    batch = [["cat", "ate"]] * 300 + [long] + [["ate"] * 90] * 3
    for tokens, found in zip(batch[298:], spelt.predict_batch(batch)[298:], strict=True):
        assert found.tags == spelt.predict(tokens).tags


def test_types_that_are_long_are_not_kept_without_end():
    encoder = Encoder(Vocabulary.from_words(["a"]))
    for i in range(100):
        encoder.encode([[f"{i}" + "x" * 100_000]])
    assert sum(map(len, encoder._types)) <= 2**22 + 100_010


@given(st.lists(st.lists(st.text(st.characters() | st.sampled_from("\ud800\0\u202e\u200d\r\n\x85\u2028")), max_size=6)))
def test_any_tokens_have_a_tag_each(batch):
    predictor = Predictor.load(TUTORIAL, threads=1)
    for tokens, found in zip(batch, predictor.predict_batch(batch), strict=True):
        assert found.tokens == tuple(tokens)
        assert len(found.tags) == len(found.scores) == len(tokens)


ROW = b"1\tcat\t_\tNOUN\t_\t_\t_\t_\t_\t_\n"
GOOD = {
    "x.txt": b"the cat\nate\n",
    "x.conllu": ROW + b"\n" + ROW,
    "x.tsv": b"the\tX\ncat\tX\n\nate\tX\n",
    "x.jsonl": b'{"tokens": ["the"], "tags": ["X"]}\n{"tokens": ["cat"], "tags": ["X"]}\n',
}
NUL = "a NUL character at column"


def _read(path):
    form = format_of(path)
    return [s.tokens for s in read_sentences(LineReader(path), form, Tokenizer("whitespace"))]


@pytest.mark.parametrize("name", GOOD)
def test_line_ends_and_byte_order_marks_change_no_word(tmp_path, name):
    path, good = tmp_path / name, GOOD[name]
    path.write_bytes(good)
    expected = _read(path)
    lines = good.splitlines(keepends=True)
    mixed = b"".join(line.replace(b"\n", b"\r\n") if i % 2 else line for i, line in enumerate(lines))
    for text in (b"\xef\xbb\xbf" + good, good.replace(b"\n", b"\r\n"), mixed, b"\xef\xbb\xbf" + mixed):
        path.write_bytes(text)
        assert _read(path) == expected


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.decode().encode("utf-16"), ":1: not UTF-8 but UTF-16"),
        (lambda text: text.decode().encode("utf-16-be"), f":1: {NUL}"),
        (lambda text: text.decode().encode("utf-32-le"), f":1: {NUL}"),
        (lambda text: text.replace(b"cat", b"c\xc3t"), ": not UTF-8 (byte 0xc3"),
        (lambda text: text.replace(b"cat", b"\xed\xa0\x80"), ": not UTF-8 (byte 0xed"),
        (lambda text: text.replace(b"cat", b"c\0t"), f": {NUL}"),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "UTF-32", "cut off", "half a surrogate pair", "NUL"],
)
def test_what_is_not_utf8_text_is_refused_by_name_and_line(tmp_path, name, spoil, says):
    path = tmp_path / name
    path.write_bytes(spoil(GOOD[name]))
    with pytest.raises(InputError) as error:
        _read(path)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["x.conllu", "x.tsv"])
def test_a_carriage_return_within_a_row_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(GOOD[name].replace(b"cat", b"c\rt"))
    with pytest.raises(InputError, match="a carriage return within the line"):
        _read(path)


def test_old_mac_columns_are_not_read_as_one_row_of_many_words(tmp_path):
    path = tmp_path / "x.iob"
    path.write_bytes(b"the\rcat\rate\r")
    with pytest.raises(InputError, match="only a line feed ends a line"):
        _read(path)


def test_a_small_file_that_unpacks_to_one_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MOST_LINE", 10_000)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"fine\n" + b"a" * 20_000))
    with pytest.raises(InputError, match=r"bomb\.txt\.gz:2: a line of more than 10,000 bytes"):
        _read(path)
    path.write_bytes(gzip.compress(b"a" * 9_999 + b"\n"))
    assert _read(path) == [["a" * 9_999]]


@given(st.binary(max_size=60), st.sampled_from(sorted(GOOD)), st.integers(0, 40), st.integers(0, 12))
def test_any_bytes_are_sentences_or_refused_in_one_line(tmp_path_factory, noise, name, at, gone):
    path = tmp_path_factory.getbasetemp() / f"noise-{name}"
    good = GOOD[name]
    path.write_bytes(good[:at] + noise + good[at + gone :])
    try:
        found = _read(path)
    except InputError as e:
        assert str(e).startswith(f"{path}:")
        assert str(e).isprintable()
    else:
        assert all(isinstance(token, str) and "\n" not in token for tokens in found for token in tokens) or (
            name == "x.jsonl"
        )


COMMAND = [sys.executable, "-c", "from lstm_deploy.cli import main; main()", "run", "--model", str(TUTORIAL)]


def _run(*arguments, stdin=b""):
    command = [*COMMAND, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


@pytest.mark.parametrize("stdin", [b"the cat\n\xff\n", "the cat".encode("utf-16"), b"a\0b\n"])
def test_standard_input_that_is_not_text_is_refused_in_one_line(stdin):
    done = _run(stdin=stdin)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.decode().splitlines() if not line.startswith("model:")]
    assert line.startswith("Error: standard input:")


STEERING = "the \x1b[31mfish\x1b]0;title\x07 \u202eate\u2066 a\u200bb 👩\u200d🚀"


def test_pipes_and_files_get_the_bytes_that_tokens_are(tmp_path):
    done = _run(stdin=STEERING.encode())
    words = [line.split("\t")[0] for line in done.stdout.decode().splitlines() if line]
    assert words == STEERING.split()
    output = tmp_path / "out.txt"
    assert not _run("--output", str(output), stdin=STEERING.encode()).returncode
    assert output.read_bytes() == done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("form", ["text", "jsonl", "conllu"])
def test_a_terminal_is_steered_by_no_token(form):
    ours, theirs = os.openpty()
    command = [*COMMAND, "--format", form]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE)
    _, said = started.communicate(STEERING.encode(), timeout=60)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert not started.returncode, said
    text = shown.decode()
    assert "\\u001b[31mfish\\u001b]0;title\\u0007" in text
    assert "\\u202eate\\u2066" in text
    assert text.replace("\r\n", "").replace("\t", "").isprintable()


def test_errors_that_quote_a_name_steer_no_terminal(tmp_path):
    done = _run("--input", str(tmp_path / "\x1b]0;x\u202e.txt"))
    assert done.returncode == 1
    assert done.stderr.decode().strip().isprintable()

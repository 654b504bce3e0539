"""Readers name the line that is wrong; writers keep what they were given; outputs are whole or absent."""

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import corpus

from lstm_deploy.decoding import TaggedSentence
from lstm_deploy.errors import InputError, MissingDependencyError, OutputError, UnknownTagError
from lstm_deploy.formats import (
    LineReader,
    Sentence,
    atomic_output,
    check_tags,
    default_column,
    format_of,
    read_gold,
    read_sentences,
    writer_for,
)
from lstm_deploy.tokenizer import Tokenizer

CONLLU = (
    "\ufeff# sent_id = 1\r\n"
    "# text = vámonos al mar\r\n"
    "1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_\r\n"
    "1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_\r\n"
    "2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_\r\n"
    "2.1\tya\tya\tADV\tR\t_\t_\t_\t1:advmod\t_\r\n"
    "3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_\r\n"
    "3\ta\ta\tADP\tE\t_\t5\tcase\t_\t_\r\n"
    "4\tel\tel\tDET\tD\t_\t5\tdet\t_\t_\r\n"
    "5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\tSpaceAfter=No|Tag=old\r\n"
    "\r\n"
    "\r\n"
    "# nothing here\n"
    "\n"
    "1\t10 000\t_\tNUM\tM\t_\t0\troot\t_\t_"
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="x.conllu"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return write


def _read(path, form=None):
    return list(read_sentences(LineReader(path), form or format_of(path), Tokenizer("words")))


def _rewritten(path, column="upos", tag="X"):
    writer = writer_for("conllu", column)
    return b"".join(
        writer(s, TaggedSentence(tuple(s.tokens), (tag,) * len(s.tokens), (1.0,) * len(s.tokens))) for s in _read(path)
    )


def test_conllu_words_tags_and_lines(write):
    one, empty, two = _read(write(CONLLU))
    assert one.tokens == ["vamos", "nos", "a", "el", "mar"]
    assert one.lines == [4, 5, 8, 9, 10]
    assert one.text == "vámonos al mar"
    assert empty.tokens == []
    assert two.tokens == ["10 000"]
    gold = list(read_gold(write(CONLLU), "xpos"))
    assert [sentence.tags for sentence in gold] == [["V", "P", "E", "D", "N"], ["M"]]


@pytest.mark.parametrize(("column", "cell"), [("upos", 3), ("xpos", 4), ("tag", 9)])
def test_conllu_comes_back_byte_for_byte_but_for_the_tag(write, column, cell):
    before, after = CONLLU.encode().split(b"\n"), _rewritten(write(CONLLU), column).split(b"\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if old.split(b"\t")[0].isdigit():
            old_cells, new_cells = old.rstrip(b"\r").split(b"\t"), new.rstrip(b"\r").split(b"\t")
            expected = {b"_": b"Tag=X", b"SpaceAfter=No|Tag=old": b"SpaceAfter=No|Tag=X"}
            assert new_cells.pop(cell) == (expected[old_cells[9]] if column == "tag" else b"X")
            old_cells.pop(cell)
            assert (new_cells, new[-1:] == b"\r") == (old_cells, old[-1:] == b"\r")
        else:
            assert new == old


def test_real_treebank_comes_back_byte_for_byte():
    path = corpus("ud-english-ewt/en_ewt-ud-dev.conllu.xz")
    writer = writer_for("conllu", "upos")
    gold = {tuple(s.lines): s.tags for s in read_gold(path, "upos")}
    parts = (
        writer(s, TaggedSentence(tuple(s.tokens), tuple(gold[tuple(s.lines)]), (1.0,) * len(s.tokens)))
        for s in _read(path)
    )
    assert b"".join(parts) == lzma.decompress(path.read_bytes())


@pytest.mark.parametrize(
    "name", ["ud-english-ewt/en_ewt-ud-dev", "ud-turkish-imst/tr_imst-ud-dev", "ud-chinese-gsd-1.4/zh-ud-dev"]
)
def test_reader_agrees_with_the_conllu_package(name):
    conllu = pytest.importorskip("conllu")
    path = corpus(f"{name}.conllu.xz")
    expected = [
        [(token["form"], token["upos"]) for token in sentence if isinstance(token["id"], int)]
        for sentence in conllu.parse(lzma.decompress(path.read_bytes()).decode())
    ]
    assert [list(zip(s.tokens, s.tags, strict=True)) for s in read_gold(path, "upos")] == expected


cells = st.text(st.characters(exclude_characters="\0\t\r\n", exclude_categories=["Cs"]), min_size=1, max_size=5)
rows = st.lists(st.tuples(*[cells] * 9), min_size=1, max_size=4)


@settings(max_examples=50)
@given(st.lists(rows, max_size=4), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_conllu_comes_back(tmp_path_factory, sentences, end, last):
    blocks = ["".join("\t".join([str(i), *row]) + end for i, row in enumerate(rows, 1)) + end for rows in sentences]
    text = "".join(blocks) if last else "".join(blocks).rstrip("\r\n")
    path = tmp_path_factory.mktemp("any") / "x.conllu"
    path.write_bytes(text.encode())
    gold = iter([row for rows in sentences for row in rows])
    writer = writer_for("conllu", "upos")
    back = b""
    for sentence in _read(path):
        mine = [next(gold) for _ in sentence.tokens]
        assert sentence.tokens == [row[0] for row in mine]
        tags = tuple(row[2] for row in mine)
        back += writer(sentence, TaggedSentence(tuple(sentence.tokens), tags, (1.0,) * len(tags)))
    assert back == text.encode()


def test_columns_with_tabs_spaces_and_odd_separators(write):
    path = write("EU B-ORG\nrejects O\n\n\t\n#tag O\r\nx O", "x.conll")
    assert [(s.tokens, s.tags, s.lines) for s in read_gold(path)] == [
        (["EU", "rejects"], ["B-ORG", "O"], [1, 2]),
        (["#tag", "x"], ["O", "O"], [5, 6]),
    ]
    assert [s.tags for s in read_gold(write("EU\tNNP\tB-ORG\nX\tY\tO\n", "x.tsv"))] == [["B-ORG", "O"]]
    assert [s.tokens for s in _read(write("one\ntwo\n\nthree\n", "x.tsv"))] == [["one", "two"], ["three"]]


@pytest.mark.parametrize(
    ("name", "sentences", "tokens"),
    [
        ("wnut17/wnut17train.conll.xz", 3_394, 62_730),
        ("ncbi-disease/devel.tsv.xz", 923, 23_969),
        ("ud-turkish-imst/tr_imst-ud-dev.conllu.xz", 1_100, 10_542),
    ],
)
def test_real_corpora_have_the_size_they_state(name, sentences, tokens):
    found = list(read_gold(corpus(name)))
    assert (len(found), sum(len(s.tokens) for s in found)) == (sentences, tokens)


def test_json_lines(write):
    path = write('{"tokens": ["a", "b c"], "tags": ["X", "Y"]}\n{"tokens": []}\n', "x.jsonl")
    assert [s.tokens for s in _read(path)] == [["a", "b c"], []]
    assert [s.tokens for s in _read(write('{"text": "It\'s (me)."}\n', "x.jsonl"))] == [["It's", "(", "me", ")", "."]]
    path = write('{"tokens": ["ab", "c"]}\n{"text": "ab \\n c"}\n{"tokens": []}\n', "y.jsonl")
    spelt = [s.tokens for s in read_sentences(LineReader(path), "jsonl", Tokenizer("characters"))]
    assert spelt == [["a", "b", " ", "c"], ["a", "b", "\n", "c"], []]
    assert [s.tags for s in read_gold(write('{"tokens": ["a"], "tags": ["X"]}\n', "x.ndjson"))] == [["X"]]


def test_text_keeps_a_sentence_for_every_line(write):
    assert [s.tokens for s in _read(write("\ufeffone two.\r\n\n  \nthree", "x.txt"))] == [
        ["one", "two", "."],
        [],
        [],
        ["three"],
    ]


@pytest.mark.parametrize(("suffix", "library"), [(".gz", gzip), (".xz", lzma), (".bz2", bz2)])
def test_compressed_files_and_what_is_wrong_with_them(write, suffix, library):
    packed = library.compress(CONLLU.encode())
    assert len(_read(write(packed, f"x.conllu{suffix}"))) == len(_read(write(CONLLU)))
    for broken in (packed[:-9], b"not compressed at all"):
        with pytest.raises(InputError, match=f"x.conllu{suffix}: damaged or cut off"):
            _read(write(broken, f"x.conllu{suffix}"))


GOOD = "1\ta\t_\tX\t_\t_\t_\t_\t_\t_\n"


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (GOOD + "2\tb\t_\tX\n", "x.conllu", "x.conllu:2: found 4 columns; expected the 10"),
        (GOOD + "\n# c\nword X\n", "x.conllu", "x.conllu:4: found 1 column; expected the 10"),
        (GOOD + GOOD, "x.conllu", "x.conllu:2: found word id 1; expected 2"),
        (GOOD.replace("1", "one"), "x.conllu", "x.conllu:1: found the id 'one'"),
        (GOOD.replace("1", "0"), "x.conllu", "x.conllu:1: found the id '0'"),
        (GOOD.replace("\ta\t", "\t\t"), "x.conllu", "x.conllu:1: the word's FORM (column 2) is empty"),
        (GOOD.replace("X", "_"), "x.conllu", "x.conllu:1: the word 'a' has no UPOS"),
        ("a X\nb\n", "x.conll", "x.conll:2: found 1 column; expected 2"),
        ("a\n", "x.conll", "x.conll:1: found 1 column; expected 2"),
        ("a\tX\n\tX\n", "x.tsv", "x.tsv:2: found an empty column 1"),
        ("a\tX\nb\t\n", "x.tsv", "x.tsv:2: found an empty column 2"),
        (GOOD, "x.tsv", "x.tsv:1: this looks like CoNLL-U"),
        (b"a\tX\n\xff\tX\n", "x.tsv", "x.tsv:2: not UTF-8 (byte 0xff at column 1)"),
        ('{"tokens": ["a"]}\n', "x.jsonl", "x.jsonl:1: 1 tokens but 0 tags"),
        ('{"tokens": [""], "tags": ["X"]}\n', "x.jsonl", "x.jsonl:1: the pair ''"),
        ('{"tokens": ["a"], "tags": ["X\\ty"]}\n', "x.jsonl", "x.jsonl:1: the pair 'a'"),
        ('{"tokens": ["\\ud800"], "tags": ["X"]}\n', "x.jsonl", "x.jsonl:1: the pair"),
        ('{"tokens": ["a"], "tags": ["X", "Y"]}\n', "x.jsonl", "x.jsonl:1: 1 tokens but 2 tags"),
        ('{"text": "a", "tags": ["X"]}\n', "x.jsonl", 'x.jsonl:1: no "tokens"'),
        ('{"tokens": [1], "tags": ["X"]}\n', "x.jsonl", 'x.jsonl:1: no "tokens"'),
        ("[]\n", "x.jsonl", "x.jsonl:1: a JSON list"),
        ('{"tokens": \n', "x.jsonl", "x.jsonl:1: not JSON"),
        ("[" * 100_000 + "\n", "x.jsonl", "x.jsonl:1: not JSON"),
        ("plain", "x.txt", "plain text has no tags"),
        ("plain", "x.docx", "unknown kind of file"),
    ],
)
def test_malformed_gold_names_file_line_found_and_expected(write, text, name, says):
    with pytest.raises(InputError) as caught:
        list(read_gold(write(text, name)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere.tsv: cannot read \(No such file or directory\)"):
        list(read_gold("nowhere.tsv"))


@pytest.mark.parametrize(("name", "column"), [("x.conllu", "tag"), ("x.tsv", "upos"), ("x.jsonl", "xpos")])
def test_a_column_that_such_a_file_does_not_have(write, name, column):
    with pytest.raises(InputError, match=f"has no column {column}; pass --column"):
        read_gold(write("", name), column)


def test_default_columns():
    assert [default_column(name) for name in ("a.conllu.gz", "a.tsv", "a.jsonl.xz")] == ["upos", "tag", "tag"]


def test_a_tag_not_in_training_names_its_line(write):
    path = write("a X\n\nb X\nc Q\n", "x.conll")
    with pytest.raises(UnknownTagError, match=r"x.conll:4: the tag 'Q' is not in .* expected one of X, Y"):
        list(check_tags(path, read_gold(path), ("X", "Y")))


def _result(*tokens):
    return TaggedSentence(tokens, ("X",) * len(tokens), (0.25,) * len(tokens))


def test_writers():
    result = _result("it", "'s")
    source = Sentence(["it", "'s"], text="it's\t ok")
    assert writer_for("text", "upos")(source, result) == b"it\tX\n's\tX\n\n"
    assert json.loads(writer_for("jsonl", "upos")(source, result)) == {
        "tokens": ["it", "'s"],
        "tags": ["X", "X"],
        "scores": [0.25, 0.25],
    }
    lines = writer_for("conllu", "xpos")(source, result).decode().splitlines()
    assert lines == ["# text = it's ok", "1\tit\t_\t_\tX\t_\t_\t_\t_\t_", "2\t's\t_\t_\tX\t_\t_\t_\t_\t_", ""]


def test_an_empty_sentence_keeps_its_place():
    assert writer_for("text", "tag")(Sentence(), _result()) == b"\n"
    assert json.loads(writer_for("jsonl", "tag")(Sentence(), _result())) == {"tokens": [], "tags": [], "scores": []}
    assert writer_for("conllu", "tag")(Sentence(), _result()) == b""


@pytest.mark.parametrize("token", ["a\tb", "a\nb", "a\rb", "\ud800"])
def test_tokens_that_columns_cannot_carry_go_to_json_only(token):
    result, source = _result(token), Sentence([token])
    for form in ("text", "conllu"):
        with pytest.raises(InputError, match="use --format jsonl"):
            writer_for(form, "upos")(source, result)
    assert json.loads(writer_for("jsonl", "upos")(source, result))["tokens"] == [token]


def test_output_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_output(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_output(path) as stream:
        stream.write(b"whole")
        assert path.read_text() == "old"
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("suffix", "library"), [(".gz", gzip), (".xz", lzma), (".bz2", bz2)])
def test_output_is_compressed_by_its_name(tmp_path, suffix, library):
    path = tmp_path / f"out.txt{suffix}"
    with atomic_output(path) as stream:
        stream.write(b"content")
    assert library.decompress(path.read_bytes()) == b"content"


def test_zstd_is_written_and_read_where_pyarrow_is(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "out.txt.zst"
    with atomic_output(path) as stream:
        stream.write(b"one\ntwo\n" * 1000)
    assert path.stat().st_size < 200
    assert [line for _, line in LineReader(path)] == ["one\n", "two\n"] * 1000
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged or cut off after line"):
        list(LineReader(path))


def test_zstd_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"zstd needs pyarrow; pip install 'lstm-deploy\[data\]'"):
        atomic_output(tmp_path / "out.txt.zst").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_unwritable_outputs(tmp_path):
    for path in (tmp_path / "missing" / "out", tmp_path):
        with pytest.raises(OutputError, match="cannot write"), atomic_output(path) as stream:
            stream.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_not_replaced():
    with atomic_output("/dev/null") as stream:
        stream.write(b"x")
    assert not Path("/dev/null").is_file()

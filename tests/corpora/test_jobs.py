"""What becomes of rows that cannot be tagged, of damaged parts, of outputs that are there, of inputs that change."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_files import CHARACTERS

from lstm_deploy.corpora.job import tag_corpus
from lstm_deploy.corpora.rows import Columns
from lstm_deploy.corpora.tagging import Tagging
from lstm_deploy.errors import InputError, OutputError

EXPORTED = Path(__file__).parents[2] / "exported"
MODEL, OTHER = EXPORTED / "tutorial.onnx", EXPORTED / "en-upos-small.onnx"
WORD = b"1\tthe\t_\t_\t_\t_\t_\t_\t_\t_\n\n"
GOOD = {
    "a.jsonl": b'{"text": "the cat"}\n',
    "a.csv": b"the cat,1\n",
    "a.tsv": b"the cat\t1\n",
    "a.txt": b"the cat\n",
    "a.conllu": WORD,
    "a.conll": b"the\tx\n\n",
}
HEADERS = {"a.csv": b"text,n\n", "a.tsv": b"text\tn\n"}
BAD = [
    ("a.jsonl", b'{"text": null}\n'),
    ("a.jsonl", b'{"text": 3}\n'),
    ("a.jsonl", b'{"text": "\xff"}\n'),
    ("a.jsonl", b'{"text": "\xed\xa0\x80"}\n'),
    ("a.jsonl", b'{"text": "\\ud800"}\n'),
    ("a.jsonl", b'{"tokens": ["a", null]}\n'),
    ("a.jsonl", b'{"text": \n'),
    ("a.jsonl", b"[1]\n"),
    ("a.csv", b"the \xff,1\n"),
    ("a.csv", b"the\n"),
    ("a.csv", b'"the" cat,1\n'),
    ("a.tsv", b"the\t1\t2\n"),
    ("a.txt", b"\xc3(\n"),
    ("a.conllu", b"1\tthe\n\n"),
    ("a.conllu", WORD.replace(b"the", b"\xff")),
    ("a.conll", b"\xff\tx\n\n"),
    ("a.conll", b"\tx\n\n"),
]


def _tag(source, output, *, model=MODEL, columns=None, overwrite=False, **settings):
    tagging = Tagging(model, columns=columns or Columns(), **settings)
    return tag_corpus(str(source), output, tagging, processes=1, overwrite=overwrite)


@pytest.mark.parametrize(("name", "bad"), BAD)
def test_bad_rows_end_the_job_or_are_left_out_or_go_without_tags(tmp_path, name, bad):
    path, good = tmp_path / name, GOOD[name]
    rows = [bad if i % 20 == 7 else good for i in range(60)]
    path.write_bytes(HEADERS.get(name, b"") + b"".join(rows))
    place = len(HEADERS.get(name, b"").splitlines()) + 7 * good.count(b"\n") + 1
    with pytest.raises(InputError, match=rf"{name}:{place}: .*--on-error"):
        _tag(path, tmp_path / "fail")
    assert sorted(each.name for each in (tmp_path / "fail").iterdir()) == ["_manifest.json"]
    whole = tmp_path / "whole" / name
    whole.parent.mkdir()
    whole.write_bytes(HEADERS.get(name, b"") + good * 57)
    _tag(whole, tmp_path / "without")
    skipped = _tag(path, tmp_path / "skip", on_error="skip")
    assert (tmp_path / "skip" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    kept = _tag(path, tmp_path / "null", on_error="null")
    assert skipped["totals"] == kept["totals"]
    assert (kept["totals"]["rows"], kept["totals"]["rejected"]) == (60, 3)
    rejects = (tmp_path / f"null/_rejects/{name}.jsonl").read_text("utf-8").splitlines()
    assert json.loads(rejects[0])["line"] == place
    assert len(rejects) == 3
    out = (tmp_path / "null" / name).read_bytes()
    if name == "a.jsonl":
        found = [json.loads(line.decode()) for line in out.splitlines()]
        assert [i for i, row in enumerate(found) if row["tags"] is None] == [7, 27, 47]
    if name in HEADERS:
        assert len(out.splitlines()) == 61


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_word_without_an_id_is_a_bad_row(tmp_path, name):
    rows = [["the"]] * 5 + [["cat", "b"]] + [["the"]]
    if name == "a.parquet":
        pq.write_table(pa.table({"tokens": rows}), tmp_path / name)
    else:
        (tmp_path / name).write_text("".join(json.dumps({"tokens": row}) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"(row 6|:6): .*U.0062"):
        _tag(tmp_path / name, tmp_path / "fail", model=CHARACTERS)
    assert _tag(tmp_path / name, tmp_path / "out", model=CHARACTERS, on_error="skip")["totals"] == {
        "parts": 1,
        "rows": 7,
        "rejected": 1,
        "tokens": 6,
    }


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_cut_off_part_is_named_and_done_when_it_is_mended(tmp_path, name):
    source = tmp_path / "in"
    source.mkdir()
    (source / "b.txt").write_text("the cat\n")
    data = "".join(json.dumps({"text": f"the cat {i}"}) + "\n" for i in range(9000)).encode()
    if name == "a.parquet":
        pq.write_table(pa.table({"text": ["the cat"]}), source / name)
    elif name.endswith(".gz"):
        (source / name).write_bytes(gzip.compress(data))
    else:
        with pa.CompressedOutputStream(str(source / name), "zstd") as stream:
            stream.write(data)
    whole = (source / name).read_bytes()
    (source / name).write_bytes(whole[:-9])
    with pytest.raises(InputError, match=name):
        _tag(source, tmp_path / "out", on_error="skip")
    assert (tmp_path / "out/b.txt").exists()
    assert not (tmp_path / "out" / name).exists()
    (source / name).write_bytes(whole)
    assert _tag(source, tmp_path / "out", on_error="skip")["complete"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.conllu", "a.conll", "a.csv", "a.jsonl.gz"])
def test_an_empty_file_gives_an_empty_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert _tag(tmp_path / name, tmp_path / "out")["totals"]["rows"] == 0


def test_outputs_of_others_stay_and_inputs_are_never_replaced(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("the cat\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("mine")
    with pytest.raises(OutputError, match="not made by this job"):
        _tag(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="the input itself"):
        _tag(tmp_path / "in/*.txt", tmp_path / "in", overwrite=True)
    with pytest.raises(OutputError, match="the input itself"):
        _tag(tmp_path / "in/a.txt", tmp_path / "in/a.txt", overwrite=True)
    assert (tmp_path / "in/a.txt").read_text() == "the cat\n"
    _tag(tmp_path / "in", tmp_path / "out", overwrite=True)
    (tmp_path / "in/a.txt").write_text("the cat ate\n")
    (tmp_path / "in/b.txt").write_text("fish\n")
    assert _tag(tmp_path / "in", tmp_path / "out")["totals"]["tokens"] == 4
    with pytest.raises(OutputError, match="begun with"):
        _tag(tmp_path / "in", tmp_path / "out", model=OTHER)


def test_a_log_whose_last_line_is_cut_off_does_not_spoil_the_next(tmp_path):
    (tmp_path / "a.txt").write_text("the cat\n")
    _tag(tmp_path / "a.txt", tmp_path / "out")
    (tmp_path / "out/a.txt").unlink()
    (tmp_path / "out/_progress.jsonl").write_bytes(b'{"part": "a.t')
    assert _tag(tmp_path / "a.txt", tmp_path / "out")["complete"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["_manifest.json", "a.txt"]


def test_overwrite_takes_away_parts_that_the_input_no_longer_has(tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.txt", "b.txt"):
        (source / name).write_text("They ate\n")
    _tag(source, output)
    (output / "mine.txt").write_text("kept")
    (source / "b.txt").unlink()
    _tag(source, output, overwrite=True)
    assert sorted(path.name for path in output.iterdir()) == ["_manifest.json", "a.txt", "mine.txt"]


def test_a_pattern_leaves_out_what_is_no_part_and_links_lead_nowhere_twice(tmp_path):
    source = tmp_path / "in"
    (source / "_rejects").mkdir(parents=True)
    (source / "sub").mkdir()
    for name in ("_rejects/a.txt", "sub/b.txt"):
        (source / name).write_text("They ate\n")
    (source / "sub" / "again").symlink_to(source)
    assert [record["part"] for record in _tag(source, tmp_path / "out")["parts"]] == ["sub/b.txt"]
    assert [record["part"] for record in _tag(source / "*/*.txt", tmp_path / "out2")["parts"]] == ["sub/b.txt"]

"""Every kind of file: the tags are those of predict_batch, and all else comes out as it went in."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import SUBWORD

from lstm_deploy import Predictor
from lstm_deploy.corpora.job import tag_corpus
from lstm_deploy.corpora.rows import Columns
from lstm_deploy.corpora.tagging import Tagging
from lstm_deploy.errors import InputError, OutputError
from lstm_deploy.segmenter import Segmenter

EXPORTED = Path(__file__).parents[2] / "exported"
MODEL, SEGMENTER = EXPORTED / "en-upos-small.onnx", EXPORTED / "en-segmenter.onnx"
SENTENCES = [["the", "cat", "ate", "fish", "."], [], ["Ann", "saw", "東京"], ["No", "!"]] * 3


@pytest.fixture(scope="module")
def small():
    return Predictor.load(MODEL)


def _tag(source, output, columns=None, model=MODEL, **settings):
    return tag_corpus(str(source), output, Tagging(model, columns=columns or Columns(), **settings), processes=1)


def _tags(predictor, rows):
    found = iter(predictor.predict_batch([row for row in rows if row is not None]))
    return [None if row is None else list(next(found).tags) for row in rows]


def _packed(name, data):
    if name.endswith(".zst"):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    packers = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    return packers.get(Path(name).suffix, bytes)(data)


def _unpacked(path):
    data = path.read_bytes()
    if path.suffix == ".zst":
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)(data)


def _table(rows, kind=None):
    return pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int16()),
            "deep": pa.array([{"a": [i], "b": {"c": str(i)}} for i in range(len(rows))]),
            "name": pa.array([f"n{i % 3}" for i in range(len(rows))]).dictionary_encode(),
            "tokens": pa.array(rows, kind or pa.list_(pa.string())),
            "view": pa.array([str(i) for i in range(len(rows))], pa.string_view()),
        }
    ).replace_schema_metadata({"pandas": "{}", "mine": "yes"})


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "none"])
def test_parquet_keeps_the_other_columns_and_metadata(small, tmp_path, codec):
    table = _table(SENTENCES)
    pq.write_table(table, tmp_path / "a.parquet", compression=codec, row_group_size=5)
    _tag(tmp_path / "a.parquet", tmp_path / "out", scores=True)
    found = pq.read_table(tmp_path / "out/a.parquet")
    assert found.drop_columns(["tags", "scores"]).equals(pq.read_table(tmp_path / "a.parquet"))
    assert found.schema.metadata == pq.read_schema(tmp_path / "a.parquet").metadata
    assert found["tags"].to_pylist() == _tags(small, SENTENCES)
    for scores, expected in zip(found["scores"].to_pylist(), small.predict_batch(SENTENCES), strict=True):
        assert scores == pytest.approx(expected.scores, abs=0.02)
    group = pq.ParquetFile(tmp_path / "out/a.parquet").metadata.row_group(0)
    assert group.column(0).compression == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())


@pytest.mark.parametrize("policy", ["skip", "null"])
@pytest.mark.parametrize("form", ["file", "stream", "feather"])
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_view(pa.string())], ids=str
)
def test_arrow_tables_of_every_layout(small, tmp_path, kind, form, policy):
    rows = [*SENTENCES[:4], None, ["a", None], *SENTENCES[4:]]
    path = tmp_path / ("a.feather" if form == "feather" else "a.arrow")
    table = _table(rows, kind)
    opened = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
    with opened(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=5) if form != "feather" else writer.write_table(table)
    manifest = _tag(path, tmp_path / "out", on_error=policy)
    assert manifest["totals"] | {"tokens": 0} == {"parts": 1, "rows": len(rows), "rejected": 2, "tokens": 0}
    reader = pa.ipc.open_stream if form == "stream" else pa.ipc.open_file
    found = reader((tmp_path / "out" / path.name).read_bytes()).read_all()
    good = [None if row is None or None in row else row for row in rows]
    kept = [i for i, row in enumerate(good) if row is not None or policy == "null"]
    assert found["id"].to_pylist() == kept
    assert found["tokens"].to_pylist() == [rows[i] for i in kept]
    assert found["view"].to_pylist() == [str(i) for i in kept]
    assert found["tags"].to_pylist() == _tags(small, [good[i] for i in kept])
    assert found.schema.metadata[b"mine"] == b"yes"


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()],
    ids=str,
)
def test_text_columns_of_every_type(small, tmp_path, kind):
    texts = ["the cat ate", "", "fish !"]
    given = [t.encode() for t in texts] if "binary" in str(kind) else texts
    table = pa.table({"body": pa.array(given, kind)})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    _tag(tmp_path / "a.arrow", tmp_path / "out", Columns("body", "pos"))
    found = pa.ipc.open_file((tmp_path / "out/a.arrow").read_bytes()).read_all()
    assert found["tokens"].to_pylist() == [text.split() for text in texts]
    assert found["pos"].to_pylist() == _tags(small, [text.split() for text in texts])
    assert found["body"].equals(table["body"])


def _conllu(rows):
    lines = []
    for row in rows:
        lines += ["# a = b\r\n", *(f"{i}\t{t}\tx\t_\t_\t_\t_\t_\t_\tA=b\r\n" for i, t in enumerate(row, 1)), "\r\n"]
    return "".join(lines)


@pytest.mark.parametrize("packed", ["", ".gz", ".xz", ".bz2", ".zst", ".GZ"])
def test_line_kinds_plain_and_packed(small, tmp_path, packed):
    rows = [row for row in SENTENCES if row]
    tags = _tags(small, rows)
    source = tmp_path / "in" / "deep"
    source.mkdir(parents=True)
    given = {
        "j.jsonl": "".join(f'{{"n" :1e2,"tokens":{json.dumps(row)} }}\r\n' for row in rows),
        "c.conllu": "\n" + _conllu(rows),
        "w.conll": "".join("".join(f"{t} x\n" for t in row) + "\u00a0\n" for row in rows),
        "t.txt": "\ufeff" + "\n".join(" ".join(row) for row in rows),
        "v.csv": "\ufefftokens,id\r\n" + "".join(f'"{" ".join(row)}","a\n""b"\r\n' for row in rows),
        "v.tsv": "id\ttokens\n" + "".join(f"x\t{' '.join(row)}\n" for row in rows).rstrip("\n"),
    }
    for name, text in given.items():
        data = gzip.compress(text.encode()) if packed == ".GZ" else _packed(name + packed, text.encode())
        (source / (name + packed)).write_bytes(data)
    manifest = _tag(tmp_path / "in", tmp_path / "out")
    assert manifest["totals"] == {
        "parts": 6, "rows": 6 * len(rows), "rejected": 0, "tokens": 6 * sum(map(len, rows))
    }  # fmt: skip
    out = {}
    for name in given:
        path = tmp_path / "out/deep" / (name + packed)
        out[name] = (gzip.decompress(path.read_bytes()) if packed == ".GZ" else _unpacked(path)).decode()
    assert out["j.jsonl"] == "".join(
        f'{{"n" :1e2,"tokens":{json.dumps(row)}, "tags": {json.dumps(t)}}}\r\n'
        for row, t in zip(rows, tags, strict=True)
    )
    words = [tag for row in tags for tag in row]
    lines = out["c.conllu"].split("\n")
    assert [line.split("\t")[3] for line in lines if line[:1].isdigit()] == words
    emptied = ["\t".join([*line.split("\t")[:3], "_", *line.split("\t")[4:]]) if line[:1].isdigit() else line
               for line in lines]  # fmt: skip
    assert "\n".join(emptied) == given["c.conllu"]
    assert [line.split(" ")[2] for line in out["w.conll"].split("\n") if line.strip()] == words
    assert out["t.txt"] == "".join(
        "".join(f"{a}\t{b}\n" for a, b in zip(row, t, strict=True)) + "\n" for row, t in zip(rows, tags, strict=True)
    )
    found = list(csv.reader(io.StringIO(out["v.csv"].removeprefix("\ufeff"), newline="")))
    assert found[0] == ["tokens", "id", "tags"]
    assert [(a, b, json.loads(c)) for a, b, c in found[1:]] == [
        (" ".join(row), 'a\n"b', t) for row, t in zip(rows, tags, strict=True)
    ]
    found = list(csv.reader(io.StringIO(out["v.tsv"]), delimiter="\t"))
    assert [json.loads(row[2]) for row in found[1:]] == tags


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=6), max_size=3),
            st.lists(st.text(max_size=5), max_size=4) | st.none(),
            st.text(max_size=12),
        ),
        max_size=6,
    ),
    st.booleans(),
)
@settings(max_examples=40)
def test_random_objects_come_back_with_tags(subword, given, escaped):
    values = [
        {k: v for k, v in more.items() if k not in ("tokens", "text", "tags")}
        | ({"text": text} if tokens is None else {"tokens": tokens})
        for more, tokens, text in given
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_text("".join(json.dumps(v, ensure_ascii=escaped) + "\n" for v in values), "utf-8", newline="")
        _tag(path, Path(folder, "out"), model=SUBWORD)
        found = [json.loads(line) for line in Path(folder, "out/a.jsonl").read_text("utf-8").split("\n")[:-1]]
    tokens = [v["tokens"] if "tokens" in v else subword.metadata.tokenizer.tokens(v["text"]) for v in values]
    expected = _tags(subword, tokens)
    assert found == [v | {"tags": e, "tokens": t} for v, e, t in zip(values, expected, tokens, strict=True)]


@given(
    st.lists(st.tuples(st.text(max_size=8), st.lists(st.text(max_size=5), max_size=4)), max_size=6),
    st.sampled_from(",\t"),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=40)
def test_random_cells_come_back_with_tags(subword, given, delimiter, end):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["other", "tokens"], *([cell, json.dumps(row)] for cell, row in given)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv" if delimiter == "," else "a.tsv")
        path.write_bytes(text.getvalue().encode())
        _tag(path, Path(folder, "out"), model=SUBWORD)
        found = Path(folder, "out", path.name).read_bytes().decode()
    rows = list(csv.reader(io.StringIO(found, newline=""), delimiter=delimiter))[1:]
    expected = _tags(subword, [row for _, row in given])
    assert [(a, json.loads(b), json.loads(c)) for a, b, c in rows] == [
        (cell, row, t) for (cell, row), t in zip(given, expected, strict=True)
    ]


@pytest.mark.parametrize("how", ["rules", "segmenter"])
def test_sentences_in_text_are_tagged_each_alone(small, tmp_path, how):
    texts = ["The cat ate. Ann saw it! Did you?", "", "One more line"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    chosen = {"segmenter": SEGMENTER} if how == "segmenter" else {"sentences": "rules"}
    for name in ("a.jsonl", "a.parquet"):
        _tag(tmp_path / name, tmp_path / "out", **chosen) if name == "a.jsonl" else _tag(
            tmp_path / name, tmp_path / "out2", **chosen
        )
    found = [json.loads(line) for line in (tmp_path / "out/a.jsonl").read_text().splitlines()]
    assert pq.read_table(tmp_path / "out2/a.parquet").to_pylist() == found
    assert len(found[0]["sentence_lengths"]) == 3
    for row in found:
        assert sum(row["sentence_lengths"]) == len(row["tokens"]) == len(row["tags"])
        start = 0
        for length in row["sentence_lengths"]:
            alone = small.predict(row["tokens"][start : start + length])
            assert row["tags"][start : start + length] == list(alone.tags)
            start += length
    if how == "segmenter":
        alone = [[list(s.tokens) for s in Segmenter.load(SEGMENTER).segment(text)] for text in texts]
        assert [row["tokens"] for row in found] == [
            [token for tokens in sentences for token in tokens] for sentences in alone
        ]


def test_file_to_file_folder_and_pattern(tmp_path):
    (tmp_path / "in/b").mkdir(parents=True)
    for name in ("in/a.txt", "in/b/c.txt", "in/_no.txt", "in/b/.no.txt"):
        (tmp_path / name).write_text("the cat\n")
    assert _tag(tmp_path / "in/a.txt", tmp_path / "one.txt.gz")["outputs"] == ["one.txt.gz"]
    assert gzip.decompress((tmp_path / "one.txt.gz").read_bytes()) == b"the\tDET\ncat\tNOUN\n\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "one.txt.gz", "one.txt.gz.manifest.json"]
    assert _tag(tmp_path / "in", tmp_path / "all")["outputs"] == ["a.txt", "b/c.txt"]
    assert _tag(tmp_path / "in/**/*.txt", tmp_path / "found")["outputs"] == ["a.txt", "b/c.txt"]
    with pytest.raises(OutputError, match="another kind"):
        _tag(tmp_path / "in/a.txt", tmp_path / "one.parquet")


@pytest.mark.parametrize("taken", ["tags", "scores", "sentence_lengths", "tokens"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_new_column_never_stands_beside_one_of_its_name(tmp_path, name, taken):
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"text": ["a"], taken: ["b"]}), path)
    else:
        path.write_text(f'{{"text": "a", "{taken}": "b"}}\n' if name == "a.jsonl" else f"text,{taken}\na,b\n")
    with pytest.raises(InputError, match=f"a column {taken}"):
        _tag(path, tmp_path / "out", Columns("text"), scores=True, sentences="rules")
    if taken != "tags":
        with pytest.raises(InputError, match="cannot be named"):
            Columns("text", taken)

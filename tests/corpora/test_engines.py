"""docs/engines.md, block by block, in each engine that is installed: the answers are the predictor's."""

import copy
import multiprocessing
import os
import pickle
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from model_files import SUBWORD

from lstm_deploy import Predictor
from lstm_deploy.corpora import functions
from lstm_deploy.corpora.functions import ColumnTagger
from lstm_deploy.errors import InputError, ModelFileError
from lstm_deploy.models import find_model

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
ROWS = [["They", "ate", "the", "fish", "."], None, [], ["Oslo"]]


def _block(heading):
    section = PAGE.partition(f"## {heading}\n")[2] if heading else PAGE
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture(scope="module")
def tagger():
    names = {}
    exec(_block(""), names)
    return names["tagger"]


@pytest.fixture(scope="module")
def expected(tagger):
    plain = Predictor.load(find_model("en-upos"))
    return [None if row is None else list(plain.predict(row).tags) for row in ROWS]


def _run(heading, **names):
    exec(_block(heading), names)
    return names


def test_every_block_of_the_page_is_run():
    assert re.findall(r"^## (.*)", PAGE, re.MULTILINE) == ["pandas", "Polars", "DuckDB", "Spark", "Ray Data"]
    assert PAGE.count("```python") == 7


def test_text(tagger):
    block = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    names = {"tagger": tagger}
    exec(block, names)
    assert names["tokens"] == [["They", "ate", "the", "fish", "."], None]
    assert names["tags"] == [["PRON", "VERB", "DET", "NOUN", "PUNCT"], None]


def test_pandas(tagger, expected):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"tokens": ROWS}, index=[7, 3, 5, 1])
    assert _run("pandas", tagger=tagger, frame=frame)["frame"]["tags"].tolist() == expected
    arrays = pd.Series([None if row is None else np.array(row, object) for row in ROWS], name="x")
    assert tagger(arrays).tolist() == expected
    arrow = pd.Series(ROWS, dtype=pd.ArrowDtype(pa.list_(pa.string())), index=[2, 9, 4, 8], name="x")
    found = tagger(arrow)
    assert found.array._pa_array.to_pylist() == expected
    assert (found.index.tolist(), found.name) == ([2, 9, 4, 8], "x")
    assert tagger.tokenize(pd.Series(["Oslo sat.", None])).tolist() == [["Oslo", "sat", "."], None]
    assert tagger.add(frame[["tokens"]], tags="upos")["upos"].tolist() == expected


def test_polars(tagger, expected):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"tokens": ROWS})
    found = _run("Polars", tagger=tagger, frame=frame, pl=pl)["frame"]
    assert found["tags"].to_list() == expected
    assert tagger.add(frame.lazy().collect())["tags"].to_list() == expected
    assert tagger.tokenize(pl.Series("t", ["Oslo", None])).to_list() == [["Oslo"], None]


def test_duckdb(tagger, expected):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect(config={"threads": 2})
    sentences = pa.table({"tokens": pa.array(ROWS * 2000)})
    connection.register("sentences", sentences)
    rows = _run("DuckDB", tagger=tagger, connection=connection)["rows"]
    assert sorted(map(repr, rows)) == sorted(map(repr, zip(ROWS * 2000, expected * 2000, strict=True)))


def test_spark(tagger, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # else the first python3 of PATH
    pytest.importorskip("pyspark")
    pytest.importorskip("pandas")
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    if not shutil.which("java") and "JAVA_HOME" not in os.environ:
        pytest.skip("no Java here, which Spark needs")
    try:
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.memory", "512m").config("spark.sql.warehouse.dir", str(tmp_path))
        spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    except PySparkException as e:
        pytest.skip(f"Spark does not start: {e!r:.100}")
    try:
        frame = spark.createDataFrame([(row,) for row in ROWS], "tokens array<string>")
        names = _run("Spark", tagger=tagger, frame=frame)
        found = [names["tagged"], frame.mapInArrow(tagger.add_each, names["schema"])]
        for tagged in found:
            rows = sorted(repr((row.tokens, row.tags)) for row in tagged.collect())
            assert rows == sorted(map(repr, zip(ROWS, expected, strict=True)))
    finally:
        spark.stop()


def test_ray(tagger, expected):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    try:
        dataset = ray.data.from_arrow(pa.table({"tokens": pa.array(ROWS)}))
        tagged = _run("Ray Data", tagger=tagger, dataset=dataset)["tagged"].take_all()
        found = [(list(row["tokens"]) if row["tokens"] is not None else None, row["tags"]) for row in tagged]
        found = [(tokens, None if tags is None else list(tags)) for tokens, tags in found]
        assert sorted(map(repr, found)) == sorted(map(repr, zip(ROWS, expected, strict=True)))
    finally:
        ray.shutdown()


def test_arrow_comes_back_as_it_was_given(tagger, expected):
    array = pa.array(ROWS)
    assert isinstance(tagger(array), pa.ListArray)
    assert isinstance(tagger(pa.chunked_array([array, array])), pa.ChunkedArray)
    assert tagger.add(pa.table({"tokens": array}))["tags"].to_pylist() == expected
    assert tagger.add(pa.record_batch({"w": array}), "w", "t")["t"].to_pylist() == expected
    assert tagger.tokenize(pa.chunked_array([["Oslo"], [None]], pa.string())).to_pylist() == [["Oslo"], None]
    assert tagger([]) == []


def test_text_and_other_things_are_refused_with_a_cure(tagger):
    with pytest.raises(TypeError, match=r"one of text \(string\).*ColumnTagger\.tokenize"):
        tagger(pa.array(["They ate"]))
    with pytest.raises(TypeError, match="got str"):
        tagger("They ate")
    with pytest.raises(TypeError, match="a column of text, got list<"):
        tagger.tokenize([["They"]])
    with pytest.raises(TypeError, match="Arrow cannot take"):
        tagger([["They"], [3]])
    with pytest.raises(InputError, match="row 1: a null token"):
        tagger([["They"], [None]])
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(InputError, match="row 0: text that is not valid"):
        tagger.tokenize(broken)
    with pytest.raises(ModelFileError, match="no model of that name"):
        ColumnTagger("en-none")


def test_pickled_by_absolute_path_and_opened_when_first_used(monkeypatch, tmp_path):
    monkeypatch.chdir(SUBWORD.parent)
    tagger = ColumnTagger(SUBWORD.name, threads=1, batch_tokens=333)
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(tagger)
    assert len(data) < 1000
    assert tagger._settings not in functions._predictors
    other = pickle.loads(data)
    assert other.path.is_absolute()
    assert other.predictor is tagger.predictor is copy.deepcopy(tagger).predictor
    assert other.predictor.batch_tokens == 333


def test_many_threads_open_one_model(monkeypatch):
    loaded, load, ready = [], Predictor.load, threading.Barrier(4)
    monkeypatch.setattr(Predictor, "load", lambda *a, **k: loaded.append(a) or load(*a, **k))
    tagger = ColumnTagger(SUBWORD, batch_tokens=334)

    def use(_):
        ready.wait(20)
        return tagger([["the", "cat"]])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(use, range(4)))
    assert answers[1:] == answers[:-1]
    assert len(loaded) == 1


def _child(tagger, rows, queue):
    queue.put((os.getpid(), tagger(rows)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    rows = [["the", "cat"] * 300, None, []]
    tagger = ColumnTagger(SUBWORD, threads=2, batch_tokens=100)
    expected = tagger(rows)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=_child, args=(tagger, rows, queue))
    process.start()
    pid, found = queue.get()
    process.join(60)
    assert pid != os.getpid()
    assert found == expected

"""Ray, really started, two nodes: the same bytes as on one machine, whatever is killed on the way."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_deploy import errors
from lstm_deploy.corpora import ray_engine as module
from lstm_deploy.corpora.job import tag_corpus
from lstm_deploy.corpora.manifest import versions
from lstm_deploy.corpora.parts import find_parts
from lstm_deploy.corpora.processes import Task
from lstm_deploy.corpora.ray_engine import ray_engine
from lstm_deploy.corpora.tagging import Record, Tagging

ray = pytest.importorskip("ray", reason="needs ray[data]")
pytest.importorskip("ray.data", reason="needs ray[data]")
ROOT = Path(__file__).parents[2]
TAGGING = Tagging(ROOT / "exported" / "en-upos-small.onnx")
if not TAGGING.model.exists():
    pytest.skip("needs exported/en-upos-small.onnx", allow_module_level=True)
PARTS, ROWS = 16, 12_000
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(PARTS):
        (folder / f"{i % 2}").mkdir(exist_ok=True)
        rows = [["The", "dog", "ate", "fish", "number", str(i)], ["Stop", "."]] * (ROWS // 2 + i)
        pq.write_table(pa.table({"tokens": rows}), folder / f"{i % 2}" / f"{i:02}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("local") / "out"
    tag_corpus(str(corpus), output, TAGGING, processes=1)
    return _contents(output)


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _disturbed(engine, disturb, after=2):
    """The engine, with something done once ``after`` parts have ended; counts what comes."""
    seen = []

    def run(*args):
        outcomes = engine(*args)
        try:
            for task, outcome in outcomes:
                seen.append(task.part.name)
                if len(seen) == after:
                    disturb()
                yield task, outcome
        finally:
            outcomes.close()

    run.seen = seen
    return run


def _actors(node):
    """Processes of actors on a node: children of its raylet."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and b"ray::MapWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def test_same_bytes_as_on_one_machine_and_nothing_is_said(cluster, corpus, expected, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = Path("out")  # actors work in another folder
    manifest = tag_corpus(str(corpus), output, TAGGING, engine=ray_engine(2, None, cluster.address))
    assert _contents(output) == expected
    assert manifest["totals"]["rows"] == sum(ROWS + 2 * i for i in range(PARTS))
    assert capfd.readouterr() == ("", "")
    assert not ray.is_initialized()


def test_a_killed_worker_process(cluster, corpus, expected, tmp_path):
    killed = []

    def kill():
        killed.extend(pid for node in cluster.list_all_nodes() for pid in _actors(node))
        os.kill(killed[0], signal.SIGKILL)

    engine = _disturbed(ray_engine(2, None, cluster.address), kill)
    tag_corpus(str(corpus), tmp_path / "out", TAGGING, engine=engine)
    assert killed
    assert sorted(engine.seen) == sorted(name for name in expected if name.endswith(".parquet"))
    assert _contents(tmp_path / "out") == expected


def test_a_driver_that_was_killed_goes_on(cluster, corpus, expected, tmp_path):
    output = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path\n"
        "from lstm_deploy.corpora.job import tag_corpus\n"
        "from lstm_deploy.corpora.ray_engine import ray_engine\n"
        "from lstm_deploy.corpora.tagging import Tagging\n"
        "if __name__ == '__main__':\n"
        "    model, source, output, address = sys.argv[1:]\n"
        "    tag_corpus(source, Path(output), Tagging(Path(model)), engine=ray_engine(2, None, address))\n"
    )
    command = [sys.executable, "-c", code, str(TAGGING.model), str(corpus), str(output), cluster.address]
    driver = subprocess.Popen(command)
    progress = output / "_progress.jsonl"
    deadline = time.monotonic() + 150
    while not (progress.exists() and progress.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    done = progress.read_bytes().count(b"\n")
    assert 3 <= done < PARTS
    engine = _disturbed(ray_engine(2, None, cluster.address), lambda: None)
    tag_corpus(str(corpus), output, TAGGING, engine=engine)
    assert len(engine.seen) == PARTS - done
    assert _contents(output) == expected


def test_errors_are_those_of_one_machine(cluster, corpus, tmp_path):
    """A damaged part, and a row that cannot be tagged: type, text, manifest, rejects."""
    source = tmp_path / "in"
    source.mkdir()
    whole = next(corpus.glob("0/*.parquet")).read_bytes()
    (source / "damaged.parquet").write_bytes(whole[: len(whole) // 2])
    (source / "good.jsonl").write_text('{"tokens": ["A", "dog"]}\n')
    (source / "row.jsonl").write_text('{"tokens": ["A", "dog"]}\n{"tokens": 3}\n')

    def run(name, engine, **settings):
        with pytest.raises(errors.LstmDeployError) as failure:
            tag_corpus(str(source), tmp_path / name, replace(TAGGING, **settings), engine=engine)
        found = _contents(tmp_path / name)
        return type(failure.value), str(failure.value), found

    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        for on_error in ("skip", "null"):
            here = run(f"here-{on_error}", None, on_error=on_error)
            there = run(f"there-{on_error}", ray_engine(2), on_error=on_error)
            assert there == here
            assert (
                there[0] is errors.InputError
                and "damaged.parquet" in there[1]
                and "_rejects/row.jsonl.jsonl" in there[2]
            )
        (source / "damaged.parquet").unlink()
        here, there = run("here", None), run("there", ray_engine(1))
        assert there[:2] == here[:2] and "row.jsonl:2" in there[1]
        segmenter = ROOT / "exported" / "en-segmenter.onnx"
        assert run("no", ray_engine(1), model=segmenter)[:2] == run("no-here", None, model=segmenter)[:2]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_a_lost_node(cluster, corpus, expected, tmp_path):
    lost = cluster.add_node(**NODE)
    engine = _disturbed(
        ray_engine(3, None, cluster.address), lambda: cluster.remove_node(lost, allow_graceful=False), after=4
    )
    tag_corpus(str(corpus), tmp_path / "out", TAGGING, engine=engine)
    assert sorted(engine.seen) == sorted(name for name in expected if name.endswith(".parquet"))
    assert _contents(tmp_path / "out") == expected


@pytest.fixture
def actor(corpus, tmp_path, monkeypatch):
    """Makes an actor and asks it, in this process."""
    monkeypatch.setattr(ray, "get", lambda given: given)
    marker = tmp_path / ".lstm-deploy-1.partial"
    marker.touch()

    def ask(source=corpus, tally=b"", **changes):
        job = module._Job(TAGGING, [TAGGING.model.read_bytes()], Path.cwd(), marker, versions())
        part = replace(find_parts(str(corpus), None, ())[0], **changes.pop("part", {}))
        module._tally(marker, 0).write_bytes(tally)
        task = Task(part, tmp_path / part.name, tmp_path / "rejects")
        batch = pa.table({"index": [0], "task": [pickle.dumps(task)]})
        return pickle.loads(module._Actor(replace(job, **changes))(batch)["outcome"][0].as_py())

    return ask


def test_what_an_actor_refuses(actor, tmp_path):
    assert isinstance(actor(), Record)
    assert isinstance(actor(tally=b".."), Record)
    for outcome, words in [
        (actor(tally=b"..."), "died 3 times"),
        (actor(part={"path": tmp_path / "nowhere"}), "same paths"),
        (actor(marker=tmp_path / ".lstm-deploy-2.partial"), "same paths"),
        (actor(versions={**versions(), "numpy": "0"}), "has numpy"),
    ]:
        assert isinstance(outcome, errors.WorkerError) and words in str(outcome)


def test_what_is_refused_before(monkeypatch, tmp_path):
    for given in [(0, None), (2, 0), (3, 2), (1, 2)]:
        with pytest.raises(ValueError):
            ray_engine(*given)
    part = tmp_path / "a.jsonl"
    part.write_text(json.dumps({"tokens": ["a"]}) + "\n")
    with pytest.raises(errors.ProviderError, match="--provider cuda"):
        tag_corpus(str(part), tmp_path / "out", TAGGING, engine=ray_engine(gpus=1))
    with pytest.raises(errors.WorkerError, match="no Ray cluster"):
        tag_corpus(str(part), tmp_path / "out", TAGGING, engine=ray_engine(address="127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.MissingDependencyError, match=r"lstm-deploy\[ray\]"):
        ray_engine()


def test_places(monkeypatch):
    class Pretended:
        @staticmethod
        def cluster_resources():
            return {"CPU": 10.0, "GPU": 2.0}

        @staticmethod
        def nodes():
            big, small = {"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0}
            return [{"Alive": True, "Resources": r} for r in (big, small)] + [{"Alive": False, "Resources": big}]

    assert module._places(Pretended, {"num_cpus": 1}) == 10
    assert module._places(Pretended, {"num_cpus": 4}) == 2
    assert module._places(Pretended, {"num_cpus": 1, "num_gpus": 1}) == 2
    with pytest.raises(errors.WorkerError, match="--num-actors"):
        module._places(Pretended, {"num_cpus": 16})
    assert module._need(replace(TAGGING, provider="cuda"), 4, 2) == {"num_cpus": 1, "num_gpus": 0.5}

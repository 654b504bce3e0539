"""The benchmark's parts do what they say, and the README quotes the result that is committed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_deploy.errors import InputError

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
SENTENCES = [["They", "ate", "the", "fish"], ["fish"], ["the", "fish", "ate"]] * 20


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("report", BENCHMARKS / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def result():
    return json.loads((BENCHMARKS / "results" / "bench.json").read_text(encoding="utf-8"))


def test_table_and_readme_are_those_of_the_committed_result(report, result):
    assert (BENCHMARKS / "results" / "bench.md").read_text(encoding="utf-8") == report.table(result) + "\n"
    assert report.summary(result) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ratios_are_of_medians_against_the_best_arrangement(report, result):
    rate = {name: v["median"] for name, v in result["tokens_per_second"].items()}
    got = {row["figure"]: row["got"] for row in report.ratios(result)}
    rivals = [v for name, v in rate.items() if name.startswith("PyTorch")]
    assert len(rivals) == 5
    assert got["words to tags, int8 / PyTorch's best"] == pytest.approx(rate["lstm-deploy int8"] / max(rivals))
    fastest = min(v["p50"] for name, v in result["latency"].items() if name.startswith("PyTorch"))
    one = result["latency"]["lstm-deploy int8"]["p50"]
    assert got["one 20-word sentence, p50, PyTorch / int8"] == pytest.approx(fastest / one)
    assert result["ratios"] == json.loads(json.dumps(report.ratios(result)))


def test_absent_contenders_are_told_not_invented(report, result):
    without = json.loads(json.dumps(result))
    for key in ("tokens_per_second", "latency"):
        without[key] = {name: v for name, v in without[key].items() if not name.startswith("spaCy")}
    got = {row["figure"]: row["got"] for row in report.ratios(without)}
    assert got["words to tags, int8 / spaCy"] is None
    without |= {"absent": ["spaCy: run `make bench-peers`"], "ratios": report.ratios(without)}
    assert "| words to tags, int8 / spaCy | not measured |" in report.table(without)


def _talk(command, *messages):
    text = "".join(json.dumps(message) + "\n" for message in messages)
    done = subprocess.run(
        command, cwd=BENCHMARKS / "contenders", input=text, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    ready, *replies = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert len(replies) == len(messages)
    return replies


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "sentences.jsonl"
    path.write_text("".join(json.dumps(s) + "\n" for s in SENTENCES))
    return str(path)


def test_the_predictor_as_a_contender(sentences):
    model = str(ROOT / "exported" / "tutorial.onnx")
    loaded, tagged, answers, one, bare, calls, stream, budgets = _talk(
        [sys.executable, "predictor.py", model, "2"],
        {"do": "load", "sentences": sentences, "start": 1, "step": 2},
        {"do": "tag"},
        {"do": "answers"},
        {"do": "one_by_one", "sentences": sentences},
        {"do": "bare", "sentences": sentences},
        {"do": "callers", "sentences": sentences, "count": 3, "duration": 0.1},
        {"do": "stream", "sentences": sentences, "tokens": 1000},
        {"do": "batches", "sentences": sentences, "budgets": [16, 64]},
    )
    assert loaded["sentences"] == 30
    assert [len(tags) for tags in answers["tags"]] == [len(s) for s in SENTENCES[1::2]]
    assert answers["tags"][0] == ["NN"]
    assert len(one["seconds"]) == 60
    assert min(tagged["seconds"], bare["seconds"], *one["seconds"], *budgets["seconds"]) > 0
    assert calls["tokens_per_second"] > 0
    assert 1000 <= stream["tokens"] < 1004


@pytest.mark.parametrize("arrangement", ["packed", "bucketed"])
def test_pytorch_as_a_contender_gives_the_same_tags(tmp_path, sentences, arrangement):
    pytest.importorskip("torch")
    main = "from lstm_deploy.cli import main; main()"
    command = [sys.executable, "-c", main, "train", "--output", str(tmp_path / "checkpoint")]
    subprocess.run(command, check=True, capture_output=True)
    command = [sys.executable, "-c", main, "export", str(tmp_path / "checkpoint"), "--output", str(tmp_path / "m.onnx")]
    subprocess.run(command, check=True, capture_output=True)
    ask = [{"do": "load", "sentences": sentences}, {"do": "tag"}, {"do": "answers"}]
    torch = _talk([sys.executable, "pytorch.py", str(tmp_path / "checkpoint"), "1", arrangement, "4"], *ask)
    ours = _talk([sys.executable, "predictor.py", str(tmp_path / "m.onnx"), "1"], *ask)
    assert torch[2] == ours[2]


RUNTIMES = json.loads((BENCHMARKS / "results" / "runtimes.json").read_text())


def test_what_files_claim_is_what_was_measured():
    assert len(RUNTIMES["files"]) >= 7
    for file in RUNTIMES["files"]:
        for runtime in file["runtimes"]:
            statuses = {case["status"] for case in runtime["cases"].values()}
            assert not runtime["claimed"] or statuses == {"equal"}, (file["title"], runtime["name"])
    portable = next(file for file in RUNTIMES["files"] if "--target portable" in file["title"])
    tried = {runtime["name"] for runtime in portable["runtimes"] if runtime["cases"]}
    assert {"onnxruntime", "openvino", "tract", "onnxruntime-node", "chromium-wasm", "chromium-wasm-threads"} <= tried
    assert portable["cases"]["corpus"] == 25_094
    assert portable["oracle"] == "PyTorch on single sentences"


def test_the_page_of_runtimes_is_the_one_that_was_measured():
    text = (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")
    assert f"On {RUNTIMES['date']}." in text
    for file in RUNTIMES["files"]:
        assert f"### {file['title']}\n" in text
        for runtime in file["runtimes"]:
            row = f"| {runtime['name']} | {runtime['version']} | {'yes' if runtime['claimed'] else 'no'} |"
            assert bool(runtime["cases"]) == (row in text)


def test_the_claims_of_each_target_were_measured():
    from lstm_deploy.export.targets import TARGETS

    for target, choice in TARGETS.items():
        file = next(f for f in RUNTIMES["files"] if f["title"].endswith(f"--target {target}`"))
        assert (file["graph_form"], tuple(file["claims"])) == (choice.form, choice.runtimes)


def test_the_javascript_table_is_that_of_its_figures():
    figures = json.loads((BENCHMARKS / "results" / "javascript.json").read_text())
    module = _benchmark("javascript")
    assert (BENCHMARKS / "results" / "javascript.md").read_text(encoding="utf-8") == module.table(figures)


def _benchmark(name):
    spec = importlib.util.spec_from_file_location(f"{name}_bench", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_runtimes_quotes_the_speeds_that_were_measured():
    module = _benchmark("runtimes")
    rows = [line for line in module.TEMPLATE.read_text(encoding="utf-8").splitlines() if "_alone}" in line]
    assert len(rows) == 2
    for row in rows:
        filled = module.with_speeds(row)
        assert "{" not in filled
        assert filled in (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")


def test_the_readme_quotes_the_javascript_figures():
    figures = json.loads((BENCHMARKS / "results" / "javascript.json").read_text())["models"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert figures
    for found in figures.values():
        ratio = found["chromium"]["threads_1"]["one_sentence_ms"] / found["python"]["one_sentence_ms"]
        assert f"takes {ratio:.1f} times" in readme
        assert 0.4 < found["chromium"]["threads_1"]["first_tags_ms"] / 1000 < 0.6  # "half a second"


def test_the_page_on_mutants_quotes_the_result_and_it_is_of_this_many_modules():
    result = json.loads((BENCHMARKS / "results" / "mutants.json").read_text(encoding="utf-8"))
    page = " ".join((ROOT / "docs" / "mutation.md").read_text(encoding="utf-8").split())
    noticed = result["killed"] + result["timeout"]
    assert f"On {result['date']} {result['sample']:,} of {result['mutants_of_all']:,} mutants were drawn" in page
    assert f"{noticed:,} were noticed, {result['survived']:,} survived" in page
    assert f"The score is {result['score']:.1%}" in page
    assert result["score"] == pytest.approx(noticed / (result["sample"] - result["equivalent"]), abs=1e-4)
    assert result["score"] >= 0.85
    assert result["sample"] >= 500
    assert result["sample"] == noticed + result["survived"] + result["equivalent"]
    assert all(f"`{Path(file).stem}`" in page for file in result["modules"])
    assert len(result["modules"]) == 17


def test_other_genres_are_scored_and_missing_peers_are_told(tmp_path):
    gold = tmp_path / "gold.conllu"
    words = [("They", "NN"), ("ate", "V"), ("the", "NN")]
    gold.write_text("".join(f"{i}\t{w}\t_\t{t}" + "\t_" * 6 + "\n" for i, (w, t) in enumerate(words, 1)) + "\n")
    script, model = BENCHMARKS / "genres.py", ROOT / "exported" / "tutorial.onnx"
    output = tmp_path / "genres.json"
    options = ["--name", "Zoo 1", "--models", str(model), "--output", str(output)]
    command = [sys.executable, str(script), str(gold), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "tutorial: 66.67 % of 3 words" in done.stdout
    found = json.loads(output.read_text())
    assert found["model"] == "tutorial"
    assert found["accuracy"] == {"tutorial": pytest.approx(2 / 3)}
    assert [line.partition(":")[0] for line in found["absent"]] == ["spaCy", "UDPipe 1"]


def test_released_models_race_on_the_same_words_and_missing_peers_are_told(tmp_path):
    gold = tmp_path / "gold.conllu"
    sentence = "".join(f"{i}\tthe\t_\tNN" + "\t_" * 6 + "\n" for i in range(1, 21)) + "\n"
    gold.write_text(sentence * 40)
    output = tmp_path / "speed.json"
    models = [str(ROOT / "exported" / "tutorial.onnx"), str(ROOT / "tests" / "runtime" / "data" / "subword.onnx")]
    options = ["--models", *models, "--rounds", "2", "--output", str(output)]
    command = [sys.executable, str(BENCHMARKS / "released.py"), str(gold), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(output.read_text())
    assert list(found["models"]) == ["tutorial", "subword"]
    for name, figure in found["models"].items():
        assert figure["tokens_per_second"] > 1000
        assert 0 < figure["single_seconds"] < 1
        assert f"{name}: {figure['tokens_per_second']:,.0f} tokens/s" in done.stdout
    assert found["peers"] == {}
    assert [line.partition(":")[0] for line in found["absent"]] == ["spaCy", "UDPipe 1"]


def test_a_race_without_a_sentence_to_tag_alone_is_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = _benchmark("released")
    for sentences in ([], [["fish"]]):
        with pytest.raises(InputError, match=f"{len(sentences)} sentences, none of 20 words; expected at least one"):
            module.race([], tmp_path, tmp_path, sentences, 1)


def test_a_contender_is_ended_where_scoring_it_fails(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = _benchmark("genres")
    closed = []

    class Broken:
        def __init__(self, contender):
            pass

        def load(self, path):
            raise SystemExit("gone")

        def close(self):
            closed.append(self)

    monkeypatch.setattr(module, "Running", Broken)
    with pytest.raises(SystemExit):
        module.accuracies([object()], [module.Sentence(["a"], ["X"])])
    assert len(closed) == 1

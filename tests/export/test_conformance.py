"""The suite that runs a file in every runtime: what is right passes, what is wrong, refuses or dies is told as such."""

import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lstm_deploy.cli import main
from lstm_deploy.conformance import suite
from lstm_deploy.conformance.cases import cases_of
from lstm_deploy.conformance.exchange import AnswerWriter, read_answers, read_batches, write_batches
from lstm_deploy.conformance.report import describe, table
from lstm_deploy.conformance.runtimes import RUNTIMES, Runtime, covered_by
from lstm_deploy.conformance.suite import conformance
from lstm_deploy.errors import InputError, MissingDependencyError
from lstm_deploy.export.exporter import export_checkpoint, export_model
from lstm_deploy.session import TaggerSession

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "runtime" / "data"
NPM = ROOT / "clients" / "javascript" / "node_modules"
SUBWORD = DATA / "subword.onnx"  # two bidirectional layers, words and features


@pytest.fixture(scope="module")
def given_lengths(make_tagger, tmp_path_factory):
    """A file whose operators are given lengths, and whose two best tags are far apart."""
    path = tmp_path_factory.mktemp("files") / "lengths.onnx"
    export_model(*make_tagger(seed=3, scale=3.0, layers=2), path, target="onnxruntime")
    return path


def _present(name):
    try:
        RUNTIMES[name].find(NPM if NPM.is_dir() else None)
    except MissingDependencyError as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name not in ("tract", "onnxruntime-cuda")])
@pytest.mark.parametrize("model", ["subword", "characters"])
def test_a_portable_file_is_right_in_every_runtime(name, model):
    _present(name)
    result = conformance(DATA / f"{model}.onnx", runtimes=[name], npm=NPM).runtimes[0]
    assert result.equal, {case: found for case, found in result.cases.items() if found.status != "equal"}


@pytest.mark.parametrize("name", ["openvino", "onnxruntime-node", "chromium-wasm"])
def test_a_crf_is_decoded_alike(name):
    _present(name)
    result = conformance(DATA / "characters-crf.onnx", runtimes=[name], npm=NPM).runtimes[0]
    assert result.equal, {case: found for case, found in result.cases.items() if found.status != "equal"}


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-node", "onnxruntime-web-node", "chromium-wasm-threads"])
def test_int8_is_within_its_tolerance(name):
    _present(name)
    assert conformance(DATA / "subword-int8.onnx", runtimes=[name], npm=NPM).runtimes[0].equal


@pytest.mark.parametrize("settings", [{}, {"layers": 2}, {"subwords": False}, {"bidirectional": False}], ids=str)
def test_tract_is_right_on_the_files_for_it(make_tagger, tmp_path, settings):
    _present("tract")
    export_model(*make_tagger(**settings), tmp_path / "m.onnx", target="tract")
    found = conformance(tmp_path / "m.onnx", runtimes=["tract", "openvino"]).runtimes
    assert found[0].equal, found
    assert all(result.equal or result.absent for result in found), found


def test_a_streaming_file_is_tried_on_whole_sentences():
    assert conformance(DATA / "streaming.onnx", runtimes=["onnxruntime"]).runtimes[0].equal


def test_a_runtime_that_ignores_lengths_is_caught(given_lengths):
    """onnx's reference evaluator gives no error on a ragged batch of a bidirectional model, only other tags."""
    matrix = conformance(given_lengths, runtimes=["onnx-reference"])
    result = matrix.runtimes[0]
    if result.equal:
        pytest.skip(f"onnx {onnx.__version__} has learnt sequence_lens")
    assert result.cases["one row"].status == "equal"  # nothing is padded there
    ragged = result.cases["ragged"]
    assert ragged.status == "wrong"
    assert ragged.max_difference > 0.01
    assert "scores outside the tolerance" in ragged.reason
    assert matrix.failures() == []  # the file does not claim it
    assert "onnx-reference: wrong on" in matrix.failures(["onnx-reference"])[0]


def test_the_command_fails_where_a_named_runtime_is_wrong(given_lengths):
    if conformance(given_lengths, runtimes=["onnx-reference"]).runtimes[0].equal:
        pytest.skip(f"onnx {onnx.__version__} has learnt sequence_lens")
    done = CliRunner().invoke(main, ["conformance", str(given_lengths), "--runtime", "onnx-reference"])
    assert done.exit_code == 1
    assert "onnx-reference: wrong on" in done.stderr
    assert "use another runtime" in done.stderr
    assert "not claimed" in done.stdout
    assert "right in 0 of the 0 runtimes tried that it claims, in 0 of 1 others" in done.stdout


def test_a_false_claim_fails_without_being_named(given_lengths, tmp_path):
    if not find_spec("openvino"):
        pytest.skip("openvino is not installed")
    model = onnx.load(given_lengths)
    for entry in model.metadata_props:
        if entry.key == "lstm_deploy.runtimes":
            entry.value = json.dumps([*json.loads(entry.value), "openvino"])
    onnx.save(model, tmp_path / "claims.onnx")
    npm = tmp_path / "node_modules"
    npm.mkdir()
    honest, lying = (
        CliRunner().invoke(main, ["conformance", str(path), "--npm", str(npm)])
        for path in (given_lengths, tmp_path / "claims.onnx")
    )
    assert honest.exit_code == 0, honest.output
    assert "openvino" in honest.stdout
    assert lying.exit_code == 1
    assert "openvino: wrong on" in lying.stderr


def _faulty(monkeypatch, body, find=lambda _: "1.0"):
    """A runtime named ``faulty``: onnxruntime in a process that runs ``body`` before each batch's answer ``found``."""
    program = f"""
import os, sys, time
from pathlib import Path
from lstm_deploy.conformance.exchange import AnswerWriter, read_batches
from lstm_deploy.conformance.runtimes import onnxruntime_cpu
folder, start = Path(sys.argv[1]), int(sys.argv[2])
model, outputs, batches = read_batches(folder)
run = onnxruntime_cpu.open_model(model, outputs)
writer = AnswerWriter(folder)
for number in range(start, len(batches)):
    found = run(batches[number])
    rows = len(batches[number]["lengths"])
    {body}
    writer.add(number, dict(zip(outputs, found)))
"""
    command = lambda _, folder, start: [sys.executable, "-c", program, str(folder), str(start)]  # noqa: E731
    runtimes = {**RUNTIMES, "faulty": Runtime("faulty", "onnxruntime", find, command)}
    monkeypatch.setattr(suite, "RUNTIMES", runtimes)
    return conformance(SUBWORD, runtimes=["faulty"])


@pytest.mark.parametrize(
    ("form", "precision", "name", "cure"),
    [
        ("sequence_lens", "fp32", "openvino", "export with --target portable"),
        ("reverse_sequence", "fp32", "tract", "export with --target tract"),
        ("scan_int8", "int8", "openvino", "export with --precision fp32"),
        ("sequence_lens", "fp32", "onnx-reference", "use another runtime"),
    ],
)
def test_the_cure_is_that_of_the_fault(form, precision, name, cure):
    results = {"one row": suite.CaseResult("equal", 0.0, 1.0), "ragged": suite.CaseResult("wrong", 1.0, 0.9, 0, "a")}
    results["long"] = suite.CaseResult("wrong", 1.0, 0.5, 0, "b")
    matrix = suite.Matrix("m", form, precision, (), 1e-5, "o", {}, (suite.RuntimeResult(name, "1", False, results),))
    assert matrix.failures([name]) == [f"{name}: wrong on long (b); {cure}"]  # the worst


def test_the_name_of_a_claim_stands_for_what_it_covers():
    assert covered_by("onnxruntime-web") == ["onnxruntime-web-node", "chromium-wasm", "chromium-wasm-threads"]
    assert covered_by("onnxruntime") == ["onnxruntime"]
    assert covered_by("nope") == []


def test_a_folder_of_packages_that_is_not_there_is_wrong_usage(tmp_path):
    done = CliRunner().invoke(main, ["conformance", str(SUBWORD), "--npm", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "no such folder" in done.stderr


def test_one_wrong_tag_is_enough(monkeypatch):
    matrix = _faulty(monkeypatch, "if rows == 64: found[0][5, 0] = (found[0][5, 0] + 1) % 5")
    cases = matrix.runtimes[0].cases
    assert cases["many rows"].status == "wrong"
    assert cases["many rows"].reason == "1 of 395 tags differ, 0 scores outside the tolerance"
    assert {case.status for name, case in cases.items() if name != "many rows"} == {"equal"}
    fault = "faulty: wrong on many rows (1 of 395 tags differ, 0 scores outside the tolerance)"
    assert matrix.failures() == [f"{fault}; use another runtime, and report this"]


def test_a_tag_at_padding_and_a_score_that_is_no_number_are_caught(monkeypatch):
    cases = _faulty(monkeypatch, "if rows == 64: found[0][:, -1] = 0").runtimes[0].cases
    assert cases["many rows"].status == "wrong"
    cases = _faulty(monkeypatch, "if rows == 64: found[1][:, 0, 0] = float('nan')").runtimes[0].cases
    assert cases["many rows"].status == "wrong"
    assert "64 scores outside" in cases["many rows"].reason


def test_a_score_that_is_no_number_is_null_in_json(monkeypatch):
    matrix = _faulty(monkeypatch, "if rows == 64: found[1][:, 0, 0] = float('nan')")
    assert matrix.runtimes[0].cases["many rows"].max_difference == np.inf
    text = json.dumps(matrix.to_json(), allow_nan=False)
    assert json.loads(text)["runtimes"][0]["cases"]["many rows"]["max_difference"] is None


@pytest.mark.parametrize("fault", ["found[0] = found[0].astype('int64')", "found = found[:1]"])
def test_another_type_or_number_of_outputs_is_wrong(monkeypatch, fault):
    cases = _faulty(monkeypatch, fault).runtimes[0].cases
    assert {case.status for case in cases.values()} == {"wrong"}
    assert "expected {'tag_ids': ('int32'" in cases["ragged"].reason


def test_half_a_line_is_no_answer(monkeypatch):
    half = """if rows == 64:
        open(sys.argv[1] + '/answers.jsonl', 'a').write('{"batch": 9, "outp')
        os._exit(9)"""
    cases = _faulty(monkeypatch, half).runtimes[0].cases
    assert cases["many rows"].status == "crashed"


def test_scores_of_another_shape_are_wrong(monkeypatch):
    cases = _faulty(monkeypatch, "found[1] = found[1][:, :, :-1]").runtimes[0].cases
    assert {case.status for case in cases.values()} == {"wrong"}
    assert "expected" in cases["ragged"].reason


def test_a_process_that_dies_loses_one_batch_and_goes_on(monkeypatch):
    cases = _faulty(monkeypatch, "if rows == 64: os.abort()").runtimes[0].cases
    assert cases["many rows"].status == "crashed"
    assert "signal 6" in cases["many rows"].reason
    assert {case.status for name, case in cases.items() if name != "many rows"} == {"equal"}


def test_a_process_that_always_dies_is_given_up(monkeypatch):
    matrix = _faulty(monkeypatch, "print('out of luck', file=sys.stderr, flush=True); os._exit(7)")
    cases = matrix.runtimes[0].cases
    assert {case.status for case in cases.values()} == {"crashed"}
    assert "exit code 7 out of luck" in cases["long"].reason


def test_a_process_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(suite, "_SECONDS", 3)
    monkeypatch.setattr(suite, "_MOST_CRASHES", 1)
    cases = _faulty(monkeypatch, "if rows == 64: time.sleep(60)").runtimes[0].cases
    assert cases["many rows"].status == "crashed"
    assert "no end after 3 seconds" in cases["many rows"].reason


def test_a_model_that_does_not_open_is_refused(monkeypatch):
    def absent(_):
        raise MissingDependencyError("faulty is not installed; run `pip install faulty`")

    matrix = _faulty(monkeypatch, "pass", absent)
    assert matrix.failures() == []
    assert matrix.failures(["faulty"]) == ["faulty: faulty is not installed; run `pip install faulty`"]
    assert "not tried: faulty: faulty is not installed" in describe(matrix)
    assert "faulty" not in table(matrix)


def test_what_a_runtime_refuses_is_said_once(given_lengths):
    if not find_spec("tract"):
        pytest.skip("tract is not installed")
    matrix = conformance(given_lengths, runtimes=["tract"])
    assert {case.status for case in matrix.runtimes[0].cases.values()} == {"refused"}
    assert describe(matrix).count("seq_len") == 1


@pytest.mark.parametrize("names", [["nope"], ["all", "nope"]])
def test_the_command_refuses_an_unknown_runtime(names):
    options = [part for name in names for part in ("--runtime", name)]
    done = CliRunner().invoke(main, ["conformance", str(SUBWORD), *options])
    assert done.exit_code == 2
    assert "no runtime 'nope'" in done.stderr


def test_a_corpus_without_sentences_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    command = ["conformance", str(SUBWORD), "--runtime", "onnxruntime", "--input", str(tmp_path / "empty.txt")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "no sentences" in done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_broken_package_or_browser_is_absent_in_one_line(tmp_path, monkeypatch):
    npm = tmp_path / "node_modules"
    (npm / "onnxruntime-node").mkdir(parents=True)
    (npm / "onnxruntime-node" / "package.json").write_text("{")
    assert "is no package" in conformance(SUBWORD, runtimes=["onnxruntime-node"], npm=npm).runtimes[0].absent
    for name in ("onnxruntime-web", "playwright-core"):
        (npm / name).mkdir()
        (npm / name / "package.json").write_text('{"version": "1.0"}')
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nowhere"))
    assert "does not run" in conformance(SUBWORD, runtimes=["chromium-wasm"], npm=npm).runtimes[0].absent
    elsewhere = npm.rename(tmp_path / "packages")
    absent = conformance(SUBWORD, runtimes=["onnxruntime-web-node"], npm=elsewhere).runtimes[0].absent
    assert "not in a node_modules at" in absent


def test_a_file_of_the_current_folder_stands_for_no_runtime(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise RuntimeError('mine')")
    monkeypatch.chdir(tmp_path)
    assert conformance(SUBWORD, runtimes=["onnxruntime"]).runtimes[0].equal


def test_a_page_that_crashes_loses_one_batch(tmp_path, monkeypatch):
    """What was answered before stays, the rest is tried again, and no profile of the browser is left behind."""
    _present("chromium-wasm")
    from lstm_deploy.conformance.runtimes import javascript

    scripts = shutil.copytree(javascript._SCRIPTS, tmp_path / "javascript")
    text = (scripts / "chromium.mjs").read_text()
    answered = '"answered", (number, found) => writer.add('
    crash = '"answered", async (number, found) => { if (number === 8 && start === "0") { '
    crash += 'await page.goto("chrome://crash").catch(() => {}); await new Promise(() => {}); } return writer.add('
    assert answered in text
    text = text.replace(answered, crash).replace("    )));", "    )); });", 1)
    (scripts / "chromium.mjs").write_text(text)
    monkeypatch.setattr(javascript, "_SCRIPTS", scripts)
    monkeypatch.setattr(suite, "_SECONDS", 60)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cases = conformance(SUBWORD, runtimes=["chromium-wasm"], npm=NPM).runtimes[0].cases
    assert sorted({case.status for case in cases.values()}) == ["crashed", "equal"]
    assert [case.status for case in cases.values()].count("crashed") == 1
    assert not list(tmp_path.glob("lstm-deploy-*"))


def test_an_unknown_runtime_names_those_there_are():
    with pytest.raises(InputError, match="no runtime 'tensorrt'; expected one of onnxruntime, "):
        conformance(SUBWORD, runtimes=["tensorrt"])


def test_the_oracle_can_be_pytorch_and_the_corpus_is_a_case(make_tagger, save_checkpoint, tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint", *make_tagger())
    export_checkpoint(folder, tmp_path / "m.onnx")
    (tmp_path / "text.txt").write_text("the cat ate Mr. fish\n\nwell , zyx do n't\n")
    done = CliRunner().invoke(
        main,
        ["conformance", str(tmp_path / "m.onnx"), "--checkpoint", str(folder), "--runtime", "onnxruntime", "--json",
         "--input", str(tmp_path / "text.txt")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["oracle"] == "PyTorch on single sentences"
    assert report["cases"]["corpus"] == 10
    assert report["runtimes"][0]["cases"]["corpus"]["tags_equal"] == 1
    other = save_checkpoint(tmp_path / "other", *make_tagger(hidden=3, subwords=False))
    done = CliRunner().invoke(main, ["conformance", str(tmp_path / "m.onnx"), "--checkpoint", str(other)])
    assert done.exit_code == 1
    assert "another tagger" in done.stderr


def test_another_pytorch_model_is_noticed(make_tagger, save_checkpoint, tmp_path):
    """The oracle really is the checkpoint: other weights, other scores."""
    for seed in (0, 1):
        save_checkpoint(tmp_path / f"checkpoint{seed}", *make_tagger(seed))
    export_checkpoint(tmp_path / "checkpoint0", tmp_path / "m.onnx")
    command = ["conformance", str(tmp_path / "m.onnx"), "--runtime", "onnxruntime", "--checkpoint"]
    assert CliRunner().invoke(main, [*command, str(tmp_path / "checkpoint0")]).exit_code == 0
    assert CliRunner().invoke(main, [*command, str(tmp_path / "checkpoint1")]).exit_code == 1


@pytest.mark.parametrize("model", ["subword", "characters", "characters-crf"])
def test_the_cases_hold_what_their_names_say(model):
    metadata = TaggerSession(DATA / f"{model}.onnx").metadata
    cases = {
        case.name: case for case in cases_of(metadata, [("cat",), (), ("the", "cat")] if metadata.crf is None else [])
    }
    lengths = {name: [batch["lengths"] for batch in case.batches] for name, case in cases.items()}
    assert all(len(set(rows)) > 1 for rows in lengths["ragged"])
    assert any(rows.size > 10 for rows in lengths["many rows"])
    assert max(map(max, lengths["long"])) == 400
    assert all((rows == 0).any() and (rows > 0).any() for rows in lengths["empty rows"])
    first = next(iter(cases["one row"].batches[0]))
    for batch in cases["only padding at the end"].batches:
        assert batch["lengths"].max() < batch[first].shape[1]
    assert [len(group) for group in cases["golden"].golden[:-1]] == [1] * (len(cases["golden"].golden) - 1)
    assert len(cases["golden"].golden[-1]) >= 16
    if metadata.vocabulary and metadata.vocabulary.unknown_id is not None:
        assert all(
            (batch["word_ids"] == metadata.vocabulary.unknown_id).all() for batch in cases["unknown words"].batches
        )
    if spelt := metadata.characters:
        for batch in cases["ragged"].batches:
            beyond = np.arange(batch["char_ids"].shape[2]) >= batch["char_lengths"][..., None]
            assert (batch["char_ids"][beyond] == spelt.padding_id).all()


def test_golden_scores_are_those_of_the_file(tmp_path):
    """A score that PyTorch did not give is noticed, though all runtimes agree with each other."""
    model = onnx.load(SUBWORD)
    for entry in model.metadata_props:
        if entry.key == "lstm_deploy.golden":
            golden = json.loads(entry.value)
            golden[1]["scores"][0] *= 0.99
            entry.value = json.dumps(golden)
    onnx.save(model, tmp_path / "m.onnx")
    cases = conformance(tmp_path / "m.onnx", runtimes=["onnxruntime"]).runtimes[0].cases
    assert cases["golden"].status == "wrong"
    assert "golden case 2" in cases["golden"].reason
    assert cases["ragged"].status == "equal"


_arrays = st.tuples(st.sampled_from(["int32", "float32", "int64"]), st.lists(st.integers(0, 5), min_size=1, max_size=3))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), _arrays, min_size=1), min_size=1, max_size=4))
def test_batches_and_answers_survive_as_files(tmp_path_factory, specs):
    folder = tmp_path_factory.mktemp("exchange")
    random = np.random.default_rng(0)
    batches = [
        {name: (100 * random.normal(size=shape)).astype(dtype) for name, (dtype, shape) in spec.items()}
        for spec in specs
    ]
    write_batches(folder, SUBWORD, ["y"], batches)
    model, outputs, found = read_batches(folder)
    assert (model, outputs) == (SUBWORD.resolve(), ["y"])
    writer = AnswerWriter(folder)
    for number, batch in enumerate(found):
        writer.add(number, batch)
    writer.fail("no more", len(found))
    answers, refusal = read_answers(folder)
    assert refusal == ""
    assert answers[len(batches)].error == "no more"
    for number, batch in enumerate(batches):
        for name, array in batch.items():
            np.testing.assert_array_equal(answers[number].outputs[name], array)
            assert answers[number].outputs[name].dtype == array.dtype


def test_metadata_keep_the_claims(make_tagger, tmp_path):
    metadata = replace(TaggerSession(SUBWORD).metadata, runtimes=("onnxruntime", "mine"))
    again = type(metadata).from_properties(metadata.to_properties(), source="m")
    assert again.runtimes == ("onnxruntime", "mine")

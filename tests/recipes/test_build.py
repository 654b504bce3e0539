"""The build: from a recipe to a file with its card, once; what is done stays done."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import results
from recipe import read_recipe
from steps import Steps, key_of

from lstm_deploy import Predictor
from lstm_deploy.errors import AccuracyError, InputError, LstmDeployError
from lstm_deploy.golden import check_golden
from lstm_deploy.tagging import evaluate_file

WORDS = {"the": "DET", "a": "DET", "cat": "NOUN", "dog": "NOUN", "bird": "NOUN", "saw": "VERB", "ate": "VERB"}
RECIPE = """
{train}
[eval.test]
file = "pets/test.conllu"
gold = "Pets 1, test"

[[target]]
what = "accuracy"
figure = "accuracy"
split = "test"
least = 0.5

[card]
description = "Tags pets."
licence = "CC0-1.0"
data = [{{name = "Pets", version = "1", licence = "CC0-1.0", use = "training", attribution = "Ann"}}]

[release]
ship = true
"""
TRAIN = """
[train]
train = "pets/train.conllu"
dev = "pets/test.conllu"
epochs = 2
hidden = 8
embedding = 8
buckets = 64

[export]
"""
ROUNDED = """
checkpoint = "pet"

[export]
precision = "rows8"
dev = "pets/test.conllu"
max-drop = 100
"""


def _corpus(path, sentences, seed):
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        chosen = draw.choices(list(WORDS), k=5)
        lines += [f"{i}\t{word}\t_\t{WORDS[word]}" + "\t_" * 6 for i, word in enumerate(chosen, 1)] + [""]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def build(scripts):
    return scripts("build")


@pytest.fixture(scope="module")
def place(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    (folder / "data" / "pets").mkdir(parents=True)
    _corpus(folder / "data" / "pets" / "train.conllu", 30, 1)
    _corpus(folder / "data" / "pets" / "test.conllu", 8, 2)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "pet.toml").write_text(RECIPE.format(train=TRAIN))
    (folder / "recipes" / "pet-rows8.toml").write_text(RECIPE.format(train=ROUNDED))
    return build.Place(
        folder / "data",
        labels=folder / "labels",
        recipes=folder / "recipes",
        work=folder / "work",
        exported=folder / "exported",
        results=folder / "models.json",
    )


@pytest.fixture(scope="module")
def built(build, place):
    """Both models, built and recorded."""
    found = {}
    for name in ("pet", "pet-rows8"):
        found[name] = build.Build(_recipe(place, name), place).run()
    return found


@pytest.fixture
def commands(build, monkeypatch):
    """The commands that a build runs."""
    ran = []
    run = build.Build._run

    def noted(self, *arguments):
        ran.append(arguments)
        return run(self, *arguments)

    monkeypatch.setattr(build.Build, "_run", noted)
    return ran


def _recipe(place, name="pet"):
    return read_recipe(place.recipes / f"{name}.toml")


def test_the_card_has_the_scores_of_the_file_itself(built, place):
    path = place.exported / "pet.onnx"
    predictor = Predictor.load(path, threads=1)
    card = predictor.metadata.card
    report = evaluate_file(predictor, place.data / "pets" / "test.conllu")
    (score,) = card["scores"]
    assert score["gold"] == "Pets 1, test"
    assert score["figures"]["tokens"] == report["tokens"] == 40
    assert score["figures"]["accuracy"] == pytest.approx(report["accuracy"], abs=1e-6)
    assert card["rebuild"] == "make models MODEL=pet"
    assert not check_golden(predictor).failures
    assert built["pet"]["verified"]["ok"]
    assert built["pet"]["bytes"] == path.stat().st_size


def test_nothing_of_the_machine_is_in_the_file(built, place):
    data = (place.exported / "pet.onnx").read_bytes()
    for secret in (str(place.work), str(place.data), built["pet"]["date"], "minutes"):
        assert secret.encode() not in data


def test_a_second_build_runs_nothing_and_leaves_the_record_as_it_is(built, build, place, commands):
    before = place.results.read_bytes()
    again = build.Build(_recipe(place), place).run()
    results.record("pet", again | {"date": "2000-01-01"}, place.results)
    assert commands == []
    assert again["sha256"] == built["pet"]["sha256"]
    assert place.results.read_bytes() == before


def test_file_record_and_page_of_a_build_appear_together(built, place, scripts):
    recorded = results.read_results(place.results)["models"]
    assert recorded == built
    page = (place.exported / "README.md").read_text()
    assert page == scripts("readme").page(place.exported, place.results)


def test_a_build_keeps_what_others_recorded_meanwhile(built, build, place, monkeypatch, tmp_path):
    copy = replace(place, results=tmp_path / "models.json")
    copy.results.write_bytes(place.results.read_bytes())

    def slow(self):
        results.record("other", {"sha256": "0", "ship": False, "evals": {}}, copy.results)
        results.record("pet", built["pet"] | {"sha256": "1" * 64, "ship": False}, copy.results)
        return built["pet"]

    monkeypatch.setattr(build.Build, "run", slow)
    with pytest.raises(AccuracyError, match="recorded is 1111"):
        build.rebuild(_recipe(place), copy)
    found = results.read_results(copy.results)["models"]
    assert set(found) == {"other", *built}
    assert found["pet"]["sha256"] == "1" * 64
    assert not found["pet"]["rebuilt"]["same"]


def test_two_builds_of_one_checkpoint_do_not_run_at_once(build, place, tmp_path, monkeypatch):
    beside = replace(place, work=tmp_path)

    def meanwhile(self, *arguments):
        with pytest.raises(InputError, match=r"pet\.lock: another build is at work on this checkpoint; wait for it"):
            build.Build(_recipe(place, "pet-rows8"), beside).run()
        raise LstmDeployError("stopped")

    monkeypatch.setattr(build.Build, "_run", meanwhile)
    for _ in range(2):  # the lock is gone with the build
        with pytest.raises(LstmDeployError, match="stopped"):
            build.Build(_recipe(place), beside).run()


def test_a_command_whose_build_is_gone_still_keeps_others_away(build, place, tmp_path):
    asleep = "import os, sys, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    script = (
        "import sys; from pathlib import Path; recipes, data, work, asleep = sys.argv[1:]\n"
        "import build; build._COMMAND = [sys.executable, '-c', asleep]\n"
        "recipe = build.read_recipe(Path(recipes) / 'pet.toml')\n"
        "build.Build(recipe, build.Place(Path(data), work=Path(work))).run()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, (place.recipes, place.data, tmp_path)), asleep],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(build.HERE), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = first.stderr.readline()
        assert said.startswith("pet: lstm-deploy train"), said
        child = int(first.stderr.readline())
        first.kill()
        first.wait()
        with pytest.raises(InputError, match="another build is at work"):
            build.Build(_recipe(place), replace(place, work=tmp_path)).run()
        os.kill(child, signal.SIGKILL)
    finally:
        first.kill()


def test_models_of_one_checkpoint_share_the_training(built, build, place, commands):
    assert built["pet-rows8"]["checkpoint"] == built["pet"]["checkpoint"]
    assert built["pet-rows8"]["precision"] == "rows8"
    build.Build(_recipe(place, "pet-rows8"), place).run()
    assert commands == []
    assert not (place.work / "pet-rows8").exists()


def test_another_card_is_put_in_without_running_anything(built, build, place, commands):
    recipe = _recipe(place)
    other = replace(recipe, card={**recipe.card, "description": "Tags animals."})
    beside = replace(place, exported=place.exported / "other", results=place.work / "other.json")
    assert build.Build(other, beside).run()["sha256"] != built["pet"]["sha256"]
    assert Predictor.load(beside.exported / "pet.onnx").metadata.card["description"] == "Tags animals."
    assert commands == []


def test_a_draft_that_was_touched_is_made_again_to_the_same_bytes(built, build, place, commands):
    (place.work / "pet.onnx").write_bytes(b"")
    assert build.Build(_recipe(place), place).run()["sha256"] == built["pet"]["sha256"]
    assert [arguments[0] for arguments in commands] == ["export"]


def test_an_interrupted_training_goes_on(build, place, monkeypatch, tmp_path):
    beside = replace(place, work=tmp_path)
    asked = []

    def stopped(self, *arguments):
        asked.append(arguments[-1])
        self.checkpoint.mkdir(exist_ok=True)
        (self.checkpoint / "resume.safetensors").write_bytes(b"")
        raise LstmDeployError("stopped")

    monkeypatch.setattr(build.Build, "_run", stopped)
    recipe = _recipe(place)
    for attempt in (recipe, recipe, replace(recipe, train={**recipe.train, "hidden": 9})):
        with pytest.raises(LstmDeployError, match="stopped"):
            build.Build(attempt, beside).run()
    assert asked == ["--overwrite", "--resume", "--overwrite"]


def test_a_step_that_fails_is_told_with_its_command(build, place, tmp_path):
    recipe = replace(_recipe(place), train={"train": "pets/train.conllu", "column": "xpos", "epochs": 0})
    with pytest.raises(LstmDeployError, match=r"pet: `lstm-deploy train .*--epochs 0.*` ended with 2"):
        build.Build(recipe, replace(place, work=tmp_path)).run()


def test_data_that_is_not_there_is_told(build, place, tmp_path):
    with pytest.raises(InputError, match=r"train\.conllu: No such file"):
        build.Build(_recipe(place), replace(place, data=tmp_path, work=tmp_path)).run()


def test_all_inputs_are_looked_for_before_hours_of_training(build, place, tmp_path, commands):
    beside = replace(place, work=tmp_path)
    recipe = _recipe(place)
    gold = recipe.evals["test"]
    for change, reason in (
        ({"evals": {"test": replace(gold, file="pets/gone.conllu")}}, r"gone\.conllu: No such file"),
        ({"evals": {"test": replace(gold, options={"raw": True, "segmenter": "cutter"})}}, "cutter: no model of that"),
        ({"export": {"precision": "fp16", "dev": "pets/nowhere.conllu"}}, r"nowhere\.conllu: No such file"),
        ({"train": {**recipe.train, "vectors": "no-such-package"}}, "pet: vectors = 'no-such-package' is no installed"),
        ({"train": {**recipe.train, "vectors": str(place.recipes / "pet.toml")}}, "is a file here; expected a package"),
    ):
        with pytest.raises(LstmDeployError, match=reason) as told:
            build.Build(replace(recipe, **change), beside).run()
        assert "\n" not in str(told.value)
    assert commands == []


def test_other_models_are_those_that_were_built_here(build, place, tmp_path):
    (tmp_path / "en-upos.onnx").write_bytes(b"")
    beside = replace(place, exported=tmp_path / "none", others=tmp_path)
    options = {"segmenter": "en-upos"}
    assert build.files(build.evaluate, options, place.data, beside.models) == [tmp_path / "en-upos.onnx"]
    assert build.arguments(build.evaluate, options, place.data, beside.models)[1] == str(tmp_path / "en-upos.onnx")


def test_other_code_is_exported_verified_and_scored_with_again_but_not_trained(
    built, build, place, tmp_path, commands, monkeypatch
):
    shutil.copytree(place.work, tmp_path, dirs_exist_ok=True)
    beside = replace(place, work=tmp_path, exported=tmp_path / "out", results=tmp_path / "out.json")
    monkeypatch.setattr(build, "_sources", lambda: "other")
    assert build.Build(_recipe(place), beside).run()["sha256"] == built["pet"]["sha256"]
    assert [arguments[0] for arguments in commands] == ["export", "verify", "eval"]


def test_a_score_from_raw_text_names_the_segmenter(built, build, place, monkeypatch, tmp_path):
    """Its hash, since a name may stand for another file tomorrow."""
    cutter = tmp_path / "cutter.onnx"
    cutter.write_bytes(b"cutter")
    recipe = _recipe(place)
    raw = replace(recipe.evals["test"], options={"raw": True, "segmenter": "cutter"})
    beside = replace(place, exported=tmp_path / "out", results=tmp_path / "models.json", others=tmp_path)
    report = '{"words": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}}'
    monkeypatch.setattr(build.Build, "_run", lambda self, *arguments: report)
    build.Build(replace(recipe, evals=recipe.evals | {"raw": raw}), replace(beside, work=place.work)).run()
    test, score = Predictor.load(tmp_path / "out" / "pet.onnx").metadata.card["scores"]
    assert score["segmenter_sha256"] == hashlib.sha256(b"cutter").hexdigest()
    assert score["split"] == "raw"
    assert "segmenter_sha256" not in test


def test_other_labels_than_the_recipes_are_refused(build, place, tmp_path, monkeypatch):
    beside = replace(place, work=tmp_path, labels=tmp_path / "labels")
    recipe = replace(_recipe(place), labels_sha256="0" * 64)
    with pytest.raises(InputError, match="not there; pet learns from labels: make them with `make labels`"):
        build.Build(recipe, beside).run()
    beside.labels.mkdir()
    (beside.labels / "labels.json").write_text("{}")
    with pytest.raises(InputError, match=r"pet\.toml asks for 0000.* or take these with --any-labels") as told:
        build.Build(recipe, beside).run()
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"pet\.toml asks for none yet"):
        build.Build(replace(recipe, labels_sha256=""), beside).run()

    def asked(self, *arguments):
        raise LstmDeployError(" ".join(arguments))

    monkeypatch.setattr(build.Build, "_run", asked)
    with pytest.raises(LstmDeployError, match=f"train .*--soft-labels {beside.labels}"):
        build.Build(recipe, replace(beside, any_labels=True)).run()


@pytest.mark.slow
def test_from_nothing_the_bytes_are_the_same(built, build, place):
    build.rebuild(_recipe(place), place)
    recorded = json.loads(place.results.read_bytes())["models"]["pet"]
    assert recorded["rebuilt"]["same"]
    assert recorded["rebuilt"]["sha256"] == recorded["sha256"]


def test_a_rebuilt_file_with_other_bytes_is_an_error(built, build, place, monkeypatch, tmp_path):
    copy = replace(place, results=tmp_path / "models.json")
    copy.results.write_bytes(place.results.read_bytes())
    monkeypatch.setattr(build.Build, "run", lambda self: built["pet"] | {"sha256": "f" * 64})
    with pytest.raises(AccuracyError, match="pet: rebuilt to SHA-256 ffff"):
        build.rebuild(_recipe(place), copy)
    assert not results.read_results(copy.results)["models"]["pet"]["rebuilt"]["same"]
    with pytest.raises(InputError, match="no build is recorded"):
        build.rebuild(replace(_recipe(place), name="new"), copy)


def test_the_page_is_written_from_files_and_results(built, place, scripts, tmp_path):
    readme = scripts("readme")
    speed = tmp_path / "speed.json"
    rows = {"pet": {"single_seconds": 0.00025, "tokens_per_second": 123456.7}}
    speed.write_text(json.dumps({"machine": "2 cores of X", "date": "2026-01-01", "models": rows}))
    text = readme.page(place.exported, place.results, speed)
    for part in (
        "## pet\n\nTags pets.\n",
        "- **Licence of the file:** CC0-1.0",
        "- **Made of:** Pets 1: training; CC0-1.0; Ann",
        "- **Measured** on Pets 1, test: sentences 8, tokens 40, accuracy ",
        "in 0.25 ms, 123,457 tokens/s",
        f"SHA-256 `{built['pet']['sha256']}`",
        "## pet-rows8",
        "- **Rounding** to rows8 costs ",
        "- **Rebuild:** `make models MODEL=pet`",
    ):
        assert part in text, part
    unshipped = results.read_results(place.results)
    unshipped["models"]["pet-rows8"]["ship"] = False
    results.write_results(unshipped, tmp_path / "models.json")
    text = readme.page(place.exported, tmp_path / "models.json", speed)
    assert "## Measured, not shipped" in text
    assert "| pet-rows8 | accuracy " in text


def test_a_file_that_was_not_the_one_measured_is_refused(built, place, scripts, tmp_path):
    readme = scripts("readme")
    with pytest.raises(InputError, match=r"pet\.onnx: not there"):
        readme.page(tmp_path, place.results)
    (tmp_path / "pet.onnx").write_bytes((place.exported / "pet-rows8.onnx").read_bytes())
    with pytest.raises(InputError, match=r"pet\.onnx: has the SHA-256 .* measured was "):
        readme.page(tmp_path, place.results)


def test_the_table_holds_targets_against_what_was_measured(built, place, scripts, tmp_path):
    table = scripts("table")
    genres = tmp_path / "genres.json"
    recipes = [_recipe(place), replace(_recipe(place), name="unbuilt")]
    text = table.table(recipes, place.results, genres)
    accuracy = results.figures(built["pet"]["evals"]["test"]["report"])["accuracy"]
    verdict = "yes" if accuracy >= 0.5 else "NO"
    assert f"| pet | accuracy | >= 50.00 % | {100 * accuracy:.2f} % | {verdict} |" in text
    assert "| unbuilt | accuracy | >= 50.00 % | not measured |  |" in text
    assert "not measured: `make genres`" in text
    scores = {"pet": 0.9, "spaCy": 0.8, "UDPipe 1": 0.95}
    genres.write_text(json.dumps({"model": "pet", "gold": "Zoo 1", "accuracy": scores, "absent": []}))
    text = table.table(recipes, place.results, genres)
    assert "| pet | UPOS of Zoo 1 | > 80.00 % (spaCy) | 90.00 % | yes |" in text
    assert "| pet | UPOS of Zoo 1 | > 95.00 % (UDPipe 1) | 90.00 % | NO |" in text


def test_figures_are_numbers_and_the_rates_of_parts(scripts):
    report = {
        "tokens": 4,
        "accuracy": 0.12345678,
        "unknown_words": {"tokens": 2, "accuracy": 0.5},
        "tags": {"A": {"f1": 1.0}},
        "entities": {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 4, "types": {}},
        "calibration": {"expected_error": 0.1},
    }
    assert results.figures(report) == {
        "tokens": 4,
        "accuracy": 0.123457,
        "entities_precision": 0.5,
        "entities_recall": 0.25,
        "entities_f1": 0.333333,
        "accuracy_on_unknown_words": 0.5,
    }


def test_a_record_goes_with_its_folder_and_those_of_old_count_where_they_were_made(tmp_path, monkeypatch):
    (tmp_path / "work" / "pet").mkdir(parents=True)
    weights = tmp_path / "work" / "pet" / "model"
    weights.write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    Steps(Path("work/pet.json")).finish("train", key_of(1), [Path("work/pet/model")], {"n": 1})
    (tmp_path / "work").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    moved = tmp_path / "moved" / "pet.json"
    assert Steps(moved).done("train", key_of(1)) == {"n": 1}
    moved.write_text(moved.read_text().replace('"pet/model"', '"moved/pet/model"'))
    assert Steps(moved).done("train", key_of(1)) is None
    monkeypatch.chdir(tmp_path)
    assert Steps(Path("moved/pet.json")).done("train", key_of(1)) == {"n": 1}


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"train": []}', '{"train": {"key": 1}}', '{"train": {"files": {}}}'])
def test_a_record_of_steps_that_is_none_is_told(tmp_path, text):
    (tmp_path / "pet.json").write_text(text)
    with pytest.raises(InputError, match="not a build's record"):
        Steps(tmp_path / "pet.json")
    steps = Steps(tmp_path / "new.json")
    steps.start("train", key_of(1))
    assert Steps(tmp_path / "new.json").started("train", key_of(1))
    assert steps.done("train", key_of(1)) is None

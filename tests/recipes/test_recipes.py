"""The committed recipes, and what is told of one that is wrong."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from recipe import all_recipes, arguments, evaluate, export, files, read_recipe, train
from results import RESULTS, read_results

from lstm_deploy.cli import main
from lstm_deploy.errors import InputError
from lstm_deploy.inspection import inspect_model

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ALL = all_recipes()
GOOD = """
[train]
train = "a.conllu"
column = "upos"
crf = false

[export]

[eval.test]
file = "b.conllu"
gold = "B 1, test"

[card]
description = "Tags."
licence = "MIT"
data = [{name = "A", licence = "MIT"}]

[release]
ship = true
"""


def test_the_models_of_a_release_are_these():
    shipped = {recipe.name for recipe in ALL if recipe.ship}
    english = {"en-upos", "en-upos-int8", "en-upos-small", "en-disease", "en-social", "en-segmenter"}
    assert shipped == english | {"tutorial"}
    assert {recipe.name for recipe in ALL} == shipped | {"zh-xpos", "tr-upos"}


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_a_shipped_model_can_be_committed_and_its_data_may_be_used_so(recipe):
    path = ROOT / "exported" / f"{recipe.name}.onnx"
    ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", str(path)], cwd=ROOT, check=False).returncode
    if ignored != 128:  # a working copy of git
        assert (ignored == 1) == recipe.ship
    for source in recipe.card["data"]:
        assert ("-NC" in source["licence"]) <= (not recipe.ship)
        assert source.get("attribution"), source["name"]
        if "CC BY-SA" in source["licence"]:
            assert recipe.card["licence"] == "CC BY-SA 4.0"


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_all_files_are_among_the_data(recipe):
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    named = [*files(train, recipe.train or {}, DATA), *files(export, recipe.export, DATA)]
    named += [DATA / entry.file for entry in recipe.evals.values()]
    assert [path for path in named if not path.is_file()] == []


def test_models_of_one_checkpoint_name_the_recipe_that_trains():
    trained = {recipe.name for recipe in ALL if recipe.train is not None}
    assert {recipe.checkpoint for recipe in ALL} == trained


def test_options_become_those_of_the_command_line():
    recipe = {"train": ["a", "b"], "bidirectional": False, "crf": True, "hidden": 8, "vectors": "some-package"}
    assert arguments(train, recipe, Path("data")) == [
        *("--train", "data/a", "--train", "data/b"),
        *("--unidirectional", "--crf", "--hidden", "8", "--vectors", "some-package"),
    ]
    assert arguments(evaluate, {"unseen-tags": "wrong"}, Path()) == ["--unseen-tags", "wrong"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("[release]", "[releases]"), "unknown field 'releases'"),
        (("[release]", '"" = 1\n[release]'), "''"),
        (("ship = true", ""), "it has no ship"),
        (("[train]", 'checkpoint = "x"\n[train]'), r"expected a table \[train\], or checkpoint"),
        (("[train]", "[export]"), "not TOML"),
        (('column = "upos"', 'colum = "upos"'), "`lstm-deploy train`: 'colum' is none of its options"),
        (('column = "upos"', "resume = true"), "'resume' is given by the build itself"),
        (("crf = false", "crf = 3"), "crf = 3; expected what --crf takes"),
        (("[export]", "[export]\nstreaming = false"), "streaming = False; expected what --streaming takes"),
        (('gold = "B 1, test"', ""), "it has no gold"),
        (('licence = "MIT"\ndata', "data"), "the card has no licence"),
        (("[card]", '[[target]]\nwhat = "x"\nfigure = "accuracy"\nsplit = "dev"\n[card]'), "a split among test"),
        (("[card]", '[[target]]\nwhat = "x"\nfigure = "f1"\nsplit = "test"\n[card]'), "'x': no figure 'f1'; expected"),
        (("[card]", '[[target]]\nwhat = "x"\nfigure = "accuracy"\n[card]'), "no figure 'accuracy'; expected one of b"),
        (("[card]", '[[target]]\nwhat = "x"\nfigure = "bytes"\nmost = nan\n[card]'), "the bound nan; expected a fin"),
        (("[card]", '[[target]]\nwhat = "x"\nfigure = "bytes"\nmost = true\n[card]'), "the bound True; expected a fi"),
        (("ship = true", 'ship = "false"'), "ship = 'false'; expected true or false"),
        (("[train]", "threads = 0\n[train]"), "threads = 0; expected a whole number from 1"),
        (("[train]", "threads = 1.9\n[train]"), "threads = 1.9; expected"),
        (("[train]", "threads = true\n[train]"), "threads = True; expected"),
        (("[train]", "labels_sha256 = 3\n[train]"), "labels_sha256 = 3; expected a string"),
        (("crf = false", "seed = 2024-01-01"), "seed = datetime.date.2024, 1, 1.; expected what --seed takes"),
        (("crf = false", "seed = 1.5"), "seed = 1.5; expected what --seed takes"),
        (("crf = false", "dropout = nan"), "dropout = nan; expected what --dropout takes"),
        (('train = "a.conllu"', "train = 3"), "train = 3; expected what --train takes"),
        (('column = "upos"', 'column = ["upos"]'), r"column = \['upos'\]; expected what --column takes"),
        (('file = "b.conllu"', "file = 3"), "file = 3; expected a string"),
        (("[eval.test]", "[eval]\ndev = 3\n[eval.test]"), "dev = 3; expected a table"),
        (("crf = false", f"x = {'[' * 5000}{']' * 5000}"), "not TOML"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, change, reason):
    path = tmp_path / "pet.toml"
    path.write_text(GOOD)
    assert read_recipe(path).card["name"] == "pet"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(InputError, match=reason) as told:
        read_recipe(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_name_without_a_recipe_is_told_with_those_there_are():
    with pytest.raises(InputError, match=r"expected one of en-disease, .*zh-xpos"):
        read_recipe(ROOT / "recipes" / "nope.toml")


def test_the_page_of_models_is_that_of_the_committed_files(scripts):
    page = scripts("readme").page()
    assert (ROOT / "exported" / "README.md").read_text(encoding="utf-8") == page
    for name in read_results()["models"]:
        assert name in {recipe.name for recipe in ALL}, f"{name} stands in {RESULTS} and has no recipe"


def test_every_committed_model_is_on_the_page():
    listed = subprocess.run(
        ["git", "ls-files", "exported/*.onnx"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a working copy of git")
    shipped = {name for name, found in read_results()["models"].items() if found["ship"]}
    assert {Path(path).stem for path in listed.stdout.split()} == shipped


def test_the_map_names_every_script():
    readme = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    scripts = list((ROOT / "recipes").rglob("*.py"))
    assert scripts
    for path in scripts:
        assert path.name in readme, path.name


@pytest.mark.parametrize("path", sorted((ROOT / "exported").glob("*.onnx")), ids=lambda path: path.stem)
def test_every_model_here_can_be_looked_into(path):
    shown = CliRunner().invoke(main, ["inspect", str(path)])
    assert shown.exit_code == 0, shown.output
    sources = inspect_model(path)["training"]["data"]
    for part, entries in sources.items():
        for entry in entries:
            name = entry.get("name") or entry["teacher"]
            assert f"{part.replace('_', ' ')}: {name}" in shown.output

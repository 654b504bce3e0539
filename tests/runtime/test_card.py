"""A model's card: what may stand in it, and how a file shows it."""

import json

import pytest
from click.testing import CliRunner
from model_files import PREFIX, TUTORIAL, field, rewrite, top_level_fields

from lstm_deploy import Predictor
from lstm_deploy.card import card_to_write, check_card, read_card
from lstm_deploy.cli import main
from lstm_deploy.errors import InputError, MetadataError

CARD = {
    "name": "pet",
    "description": "Tags pets.",
    "licence": "CC0-1.0",
    "intended_use": "tests",
    "data": [{"name": "Pets", "version": "2", "licence": "CC BY 4.0", "attribution": "Ann", "use": "training"}],
    "limits": ["two sentences"],
    "scores": [{"split": "test", "gold": "Pets 2, test", "figures": {"tokens": 1200, "accuracy": 0.9512}}],
    "rebuild": "make models MODEL=pet",
}


@pytest.fixture
def without_card(tmp_path):
    """The tutorial's file without its card."""
    path = tmp_path / "pet.onnx"
    fields = top_level_fields(TUTORIAL.read_bytes())
    path.write_bytes(b"".join(raw for number, raw in fields if number != 14 or f"{PREFIX}card".encode() not in raw))
    return path


@pytest.fixture
def with_card(without_card):
    """Writes the tutorial's file with another card in it, as text or as JSON."""
    kept = without_card.read_bytes()

    def write(card):
        text = card if isinstance(card, str) else json.dumps(card)
        without_card.write_bytes(kept + field(14, field(1, f"{PREFIX}card".encode()) + field(2, text.encode())))
        return without_card

    return write


def test_a_whole_card_is_one():
    assert check_card(CARD) == card_to_write(CARD) == CARD


def test_only_a_whole_card_is_written_and_none_is_none():
    assert card_to_write(None) is card_to_write({}) is None
    message = r"^the card has no licence; see FORMAT.md, section 11$"
    with pytest.raises(InputError, match=message):
        card_to_write({"name": "pet", "description": "Tags pets."})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": ""}, "has no name"),
        ({"licence": None}, "licence that is a NoneType; expected a string"),
        ({"licence": " "}, "has no licence"),
        ({"colour": "red"}, "unknown field 'colour'; expected name, description"),
        ({"": "red"}, "unknown field ''; expected name, description"),
        ({"data": []}, "has no data"),
        ({"data": [{"name": "Pets"}]}, "has no licence of the data 'Pets'"),
        ({"data": [{"name": "Pets", "licence": 4}]}, "licence of the data 'Pets' that is a int"),
        ({"data": [{"name": "Pets", "licence": "MIT", "author": "Ann"}]}, "unknown field 'author' of the data 'Pets'"),
        ({"data": ["Pets"]}, "data that are no list of tables"),
        ({"limits": "none"}, "limits that are no list"),
        ({"limits": [1]}, "limits that are no list"),
        ({"scores": [{"split": "test", "figures": {"accuracy": "good"}}]}, "figures of the score 'test'"),
        ({"scores": [{"split": "test", "figures": {"accuracy": True}}]}, "figures of the score 'test'"),
        ({"scores": [{"split": "test", "speed": 3}]}, "unknown field 'speed' of the score 'test'"),
        ({"scores": [{"split": "test", "figures": {"accuracy": float("nan")}}]}, "score 'test' that are not finite"),
        ({"scores": [{"split": "test", "figures": {"accuracy": float("inf")}}]}, "score 'test' that are not finite"),
        ({"scores": [{"gold": "Pets", "figures": {"tokens": 1}}]}, "has no split of the score ''"),
        ({"scores": [{"split": "test", "figures": {"tokens": 1}}]}, "has no gold of the score 'test'"),
        ({"scores": [{"split": "test", "gold": "Pets"}]}, "has no figures of the score 'test'"),
    ],
)
def test_what_is_no_card_is_told(change, reason):
    with pytest.raises(ValueError, match=reason):
        check_card(CARD | change)


def test_a_card_is_read_from_toml_alone_or_in_a_recipe(tmp_path):
    text = 'description = "Tags."\nlicence = "MIT"\n{0}\nname = "Pets"\nlicence = "CC0-1.0"\n'
    (tmp_path / "card.toml").write_text(text.format("[[data]]"))
    (tmp_path / "recipe.toml").write_text("threads = 1\n[card]\n" + text.format("[[card.data]]"))
    cards = [read_card(tmp_path / name, {"name": "x"}) for name in ("card.toml", "recipe.toml")]
    assert cards[0] == cards[1]
    assert cards[0]["name"] == "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("licence", "not TOML"),
        ('licence = "MIT"', "the card has no name"),
        ("card = 3", "the card is a int; expected a table"),
        (
            'name = "x"\ndescription = "y"\nlicence = "MIT"\ndata = [{name = "P", licence = "MIT"}]\nscores = []',
            "the card has scores; expected none: they are measured",
        ),
    ],
)
def test_a_file_without_a_card_is_told_in_one_line(tmp_path, text, reason):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=reason) as told:
        read_card(tmp_path / "c.toml")
    assert str(told.value).startswith(str(tmp_path / "c.toml"))
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="No such file"):
        read_card(tmp_path / "gone.toml")


def test_a_file_shows_its_card(with_card):
    path = with_card(CARD | {"later": {"version": 9}})
    assert Predictor.load(path).metadata.card["description"] == "Tags pets."
    shown = CliRunner().invoke(main, ["inspect", str(path)]).stdout
    for row in (
        "card       pet: Tags pets.",
        "use        tests",
        "made of    Pets 2: training; CC BY 4.0; Ann",
        "measured   Pets 2, test: tokens 1,200, accuracy 95.12 %",
        "limit      two sentences",
        "rebuild    make models MODEL=pet",
    ):
        assert row in shown.splitlines()
    assert json.loads(CliRunner().invoke(main, ["inspect", "--json", str(path)]).stdout)["card"]["later"]


def test_models_show_description_tags_and_licence_of_the_card(with_card, monkeypatch, tmp_path):
    (tmp_path / "exported").mkdir()
    with_card(CARD).rename(tmp_path / "exported" / "pet.onnx")
    monkeypatch.chdir(tmp_path)
    listed = {each["name"]: each for each in json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)}
    assert listed["pet"]["description"] == "Tags pets."
    assert listed["pet"]["licence"] == "CC0-1.0"
    assert listed["pet"]["tags"] == ["DET", "NN", "V"]
    lines = CliRunner().invoke(main, ["models"]).stdout.splitlines()
    line = next(line for line in lines if line.startswith("pet"))
    assert "Tags pets. 3 tags (tag), fp32, 0.0 MB, licence CC0-1.0" in line


def test_a_card_that_lacks_fields_is_shown_as_far_as_it_goes(with_card):
    path = with_card({"licence": "MIT", "data": [{"licence": "MIT"}], "scores": [{"split": "dev"}, {}]})
    done = CliRunner().invoke(main, ["inspect", str(path)])
    assert done.exit_code == 0, done.stderr
    assert {"made of    unnamed: MIT", "measured   dev: ", "measured   unnamed: "} <= set(done.stdout.split("\n"))


def test_nothing_in_a_file_steers_a_terminal(with_card, monkeypatch, tmp_path):
    evil = "\x1b[2J\n\x9b1m\u202e\U000e0041\ud800é"
    shown = "\\u001b[2J\\n\\u009b1m\\u202e\\udb40\\udc41\\ud800é"
    path = with_card(
        {"name": evil, "description": evil, "limits": [evil], "scores": [{"gold": evil}]} | {"later": evil}
    )
    (tmp_path / "exported").mkdir()
    rewrite(path, tmp_path / "exported" / "pet.onnx", notes=[evil], golden=[])
    monkeypatch.chdir(tmp_path)
    for command in (["inspect", "pet"], ["models"], ["inspect", "--json", "pet"], ["models", "--json"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        assert all(line.isprintable() for line in done.stdout.split("\n")), command
        assert shown in done.stdout, command
        if "--json" in command:
            found = json.loads(done.stdout)
            entry = found if command[0] == "inspect" else next(each for each in found if each["name"] == "pet")
            assert entry["tags"] == ["DET", "NN", "V"]


def test_without_one_it_is_empty(without_card):
    assert f"{PREFIX}card".encode() not in without_card.read_bytes()
    assert Predictor.load(without_card).metadata.card == {}
    assert "\ncard " not in CliRunner().invoke(main, ["inspect", str(without_card)]).stdout


def test_an_empty_one_is_none(with_card):
    assert Predictor.load(with_card({})).metadata.card == {}


@pytest.mark.parametrize(
    "card",
    ["[]", "{", '{"limits": 3}', '{"data": [{"licence": 3}]}', '{"later": NaN}', '{"later": [-Infinity]}',
     '{"scores": [{"figures": {"accuracy": 1e999}}]}'],
)  # fmt: skip
def test_a_broken_card_is_told(with_card, card):
    with pytest.raises(MetadataError, match=r"metadata lstm_deploy\.card (?!None).*; export the model again$"):
        Predictor.load(with_card(card))

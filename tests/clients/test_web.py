"""The demo page in web/: built, served by a plain server, driven in Chromium, and compared with Python."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lstm_deploy.formats.reading import Sentence
from lstm_deploy.formats.writing import writer_for
from lstm_deploy.streaming import open_predictor

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
TESTS = ROOT / "web" / "test"
DATA = ROOT / "tests" / "runtime" / "data"
TUTORIAL = ROOT / "exported" / "tutorial.onnx"
MODELS = {"tutorial": TUTORIAL} | {path.stem: path for path in sorted(DATA.glob("*.onnx"))}
OPEN = [
    "Ann Lee went to Oslo in May , did n't she ?",
    "the cat 's naïve straße",
    "東京 is 3 zzyzx 🙂 words",
    "مرحبا fish !",
]
TEXTS = {
    "tutorial": ["They ate the fish", "The cat read that book", "zzyzx ate fish"],
    # These have no unknown word or character.
    "characters": ["the cat ate fish", "ann lee went to oslo ."],
    "characters-crf": ["the cat ate fish Ann Lee", "Mr. Ann Lee do n't 東京"],
}
ATTACK = "<img/src=x/onerror=globalThis.pwned=1>"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no program node on PATH"),
    pytest.mark.skipif(
        not (CLIENT / "node_modules").is_dir(), reason="no clients/javascript/node_modules: run `npm ci` there"
    ),
]
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no program chromium on PATH")


def node(*arguments, **env):
    """Runs node in the repository's root."""
    return subprocess.run(
        ["node", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )


def build(output, *arguments):
    return node(ROOT / "web" / "build.mjs", "--output", output, *arguments)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page, built around the tutorial's model."""
    output = tmp_path_factory.mktemp("web") / "site"
    done = build(output, "--model", TUTORIAL)
    assert not done.returncode, done.stderr
    assert "first load, without the model" in done.stdout
    return output


@pytest.fixture(scope="module")
def given(site, tmp_path_factory):
    """A JSON file with what the tests of the page need: see web/test/harness.mjs."""
    folder = tmp_path_factory.mktemp("given")
    predictors = {name: open_predictor(path) for name, path in MODELS.items()}
    expected = {name: [_expected(predictors[name], text) for text in TEXTS.get(name, OPEN)] for name in MODELS}
    predictor = predictors["subword"]
    write = writer_for("conllu", predictor.metadata.column)
    conllu = b"".join(write(Sentence(text=text), predictor.predict_text(text)) for text in OPEN)
    path = folder / "given.json"
    value = {
        "site": str(site),
        "chromium": shutil.which("chromium"),
        "models": {name: str(path) for name, path in MODELS.items()} | {"hostile": str(_hostile(folder))},
        "expected": expected,
        "files": {"conllu": conllu.decode()},
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def _expected(predictor, text):
    """A sentence as Python tags it, and how far a probability may be off."""
    result = predictor.predict_text(text)
    tolerance = 0.05 if predictor.metadata.precision == "int8" else 1e-5
    return {
        "text": text,
        "tokens": result.tokens,
        "tags": result.tags,
        "scores": [float(score) for score in result.scores],
        "tolerance": tolerance,
    }


def _hostile(folder):
    """The tutorial's model with markup for tags, licence and card: of metadata under one key, the last one counts."""
    changes = {
        "tags": [ATTACK, "&lt;b&gt;", "javascript:alert(1)"],
        "golden": [],
        "training": {"licence": "", "data": {"train": [{"name": ATTACK}]}},
        "card": {
            "name": ATTACK,
            "description": ATTACK,
            "licence": "<script>globalThis.pwned=1</script>",
            "data": [{"name": ATTACK, "licence": ATTACK, "attribution": ATTACK}],
        },
    }
    path = folder / "hostile.onnx"
    added = [
        _field(1, f"lstm_deploy.{key}".encode()) + _field(2, json.dumps(value).encode())
        for key, value in changes.items()
    ]
    path.write_bytes(TUTORIAL.read_bytes() + b"".join(_field(14, pair) for pair in added))
    return path


def _field(number, payload):
    """A field of a protocol buffer, of bytes."""
    length, size = b"", len(payload)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


@needs_chromium
@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".test.mjs") for path in TESTS.glob("*.test.mjs")))
def test_the_page(given, name):
    done = node("--test", "--test-reporter=spec", TESTS / f"{name}.test.mjs", LSTM_DEPLOY_WEB=str(given))
    assert not done.returncode, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_built_twice_is_the_same(site, tmp_path):
    assert not build(tmp_path / "again", "--model", TUTORIAL).returncode
    assert (tmp_path / "again" / "files.js").read_bytes() == (site / "files.js").read_bytes()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = build(tmp_path)
    assert done.returncode == 1
    assert "error: " in done.stderr and "pass another --output" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_that_is_no_model_makes_no_page(tmp_path):
    model = tmp_path / "bad.onnx"
    model.write_bytes(b"bad")
    done = build(tmp_path / "site", "--model", model)
    assert done.returncode == 1
    assert "is not an ONNX model" in done.stderr
    assert not (tmp_path / "site").exists()


def test_examples_of_ones_own(tmp_path):
    examples = tmp_path / "examples.txt"
    examples.write_text("The cat\n\nThe fish\n")
    assert not build(tmp_path / "site", "--examples", examples).returncode
    site = json.loads((tmp_path / "site" / "site.json").read_text())
    assert site["model"]["examples"] == ["The cat", "The fish"]
    assert site["model"]["file"] == "tutorial.onnx"

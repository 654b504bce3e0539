"""The client in C++: it compiles, agrees with fresh files in OpenVINO, and says so where one is wrong."""

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from lstm_deploy.export.exporter import export_model  # noqa: E402
from lstm_deploy.export.module import export_module  # noqa: E402
from lstm_deploy.export.spec import Spec  # noqa: E402
from lstm_deploy.tokenizer import Tokenizer  # noqa: E402
from lstm_deploy.training.checkpoint import Checkpoint  # noqa: E402
from lstm_deploy.training.config import ModelConfig, Recipe  # noqa: E402
from lstm_deploy.vocabulary import Vocabulary  # noqa: E402

SOURCE = Path(__file__).parents[2] / "clients" / "cpp" / "golden.cpp"
WORDS = ["the", "cat", "ate", "fish", "Mr.", ".", "3", "well"]
TAGS = ("B-PER", "I-PER", "O")
LETTERS = ["<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz."]
WORD_IDS = {"<pad>": 0, "<unk>": 1, "cats": 2, "eat": 3, "the": 4, "fishes": 5, ".": 6}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Runs the compiled client: (exit status, lines of stdout, lines of stderr)."""
    if not shutil.which("g++"):
        pytest.skip("no g++ to compile the client with")
    openvino = find_spec("openvino")
    if openvino is None or openvino.origin is None:
        pytest.skip("no openvino, which brings the headers and libraries to compile the client with")
    package = Path(openvino.origin).parent
    libraries = sorted((package / "libs").glob("libopenvino.so*"))
    if not libraries or not (package / "include").is_dir():
        pytest.skip("this openvino has no headers or no libopenvino.so to compile the client with")
    header = ["g++", "-E", "-x", "c++", "-include", "nlohmann/json.hpp", "/dev/null", "-o", "/dev/null"]
    if subprocess.run(header, capture_output=True).returncode:
        pytest.skip("no nlohmann/json.hpp to compile the client with")
    program = tmp_path_factory.mktemp("cpp") / "golden"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", package / "include"]
    linked = [libraries[0], f"-Wl,-rpath,{package / 'libs'}"]
    compiled = subprocess.run(["g++", *flags, SOURCE, *linked, "-o", program], capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr

    def run(*arguments):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return run


def _tagger(path, target, **options):
    """A random tagger that reads both ways, with weights large enough for what is read backward to be felt."""
    torch.manual_seed(11)
    config = ModelConfig(embedding=6, hidden=5, buckets=64, bidirectional=True)
    samples = [{"tokens": ["Mr.", "cat", "ate", "3", "fish", "."], "text": None}]
    provenance = {"versions": {}, "licence": "none"}
    vocabulary = Vocabulary.from_words(WORDS, case=config.case)
    checkpoint = Checkpoint(Recipe(config), vocabulary, TAGS, Tokenizer("whitespace"), provenance, samples)
    model = checkpoint.new_model().eval()
    with torch.no_grad():
        for parameter in model.lstm.parameters():
            parameter.mul_(3)
    export_model(checkpoint, model, path, target=target, **options)
    return path


class Spelling(nn.Module):
    """The mean of each word's characters beside its vector, and both ways over the words."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORD_IDS), 4)
        self.letters = nn.Embedding(len(LETTERS), 3, padding_idx=0)
        self.lstm = nn.LSTM(7, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, len(TAGS))

    def forward(self, ids, letters):
        real = (letters != 0).unsqueeze(-1).float()
        spelt = (self.letters(letters) * real).sum(1) / real.sum(1).clamp(min=1)
        hidden, _ = self.lstm(torch.cat([self.words(ids), spelt.unsqueeze(0)], 2))
        return self.head(hidden)


def _spelling(path, target):
    def encode(sentences):
        (words,) = sentences
        spelt = [[LETTERS.index(c) if c in LETTERS else 1 for c in word] for word in words]
        longest = max(map(len, spelt))
        ids = torch.tensor([[WORD_IDS.get(word, 1) for word in words]])
        return ids, torch.tensor([row + [0] * (longest - len(row)) for row in spelt])

    torch.manual_seed(12)
    names = {"unknown": "<unk>", "padding": "<pad>", "unknown_character": "<unk>", "padding_character": "<pad>"}
    spec = Spec(characters=LETTERS, **names)
    export_module(Spelling().eval(), path, vocabulary=WORD_IDS, tags=TAGS, encode=encode, spec=spec, target=target)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A fresh file of a tagger, made once for each target and decoder."""
    folder, made = tmp_path_factory.mktemp("files"), {}

    def make(target, **options):
        key = (target, *options.items())
        if key not in made:
            made[key] = _tagger(folder / f"{len(made)}.onnx", target, **options)
        return made[key]

    return make


def _edited(source, target, **edits):
    """``source`` with other metadata: key -> new text, None to leave it out, or a function of the value in JSON."""
    model = onnx.load(source)
    for entry in list(model.metadata_props):
        key = entry.key.removeprefix("lstm_deploy.")
        if key not in edits:
            continue
        edit = edits.pop(key)
        if edit is None:
            model.metadata_props.remove(entry)
        else:
            entry.value = edit if isinstance(edit, str) else json.dumps(edit(json.loads(entry.value)))
    assert not edits
    onnx.save(model, target)
    return target


def _kind(path, kind):
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return kind in {spec["kind"] for spec in json.loads(properties["lstm_deploy.inputs"])}


def _agrees(result, path):
    status, lines, errors = result
    assert (status, len(lines), errors) == (0, 1, []), (lines, errors)
    assert lines[0].startswith(f"{path}: ")
    assert "alone and in a batch: 0 disagreements" in lines[0]
    assert int(lines[0].removeprefix(f"{path}: ").split()[0]) >= 3


def _refused(result, *says):
    status, lines, errors = result
    assert (status, lines, len(errors)) == (1, [], 1), (lines, errors)
    for text in says:
        assert text in errors[0]


@pytest.mark.parametrize("target", ["portable", "tract"])
def test_words_and_subwords_agree(golden, file, target):
    path = file(target)
    assert _kind(path, "subword_ids")
    _agrees(golden(path), path)


@pytest.mark.parametrize("target", ["portable", "tract"])
def test_characters_agree(golden, tmp_path, target):
    path = _spelling(tmp_path / "a.onnx", target)
    assert _kind(path, "char_ids")
    _agrees(golden(path), path)


def test_a_crf_agrees(golden, file):
    path = file("portable", constrain="iob2")
    _agrees(golden(path), path)


def _score(cases):
    cases[1]["scores"][0] *= 1.001
    return cases


def _tag(cases):
    cases[1]["tag_ids"][0] = (cases[1]["tag_ids"][0] + 1) % len(TAGS)
    return cases


@pytest.mark.parametrize("constrain", [None, "iob2"])
@pytest.mark.parametrize(("edit", "says"), [(_score, "log-probability 1 is"), (_tag, "tag ids are")])
def test_another_golden_answer_is_caught_alone_and_in_the_batch(golden, file, tmp_path, edit, says, constrain):
    source = file("portable", constrain=constrain) if constrain else file("portable")
    status, lines, _ = golden(_edited(source, tmp_path / "a.onnx", golden=edit))
    assert status == 1
    for how in ("alone", "in a batch"):
        assert any(line.startswith(f"case 2 {how}: {says}") for line in lines[:-1])
    assert all(line.startswith("case 2 ") for line in lines[:-1])
    assert f"{len(lines) - 1} disagreements" in lines[-1]


def test_lengths_given_to_operators_are_refused_and_would_be_wrong_in_the_batch(golden, file, tmp_path):
    source = file("onnxruntime")
    _refused(golden(source), str(source), "onnxruntime", "expected openvino", "--target portable")
    status, lines, _ = golden(_edited(source, tmp_path / "a.onnx", runtimes=lambda names: [*names, "openvino"]))
    assert status == 1
    assert len(lines) > 1
    assert all(" in a batch: " in line for line in lines[:-1])


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"format_version": "6"}, 'format version is "6"'),
        ({"format_version": None}, "no metadata lstm_deploy.format_version"),
        ({"runtimes": None}, "no metadata lstm_deploy.runtimes"),
        ({"precision": "int4"}, 'precision is "int4"'),
        ({"decoder": lambda _: {"kind": "beam"}}, 'decoder is "beam"'),
        ({"inputs": lambda inputs: [*inputs, {"name": "a", "kind": "state"}]}, 'an input is "state"'),
        ({"inputs": lambda inputs: [spec | {"rows": 2} for spec in inputs]}, "expected ids below 2"),
        ({"tags": lambda tags: tags[1:]}, "scores of another shape"),
        ({"golden": lambda cases: [case | {"tag_ids": case["tag_ids"] * 2} for case in cases]}, "no tag for each"),
        ({"golden": lambda cases: []}, "no golden cases"),
        ({"golden": "["}, "not as in FORMAT.md"),
        ({"golden": lambda cases: [case | {"inputs": {}} for case in cases]}, "not as in FORMAT.md"),
    ],
)
def test_what_it_does_not_know_is_refused_in_one_line(golden, file, tmp_path, edits, says):
    path = _edited(file("portable"), tmp_path / "a.onnx", **edits)
    _refused(golden(path), str(path), says)


def test_what_is_no_model_is_refused_in_one_line(golden, tmp_path):
    (tmp_path / "a.onnx").write_text("no model")
    (tmp_path / "b.onnx").write_bytes(b"")
    _refused(golden(tmp_path / "a.onnx"), "a.onnx", "expected what lstm-deploy export wrote")
    _refused(golden(tmp_path / "b.onnx"), "b.onnx", "no metadata")
    _refused(golden(tmp_path / "none.onnx"), "none.onnx", "no such file")
    _refused(golden(tmp_path), "no such file")
    _refused(golden(), "got 0 arguments; expected one")


def test_a_case_of_no_tokens_is_left_out(golden, file, tmp_path):
    empty = {"tokens": [], "inputs": {"word_ids": [], "subword_ids": []}, "tag_ids": [], "tags": [], "scores": []}
    path = _edited(file("portable"), tmp_path / "a.onnx", golden=lambda cases: [empty | {"text": ""}, *cases])
    _agrees(golden(path), path)

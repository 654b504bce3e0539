"""Every command of the README is run, in order, as a reader would type it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]


OWN = """
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(6, 8), nn.LSTM(8, 6, bidirectional=True), nn.Linear(12, 3)

    def forward(self, sentence):
        states, _ = self.lstm(self.embedding(sentence).view(len(sentence), 1, -1))
        return self.head(states.view(len(sentence), -1))

make = Tagger
"""
CARD = """
description = "Tags."
licence = "MIT"
data = [{name = "Pets", licence = "MIT"}]
"""
SAVE = "import torch, my_tagger; torch.save(my_tagger.make().state_dict(), 'my_tagger.pt')"


def _kind(command: str) -> str:
    return next(kind for kind in ("pip install", "make", "lstm-deploy", "echo") if command.startswith(kind))


def test_every_command_is_of_a_kind_that_is_tested():
    assert COMMANDS
    for command in COMMANDS:
        _kind(command)


def test_installation_lines_name_real_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [name for c in COMMANDS if _kind(c) == "pip install" for name in re.findall(r"\[([\w,]+)\]", c)]
    assert named
    assert {extra for names in named for extra in names.split(",")} <= set(extras)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", [c for c in COMMANDS if _kind(c) == "make"])
def test_make_targets_exist(command):
    subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_every_lstm_deploy_command_runs_in_the_order_of_the_readme(tmp_path):
    shutil.copytree(ROOT / "exported", tmp_path / "exported", ignore=shutil.ignore_patterns("ewt.onnx", "tagger.onnx"))
    _small_corpus(tmp_path)
    _stand_ins(tmp_path / "exported")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = 0
    for command in COMMANDS:
        if _kind(command) in ("lstm-deploy", "echo"):
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            cuda = "--provider cuda" in command
            assert done.returncode == 0 or (cuda and "CUDA is not available" in done.stderr), (
                f"{command}\n{done.stderr}"
            )
            ran += 1
    assert ran > 5


def test_python_examples_run(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "exported", tmp_path / "exported")
    shutil.copy(tmp_path / "exported" / "tutorial.onnx", tmp_path / "exported" / "tagger.onnx")
    shutil.copy(ROOT / "tests" / "runtime" / "data" / "streaming.onnx", tmp_path / "exported" / "stream.onnx")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_map_names_every_module():
    modules = [path for path in (ROOT / "lstm_deploy").rglob("*.py") if path.name != "__init__.py"]
    scripts = list((ROOT / "recipes").rglob("*.py"))
    assert len(modules) > 100
    assert scripts
    for path in [*modules, *scripts]:
        assert path.name in README, f"{path.relative_to(ROOT)} is missing from the README's map of files"


def test_the_readme_names_every_released_model():
    recipes = list((ROOT / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        shipped = tomllib.loads(path.read_text(encoding="utf-8"))["release"]["ship"]
        assert not shipped or f"`{path.stem}`" in README or path.stem == "tutorial"


def test_figures_of_released_models_are_those_that_were_measured():
    results = ROOT / "benchmarks" / "results"
    models = json.loads((results / "models.json").read_bytes())["models"]
    speed = json.loads((results / "models-speed.json").read_bytes())
    spacy = speed["peers"]["spaCy"]["tokens_per_second"]
    rows = {line.split("`")[1]: line for line in README.splitlines() if line.startswith("| `en-")}
    scored = {split: entry["report"] for split, entry in models["en-upos"]["evals"].items()}
    assert f"{100 * scored['test']['accuracy']:.2f} % on EWT's test" in rows["en-upos"]
    assert f"{100 * scored['gum']['accuracy']:.2f} % on GUM's dev" in rows["en-upos"]
    assert f"{100 * scored['raw']['upos']['f1']:.2f} % F1" in rows["en-segmenter"]
    times = {name: speed["models"][name]["tokens_per_second"] / spacy for name in ("en-upos-int8", "en-upos-small")}
    small = f"{100 * models['en-upos-small']['evals']['test']['report']['accuracy']:.2f} %"
    small += f" in {models['en-upos-small']['bytes'] / 1e6:.1f} MB: {int(times['en-upos-small'])} times spaCy"
    assert f"{int(times['en-upos-int8'])} times spaCy; {small}" in rows["en-upos-int8"]
    proof = models["en-upos"]["verified"]["corpus"]
    assert proof["tag_differences"] == 0
    said = f"all {proof['tokens']:,} test tokens; the largest difference of a log-probability is "
    assert f"{said}{proof['max_difference']:.1e}." in README


def _small_corpus(folder: Path) -> None:
    """Files under the names that the README uses, small enough to train on in seconds."""
    words = [("the", "DET"), ("cat", "NOUN"), ("dogs", "NOUN"), ("saw", "VERB"), ("a", "DET"), ("bird", "NOUN")]
    rows = [f"{i}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_" for i, (word, tag) in enumerate(words, 1)]
    for name in ("train.conllu", "dev.conllu", "test.conllu"):
        (folder / name).write_text(("\n".join(rows) + "\n\n") * 8, encoding="utf-8")
    (folder / "card.toml").write_text(CARD, encoding="utf-8")
    (folder / "my_tagger.py").write_text(OWN, encoding="utf-8")
    (folder / "words.json").write_text(json.dumps([word for word, _ in words]), encoding="utf-8")
    (folder / "tags.json").write_text('["DET", "NOUN", "VERB"]', encoding="utf-8")
    subprocess.run([sys.executable, "-c", SAVE], cwd=folder, check=True)
    (folder / "corpus").mkdir()
    for name in ("a", "b"):
        pq.write_table(pa.table({"text": ["They ate the fish", "the cat"]}), folder / "corpus" / f"{name}.parquet")
    (folder / "corpus" / "c.jsonl").write_text('{"tokens": ["the", "cat"]}\n', encoding="utf-8")
    (folder / "sentences.txt").write_text("They ate the fish\nthe cat saw a bird\n", encoding="utf-8")


def _stand_ins(exported: Path) -> None:
    """The tutorial's model under the names of released models that are not built yet."""
    for path in (ROOT / "recipes").glob("*.toml"):
        if not (exported / f"{path.stem}.onnx").exists():
            shutil.copy(exported / "tutorial.onnx", exported / f"{path.stem}.onnx")

"""The JavaScript client in clients/javascript: its own tests, and what Python says, in Node and in Chromium."""

import importlib.util
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import javascript_fixture
import pytest

from lstm_deploy import Predictor
from lstm_deploy.streaming import open_predictor

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
MODELS = [
    *sorted((ROOT / "tests" / "runtime" / "data").glob("subword*.onnx")),
    *(path for name in ("ewt", "ewt-int8") if (path := ROOT / "exported" / f"{name}.onnx").exists()),
]
SENTENCES = 400

needs_node = pytest.mark.skipif(
    shutil.which("npm") is None or not (CLIENT / "node_modules").is_dir(),
    reason="no node, or no clients/javascript/node_modules: run `npm ci` there",
)
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no program chromium on PATH")


def run(*command, cwd=CLIENT, **env):
    """The output of a command in the client's folder, which has to succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {name: str(value) for name, value in env.items()},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
        check=False,
    )
    assert not done.returncode, f"{' '.join(command)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A JSON file with what Python answers to a few hundred sentences, by each model."""
    sentences = _sentences()
    answers = []
    for path in MODELS:
        predictor = open_predictor(path)
        results = predictor.predict_batch(sentences)
        answers.append(
            {
                "name": path.stem,
                "path": str(path),
                "precision": predictor.metadata.precision,
                "sentences": sentences,
                "tags": [result.tags for result in results],
                "scores": [result.scores for result in results],
            }
        )
    path = tmp_path_factory.mktemp("javascript") / "expected.json"
    path.write_text(json.dumps(answers), encoding="ascii")
    return path


def _sentences():
    """Of the English treebank where it is there, else of the model's own cases."""
    path = javascript_fixture.DATA / "ud-english-ewt" / "en_ewt-ud-test.conllu.xz"
    if not path.exists():
        cases = [case.tokens for case in Predictor.load(MODELS[0]).metadata.golden]
        return [tokens[: i % 9 + 1] for i, tokens in enumerate(cases * (SENTENCES // len(cases)))]
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        blocks = "".join(lines).split("\n\n")[:SENTENCES]
    return [[line.split("\t")[1] for line in block.splitlines() if line.split("\t")[0].isdigit()] for block in blocks]


def test_unicode_data_is_pythons():
    run(sys.executable, "scripts/make_unicode14.py", "--check")


def test_packages_are_pinned_and_no_host_is_named():
    lock = json.loads((CLIENT / "package-lock.json").read_text(encoding="utf-8"))
    own = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in own
    assert not any("resolved" in package for package in lock["packages"].values())
    for name, version in own["devDependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version


@needs_node
def test_types_and_own_tests():
    output = run("npm", "test")
    assert "# fail 0" in output or "ℹ fail 0" in output


@needs_node
def test_package_has_types_and_runs_the_readme(tmp_path):
    run("npm", "run", "package", "--", "--pack-destination", str(tmp_path))
    modules = tmp_path / "node_modules"
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:
        package.extractall(modules, filter="data")
    (modules / "package").rename(modules / "lstm-deploy")
    for name in ("onnxruntime-node", "onnxruntime-common"):
        (modules / name).symlink_to(CLIENT / "node_modules" / name)
    code = re.search(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "start.mjs").write_text(code, encoding="utf-8")
    output = run("node", str(tmp_path / "start.mjs"), cwd=ROOT)
    assert output.strip() == code.split("// ")[1].split("\n")[0]
    use = 'import { type TaggedText, Tagger, readModel } from "lstm-deploy";\n'
    (tmp_path / "use.ts").write_text(
        use + "export const text = async (tagger: Tagger): Promise<TaggedText> => tagger.tagText('a');\n"
        "export const version: number = readModel(new Uint8Array()).formatVersion;\n",
        encoding="utf-8",
    )
    options = ("--ignoreConfig", "--strict", "--noEmit", "--module", "nodenext", "--lib", "es2022,dom", "--types", "")
    run("npm", "exec", "--", "tsc", *options, str(tmp_path / "use.ts"))


@needs_node
@pytest.mark.skipif(importlib.util.find_spec("babel") is None, reason="no package babel, whose names the words are")
def test_words_of_many_scripts_are_read_as_python_reads_them(tmp_path, expected):
    path = tmp_path / "fixture.jsonl"
    count = javascript_fixture.write(path)
    print(count)
    assert count["words"] >= 100_000
    assert count["scripts"] >= 10
    output = run("npm", "run", "test:python", LSTM_DEPLOY_FIXTURE=path, LSTM_DEPLOY_EXPECTED=expected)
    assert "skipped 0" in output
    path.unlink()  # 100 MB, which pytest would keep


@needs_node
@needs_chromium
def test_chromium(expected):
    output = run("npm", "run", "test:browser", LSTM_DEPLOY_EXPECTED=expected)
    assert "skipped 0" in output

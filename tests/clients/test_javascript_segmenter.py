"""The JavaScript client cuts raw text where Python does."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from lstm_deploy import Segmenter

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
MODEL = ROOT / "tests" / "runtime" / "data" / "segmenter.onnx"
SCRIPT = """
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { Segmenter } from "./src/index.js";
const [model, texts] = process.argv.slice(-2);
const segmenter = await Segmenter.load(readFileSync(model), ort);
const found = [];
for (const text of JSON.parse(readFileSync(texts, "utf8"))) found.push(await segmenter.segment(text));
console.log(JSON.stringify(found));
"""


@pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENT / "node_modules").is_dir(),
    reason="no node, or no clients/javascript/node_modules: run `npm ci` there",
)
def test_sentences_are_pythons(tmp_path):
    drawn = random.Random(3)
    odd = [*"aZ9.'! \n\t\r\u2028é東🙂\x00\u00a0\x85", "\n\n", "Ann went to Oslo. ", "Mr. Lee didn't "]
    texts = ["".join(drawn.choice(odd) for _ in range(drawn.randrange(60))) for _ in range(200)]
    texts.append("Ann went 🙂 to Oslo. Mr. Lee  didn't go! " * 40)
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    command = ["node", "--input-type=module", "--eval", SCRIPT, "--", str(MODEL), str(path)]
    done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    segmenter = Segmenter.load(MODEL)
    for text, theirs in zip(texts, json.loads(done.stdout), strict=True):
        units = [0]
        for char in text:
            units.append(units[-1] + (2 if char > "\uffff" else 1))
        ours = [
            {"tokens": list(s.tokens), "offsets": [[units[a], units[b]] for a, b in s.offsets]}
            for s in segmenter.segment(text)
        ]
        assert theirs == ours, repr(text)

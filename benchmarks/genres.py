"""Scores the released tagger and its peers, all trained on UD English EWT, on words of other genres.

    python benchmarks/genres.py GUM.conllu.xz --output benchmarks/results/genres.json

Each contender is given the gold words and gives tags, as in run.py; in one run, so that all have the same words.
Peers that are not installed or not trained are named as absent.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from run import Contender, Running

from lstm_deploy.errors import InputError
from lstm_deploy.formats import Sentence, atomic_output, read_gold

ROOT = Path(__file__).parents[1]


def contenders(models: list[Path], peers: Path, peer_models: Path) -> tuple[list[Contender], list[str]]:
    """Ours by file name, and each peer or a line on what is missing."""
    found = [Contender(path.stem, [sys.executable, "predictor.py", str(path.resolve()), "1"]) for path in models]
    absent = []
    python = peers.absolute() / "bin" / "python"  # not resolved: the link is what makes it an environment
    for name, (script, model) in {
        "spaCy": ("spacy_tagger.py", peer_models / "spacy"),
        "UDPipe 1": ("udpipe_tagger.py", peer_models / "ewt.udpipe"),
    }.items():
        if python.exists() and model.exists():
            found.append(Contender(name, [str(python), script, "serve", str(model.resolve())]))
        else:
            absent.append(f"{name}: not there, run `make bench-peers`")
    return found, absent


def accuracies(contenders: list[Contender], gold: list[Sentence]) -> dict[str, float]:
    """The share of words that each gives the gold tag.

    Raises:
        InputError: no words.
    """
    words = sum(len(sentence.tokens) for sentence in gold)
    if not words:
        raise InputError("no words; expected at least one tagged sentence")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sentences.jsonl"
        path.write_text("".join(json.dumps(sentence.tokens) + "\n" for sentence in gold), encoding="utf-8")
        for contender in contenders:
            with closing(Running(contender)) as running:
                running.load(str(path))
                running.ask("tag")
                tags = running.tags()
            pairs = zip((tag for s in gold for tag in s.tags), (tag for row in tags for tag in row), strict=True)
            found[contender.name] = sum(right == said for right, said in pairs) / words
    return found


def score(gold: Path, name: str, models: list[Path], peers: Path, peer_models: Path) -> dict[str, Any]:
    """All that is written."""
    started, absent = contenders(models, peers, peer_models)
    sentences = list(read_gold(gold, "upos"))
    return {
        "model": models[0].stem,
        "gold": name,
        "file": gold.name,
        "sha256": hashlib.sha256(gold.read_bytes()).hexdigest(),
        "sentences": len(sentences),
        "tokens": sum(len(sentence.tokens) for sentence in sentences),
        "accuracy": accuracies(started, sentences),
        "absent": absent,
        "models": {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in models},
        "versions": {package: metadata.version(package) for package in ("onnxruntime", "numpy")},
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", type=Path, help="CoNLL-U with gold words and UPOS")
    parser.add_argument("--name", default="UD English GUM 2.16, dev", help="what that is, with its version")
    parser.add_argument("--models", type=Path, nargs="+", default=[ROOT / "exported" / "en-upos.onnx"])
    parser.add_argument("--peers", type=Path, default=Path(".peers-venv"), help="their environment")
    parser.add_argument("--peer-models", type=Path, default=Path("checkpoints/peers"))
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    result = score(args.gold, args.name, args.models, args.peers, args.peer_models)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(args.output) as stream:
        stream.write(json.dumps(result, indent=1).encode() + b"\n")
    for name, value in result["accuracy"].items():
        print(f"{name}: {100 * value:.2f} % of {result['tokens']:,} words")
    print("\n".join(result["absent"]))


if __name__ == "__main__":
    main()

"""Readers under atheris, which changes bytes towards code not yet reached: ``python -m tests.fuzz.coverage_guided``.

    python -m tests.fuzz.coverage_guided metadata --seconds 60

Needs tests/fuzz/requirements.txt. A target takes bytes, and may raise nothing but errors of ours that are one printable
line; whatever else it does libFuzzer keeps as a file ``crash-...``, ``timeout-...`` or ``oom-...`` in ``--found``.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_MOST_BYTES = {"metadata": 20_000, "model": 40_000}


def _metadata(path: Path) -> Callable[[bytes], object]:
    from lstm_deploy.metadata import ModelMetadata

    def run(data: bytes) -> object:
        """A JSON object of the string map's keys and values."""
        try:
            properties = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(properties, dict) or not all(isinstance(value, str) for value in properties.values()):
            return None
        return ModelMetadata.from_properties(properties, source="model.onnx").to_properties()

    return run


def _reader(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    def made(path: Path) -> Callable[[bytes], object]:
        from lstm_deploy.formats import LineReader, format_of, read_gold, read_sentences
        from lstm_deploy.formats.documents import read_documents
        from lstm_deploy.tokenizer import Tokenizer

        path, words = path.with_name(name), Tokenizer("words")

        def run(data: bytes) -> object:
            path.write_bytes(data)
            form = format_of(path)
            list(read_sentences(LineReader(path), form, words))
            return list(read_documents(path, "upos") if form == "conllu" else read_gold(path))

        return run

    return made


def _model(path: Path) -> Callable[[bytes], object]:
    from lstm_deploy.modelfile import read_model_file

    def run(data: bytes) -> object:
        path.write_bytes(data)
        return read_model_file(path)

    return run


TARGETS = {"metadata": _metadata, "conllu": _reader("x.conllu"), "jsonl": _reader("x.jsonl"), "model": _model}
SEEDS = {"model": _ROOT / "tests" / "runtime" / "data"}


def target(name: str, scratch: Path) -> Callable[[bytes], None]:
    """What is to be called with bytes.

    Args:
        scratch: a folder for files that the target reads.
    """
    from lstm_deploy.errors import LstmDeployError

    run = TARGETS[name](scratch / "input")

    def one(data: bytes) -> None:
        try:
            run(data)
        except LstmDeployError as e:
            if not str(e).isprintable():
                raise AssertionError(f"an error that steers a terminal: {str(e)!r}") from e

    return one


def main() -> None:
    """Runs a target until the time is over or something is found."""
    import atheris

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=_ROOT / "checkpoints" / "fuzz" / "atheris")
    given = parser.parse_args()
    given.found.mkdir(parents=True, exist_ok=True)
    scratch = given.found / "scratch"
    scratch.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=["lstm_deploy"]), contextlib.suppress(ImportError):
        one = target(given.target, scratch)
    grown = given.found / f"corpus-{given.target}"
    grown.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={given.seconds}", "-timeout=20", "-rss_limit_mb=3000", f"-artifact_prefix={given.found}/",
        f"-max_len={_MOST_BYTES.get(given.target, 4000)}",
    ]  # fmt: skip
    seeds = SEEDS.get(given.target, _HERE / "corpus" / f"seeds-{given.target}")
    atheris.Setup([sys.argv[0], *options, str(grown), str(seeds)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

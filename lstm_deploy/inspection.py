"""Everything a model file says of itself, as a JSON object and for people. Opens no session."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from .admission import admit
from .card import describe_card
from .errors import MetadataError, ModelFileError
from .metadata import FORMAT_VERSION, PREFIX
from .models import Installed

_FORBIDDEN = -1e4
"""Transitions of this score or lower are called forbidden; by custom they are -10000 or minus infinity."""
_WEIGHTS = ("float32", "float16", "int8", "uint8")


def inspect_model(path: str | Path) -> dict[str, Any]:
    """Everything about the file at ``path``.

    Raises:
        ModelFileError: it is not one of ours.
    """
    file, metadata = admit(path)
    return {
        "file": str(path),
        "bytes": file.size,
        "sha256": file.sha256,
        "format_version": int(file.properties.get(PREFIX + "format_version", FORMAT_VERSION)),
        "graph_form": metadata.graph_form,
        "runtimes": metadata.runtimes,
        "precision": metadata.precision,
        "tolerance": metadata.tolerance,
        "ir_version": file.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in file.opsets.items()},
        "producer": file.producer,
        "numbers": sum(value.size for value in file.initializers.values() if value.dtype in _WEIGHTS),
        "nodes": [{"op": node.op_type, "inputs": node.inputs, "outputs": node.outputs} for node in file.nodes],
        "inner_nodes": [{"op": n.op_type, "inputs": n.inputs, "outputs": n.outputs} for n in file.inner_nodes],
        "initializers": [
            {"name": value.name, "dtype": value.dtype, "shape": value.shape} for value in file.initializers.values()
        ],
        "inputs": metadata.inputs(),
        "outputs": metadata.outputs(),
        "decoder": metadata.decoder(),
        "column": metadata.column,
        "tags": metadata.tags,
        "tokenizer": metadata.tokenizer.to_json(),
        "training": metadata.training,
        "versions": metadata.versions,
        "proof": metadata.proof,
        "rounding": metadata.rounding,
        "golden": [vars(case) for case in metadata.golden],
        "notes": metadata.notes,
        "card": metadata.card,
        "words": metadata.vocabulary.words if metadata.vocabulary else (),
    }


def summarize_models(models: Iterable[Installed]) -> list[dict[str, Any]]:
    """Of each: ``name``, ``path``, ``bundled``, ``bytes``, ``description`` (of the card), ``tags``, ``column``,
    ``precision``, ``licence``, and ``about`` for people; of a file that is not one of ours ``about`` says what is wrong
    with it."""
    found = []
    for model in models:
        entry: dict[str, Any] = {"name": model.name, "path": str(model.path), "bundled": model.bundled}
        try:
            file, metadata = admit(model.path)
        except ModelFileError as e:
            found.append(entry | {"about": str(e)})
            continue
        description = metadata.card.get("description", "")
        licence = metadata.card.get("licence") or str(metadata.training.get("licence", "not stated"))
        about = (
            f"{description}{' ' * bool(description)}{len(metadata.tags)} tags ({metadata.column}), "
            f"{metadata.precision}, {file.size / 1e6:.1f} MB, licence {licence}, {model.path}"
        )
        facts = {
            "bytes": file.size,
            "description": description,
            "tags": metadata.tags,
            "column": metadata.column,
            "precision": metadata.precision,
            "licence": licence,
        }
        found.append(entry | facts | {"about": about})
    return found


def printable(text: str) -> str:
    """A text from a file as a terminal may have it: what would steer it, or cannot be seen, is escaped as in JSON.

    JSON so treated is still JSON, of the same value.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class TerminalWriter:
    """Lines of UTF-8 for a terminal: what `printable` escapes is escaped, but for tabs and the line feeds between rows.

    Args:
        stream: standard output, which is a terminal; files and pipes are given their bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Writes whole lines."""
        text = data.decode("utf-8", "backslashreplace")
        shown = "".join(char if char in "\t\n" else printable(char) for char in text)
        self._stream.write((text if text.isprintable() else shown).encode())
        return len(data)

    def flush(self) -> None:
        """Shows what was written."""
        self._stream.flush()


def describe(report: dict[str, Any]) -> str:
    """`inspect_model`'s report for people, several lines; nothing in them but `printable` text.

    Raises:
        MetadataError: provenance or proof are not as FORMAT.md says; no client needs them for an answer.
    """
    try:
        return _describe(report)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise MetadataError(
            f"{report['file']}: its training or proof metadata is malformed ({type(e).__name__}: {e}); "
            "see it with --json, or export the model again"
        ) from e


def _describe(report: dict[str, Any]) -> str:
    proof, training = report["proof"], report["training"]
    nodes = report["nodes"] + report["inner_nodes"]
    operators = ", ".join(f"{n} {op}" for op, n in Counter(node["op"] for node in nodes).most_common())
    words = [word for word in report["words"] if word is not None]
    tokenizer = report["tokenizer"]
    rows = [
        ("file", f"{report['file']}, {report['bytes']:,} bytes"),
        ("sha256", report["sha256"]),
        *describe_card(report["card"]),
        ("format", f"version {report['format_version']}, graph form {report['graph_form']}, IR {report['ir_version']}, "
         + ", ".join(f"{domain} opset {version}" for domain, version in report["opsets"].items())),
        ("runtimes", ", ".join(report["runtimes"]) or "none claimed"),
        ("graph", f"{len(nodes)} nodes ({operators}), {report['numbers']:,} numbers"),
        *(("input", _signature(spec)) for spec in report["inputs"]),
        *(("output", _signature(spec)) for spec in report["outputs"]),
        ("tags", f"{len(report['tags'])} ({report['column']}): {' '.join(report['tags'])}"),
        ("decoder", _decoder(report["decoder"])),
        *([("streaming", "takes a sentence in chunks of any length, with the states of the chunk before")]
          if any(spec["kind"] == "state" for spec in report["inputs"]) else []),
        ("words", _first(words, 8)),
        *(("characters", _first([c for c in spec["characters"] if c is not None], 40))
          for spec in report["inputs"] if "characters" in spec),
        ("tokenizer", _cuts(tokenizer)),
        *(("data", _source(part, source)) for part, sources in training.get("data", {}).items() for source in sources),
        ("licence", training.get("licence", "not stated")),
        *(
            ("score", f"{part}: " + ", ".join(f"{k} {100 * v:.2f} %" for k, v in scores.items() if k != "score"))
            for part, scores in training.get("scores", {}).items()
        ),
        *([("calibrated", _calibration(training["calibration"]))] if training.get("calibration") else []),
        ("made with", ", ".join(f"{package} {version}" for package, version in report["versions"].items())),
        ("proof", f"{proof['tokens']:,} tokens in {proof['batches']} batches against PyTorch: largest difference "
         f"{proof['max_difference']:.2g}, batched against alone {proof['max_batch_difference']:.2g}, "
         f"{proof['tag_differences']} tags differ, {proof['ties']} ties"
         + (f", in chunks against whole {proof['max_chunk_difference']:.2g}" if "max_chunk_difference" in proof else "")
         if proof else "none"),
        ("precision", f"{report['precision']}, tolerance {report['tolerance']:g}" + _cost(report["rounding"])),
        ("golden", f"{len(report['golden'])} cases, {sum(len(case['tokens']) for case in report['golden'])} tokens"),
        *(("note", note) for note in report["notes"]),
    ]  # fmt: skip
    return "\n".join(printable(f"{name:<10} {text}") for name, text in rows)


def _cuts(tokenizer: dict[str, Any]) -> str:
    if tokenizer["kind"] == "characters":
        return "characters: the tags say where words and sentences begin in raw text"
    return (
        f"{tokenizer['kind']}, {len(tokenizer['keep'])} words kept whole, ends cut off: "
        f"{' '.join(tokenizer['suffixes']) or 'none'}, parted at: {' '.join(tokenizer['split']) or 'none'}; a sentence "
        f"ends with {' '.join(tokenizer['ends']) or 'nothing'}"
    )


def _signature(spec: dict[str, Any]) -> str:
    details = [
        f"{key} {'none' if value is None else value}"
        for key, value in spec.items()
        if key not in ("name", "kind", "dtype", "axes", "templates", "characters", "initial")
    ]
    if "initial" in spec:
        details.append(
            f"at first {'zeros' if spec['initial'] is None else _first([f'{v:.3g}' for v in spec['initial']], 4)}"
        )
    if "templates" in spec:
        details.append("features " + " ".join(spec["templates"]))
    return f"{spec['name']}: {spec['dtype']} ({', '.join(spec['axes'])}){'; ' * bool(details)}{', '.join(details)}"


def _first(entries: list[str], most: int) -> str:
    return f"{len(entries):,}" + ": " * bool(entries) + " ".join(entries[:most]) + " ..." * (len(entries) > most)


def _decoder(spec: dict[str, Any]) -> str:
    if spec["kind"] == "argmax":
        return "the best tag of each token"
    scores = [score for row in spec["transitions"] for score in row]
    forbidden = sum(score <= _FORBIDDEN for score in scores)
    return f"the best path of a CRF: {len(scores):,} transitions, {forbidden:,} of them forbidden"


def _cost(rounding: dict[str, Any]) -> str:
    """What rounding cost, after the precision."""
    if not rounding:
        return ""
    exact = rounding["exact"]
    scores = ", ".join(f"{k} {100 * v:.2f} % (fp32 {100 * exact[k]:.2f} %)" for k, v in rounding["rounded"].items())
    return f"; on {rounding['data']}: {scores}, {100 * rounding['same_tags']:.2f} % of tags the same"


def _calibration(found: dict[str, Any]) -> str:
    return (
        f"temperature {found['temperature']:.3f}, on {found['tokens']:,} tokens of dev; log loss "
        f"{found['log_loss_before']:.4f} before, {found['log_loss_after']:.4f} with it"
    )


def _source(part: str, source: dict[str, Any]) -> str:
    """What it was trained, chosen or scored on; word vectors and a teacher's labels have other facts."""
    counts = [f"{source[unit]:,} {unit}" for unit in ("sentences", "tokens", "words") if unit in source]
    return f"{part.replace('_', ' ')}: {', '.join([source.get('name') or source['teacher'], *counts])}"

"""Lets a model file in: read once, its metadata understood, the rules kept, graph and metadata of one mind.

Everything that can be said without onnxruntime is said here, so that onnxruntime is shown nothing else.
"""

from collections import Counter
from pathlib import Path

from . import graph_rules
from .errors import MetadataError, UnsafeModelError
from .metadata import ModelMetadata
from .modelfile import ModelFile, Node, read_model_file
from .providers import RECURRENT

_CONTROL = {"If", "Loop", "Scan"}
_SELECTING = {
    "GatherND",
    "Concat",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Slice",
    "Cast",
    "Identity",
}


def admit(source: str | Path | ModelFile, sha256: str | None = None) -> tuple[ModelFile, ModelMetadata]:
    """A file, checked, and what it says of itself.

    Args:
        source: where it is, or itself, where it was read already.
        sha256: what its SHA-256 has to be, 64 hexadecimal digits.

    Raises:
        ModelFileError: it cannot be read, is not one of ours, or contradicts itself.
        UnsafeModelError: it has something that no tagger has (FORMAT.md, section 12).
        DigestError: it is another file than the digest is of.
        ValueError: ``sha256`` is no digest.
    """
    if isinstance(source, ModelFile):
        file = source
        file.check_digest(sha256)
    else:
        file = read_model_file(source, sha256)
    metadata = ModelMetadata.from_properties(file.properties, source=str(file.path))
    if fact := graph_rules.problem(file):
        raise UnsafeModelError(
            f"{file.path}: refused before it was run: {fact}; get the file again from where it was made, or export the "
            "model again"
        )
    _check_form(file, metadata)
    _check_tables(file, metadata)
    return file, metadata


def _check_form(file: ModelFile, metadata: ModelMetadata) -> None:
    """The graph is of the form and the numbers of the precision that the metadata names."""
    outer = Counter(node.op_type for node in file.nodes)
    inner = {node.op_type for node in file.inner_nodes}
    decoding = 2 if metadata.crf else 0  # Scans
    in_bytes = "If" in outer and {"Scan", "MatMulInteger", "LSTM"} <= inner
    control = {op: n for op, n in outer.items() if op in _CONTROL}
    expected = {"If": 1} if in_bytes else {}
    if control != expected | ({"Scan": decoding} if decoding else {}) or (
        not in_bytes and not RECURRENT & outer.keys()
    ):
        decoder = "with a CRF" if decoding else "without a CRF"
        raise MetadataError(
            f"{file.path}: the graph is of no form that the format knows for a file {decoder} (its control flow is "
            f"{control or 'none'}); export the model again"
        )
    halves = any(value.dtype == "float16" for value in file.initializers.values())
    rows = any(value.dtype == "int8" for value in file.initializers.values())
    precision = "int8" if in_bytes else "fp16" if halves else "rows8" if rows else "fp32"
    if precision != metadata.precision:
        raise MetadataError(
            f"{file.path}: the metadata says precision {metadata.precision}, the graph is {precision}; export again"
        )
    if metadata.graph_form in ("reverse_sequence", "gate") and any(map(_given_lengths, file.nodes)):
        raise MetadataError(
            f"{file.path}: the metadata says graph form {metadata.graph_form}, whose operators know no lengths; the "
            "graph has one with sequence_lens; export again"
        )


def _given_lengths(node: Node) -> bool:
    return node.op_type in RECURRENT and len(node.inputs) > 4 and bool(node.inputs[4])


def _check_tables(file: ModelFile, metadata: ModelMetadata) -> None:
    """The table that each id input selects from has as many rows as the metadata counts."""
    for spec in metadata.inputs():
        if "rows" not in spec:
            continue
        name = spec["name"]
        ids = _arranged(file.nodes, name)
        tables = [
            file.initializers[node.inputs[0]]
            for node in file.nodes
            if node.op_type == "Gather" and set(node.inputs[1:]) & ids and node.inputs[0] in file.initializers
        ]
        if not tables:
            raise MetadataError(f"{file.path}: no table in the graph is looked up by {name}; export the model again")
        for table in tables:
            if table.shape[:1] != (spec["rows"],):
                raise MetadataError(
                    f"{file.path}: the metadata counts {spec['rows']} rows for {name}, the graph's table "
                    f"{table.name} has the shape {table.shape}; export the model again"
                )


def _arranged(nodes: list[Node], name: str) -> set[str]:
    """Values that hold ids of input ``name`` and nothing else: itself, and what only picks or lays out some of it."""
    found = {name}
    for node in nodes:  # each stands after what it reads
        if node.op_type in _SELECTING and found.intersection(node.inputs[:1]):
            found.update(node.outputs)
    return found

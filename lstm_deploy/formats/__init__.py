"""Corpus and text files: readers that stream sentences, writers that keep what they were given.

Ours rather than a library's because three things have to hold at once that none offers: errors
that name the line, CoNLL-U written back byte for byte, and nothing to install beside the
runtime. The tests hold the CoNLL-U reader against the `conllu` package on whole treebanks.
"""

from .reading import (
    FORMATS,
    Format,
    Sentence,
    check_tags,
    default_column,
    format_of,
    read_chunks,
    read_gold,
    read_paragraphs,
    read_sentences,
)
from .streams import LineReader, atomic_output
from .writing import OUTPUT_FORMATS, OutputFormat, chunk_writer_for, writer_for

__all__ = [
    "FORMATS",
    "OUTPUT_FORMATS",
    "Format",
    "LineReader",
    "OutputFormat",
    "Sentence",
    "atomic_output",
    "check_tags",
    "chunk_writer_for",
    "default_column",
    "format_of",
    "read_chunks",
    "read_gold",
    "read_paragraphs",
    "read_sentences",
    "writer_for",
]

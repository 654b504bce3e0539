"""Files and streams through a predictor: what `lstm-deploy run` and `eval` do.

In constant memory beside the longest sentence, of raw text the longest paragraph; raw scoring holds all of its file.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .decoding import TaggedSentence
from .errors import InputError
from .formats import LineReader, Sentence, check_tags, read_gold
from .formats.documents import read_documents
from .formats.reading import CONLLU_FIELD
from .metadata import Column
from .raw_scoring import RawTextScorer
from .scoring import Scorer
from .segmentation import Segments
from .streaming import AnyPredictor, StreamingPredictor
from .windows import MARGIN, Window, join_windows, plan_windows

_PROGRESS_DELAY = 1.0  # seconds: shorter work shows no bar


def tag_sentences(
    predictor: AnyPredictor,
    sentences: Iterable[Sentence],
    *,
    one_by_one: bool = False,
    scores: bool = False,
    cut: "Cut | None" = None,
) -> Iterator[tuple[Sentence, TaggedSentence]]:
    """Each sentence with its tags, in order, read ahead by a bounded amount.

    Args:
        one_by_one: answer each sentence before the next is read, for a caller who waits for it.
        scores: whether the results have probabilities.
        cut: how long sentences are cut into windows; default: they are not.
    """
    cut = cut or Cut()
    waiting: deque[tuple[Sentence, list[Window]]] = deque()

    def parts() -> Iterator[list[str]]:
        for sentence in sentences:
            waiting.append((sentence, cut.windows(len(sentence.tokens))))
            for window in waiting[-1][1]:
                yield sentence.tokens[window.start : window.stop]

    if one_by_one:
        results = (predictor.predict(tokens, scores=scores) for tokens in parts())
    else:
        results = predictor.predict_stream(parts(), scores=scores)
    for first in results:
        sentence, windows = waiting.popleft()
        rest = islice(results, len(windows) - 1)
        yield sentence, join_windows(sentence.tokens, windows, chain([first], rest)) if len(windows) > 1 else first


@dataclass
class Cut:
    """How long sentences are cut into windows, and how many were.

    Attributes:
        window: tokens that a window keeps; None leaves all sentences whole.
        margin: tokens of context before and after them.
        sentences: how many were cut.
    """

    window: int | None = None
    margin: int = MARGIN
    sentences: int = 0

    def windows(self, length: int) -> list[Window]:
        """The windows of a sentence of ``length`` tokens, which is counted where there are several."""
        if self.window is None:
            return [Window(0, length, 0, length)]
        windows = plan_windows(length, window=self.window, margin=self.margin)
        self.sentences += len(windows) > 1
        return windows

    def summary(self) -> str:
        """What was approximated, in one line."""
        one = self.sentences == 1
        what = "1 sentence" if one else f"{self.sentences:,} sentences"
        return (
            f"{what} of more than {(self.window or 0) + 2 * self.margin:,} tokens {'was' if one else 'were'} tagged in "
            f"windows, an approximation: what is more than {self.margin:,} tokens away may not count"
        )


def tag_chunks(
    predictor: StreamingPredictor, chunks: Iterable[Sentence], *, scores: bool = False
) -> Iterator[tuple[TaggedSentence, bool]]:
    """The tags of each chunk of one text stream as soon as it is read, and whether a sentence ends there.

    An empty chunk ends a sentence.
    """
    stream = predictor.stream()
    for chunk in chunks:
        yield stream.push(chunk.tokens, scores=scores), not chunk.tokens
        if not chunk.tokens:
            stream.reset()


def with_progress(
    tagged: Iterable[tuple[Sentence, TaggedSentence]], lines: LineReader
) -> Iterator[tuple[Sentence, TaggedSentence]]:
    """The same, with a bar on standard error when that is a terminal and the work is long."""
    with tqdm(
        total=lines.size or None,
        unit="B",
        unit_scale=True,
        delay=_PROGRESS_DELAY,
        disable=sys.stderr is None or not sys.stderr.isatty(),
        dynamic_ncols=True,
    ) as bar:
        tokens = 0
        for pair in tagged:
            yield pair
            tokens += len(pair[0].tokens)
            if not bar.disable and bar.update(lines.position() - bar.n):
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-9):,.0f} tokens/s", refresh=False)


def sentences_of(segments: Segments, texts: Iterable[str], *, one_by_one: bool = False) -> Iterator[Sentence]:
    """The sentences of raw texts, each with the part of its text that it stands in.

    Args:
        one_by_one: cut each text before the next is read.
    """
    waiting: deque[str] = deque()

    def read() -> Iterator[str]:
        for text in texts:
            waiting.append(text)
            yield text

    for found in map(segments.segment, read()) if one_by_one else segments.segment_stream(read()):
        text = waiting.popleft()
        for sentence in found:
            part = text[sentence.offsets[0][0] : sentence.offsets[-1][1]]
            yield Sentence(list(sentence.tokens), text=part)


def evaluate_raw(
    gold: str | Path, segments: Segments, predictor: AnyPredictor | None = None, column: Column | None = None
) -> dict[str, Any]:
    """The report of `lstm_deploy.raw_scoring`: sentences and words found in the text of a treebank, and their tags.

    Args:
        gold: CoNLL-U.
        predictor: what tags the words; None: they are not tagged.
        column: where the gold tags are; default: the predictor's.

    Raises:
        InputError: malformed, without a sentence, or not in CoNLL-U; or it has no such column.
    """
    column = (column or predictor.metadata.column) if predictor else None
    if predictor and column not in CONLLU_FIELD:
        raise InputError(f"{gold}: CoNLL-U has no column {column}; pass --column upos or xpos")
    scorer = RawTextScorer(column)
    documents = list(read_documents(gold, column))
    if not documents:
        raise InputError(f"{gold}: no sentences; expected at least one")
    found = list(segments.segment_stream(document.text for document in documents))
    if predictor:
        words = (sentence.tokens for sentences in found for sentence in sentences)
        results = predictor.predict_stream(words, scores=False)
    for document, sentences in zip(documents, found, strict=True):
        tags = [next(results).tags for _ in sentences] if predictor else None
        scorer.add(document, [sentence.offsets for sentence in sentences], tags)
    return scorer.report()


def evaluate_file(
    predictor: AnyPredictor, gold: str | Path, column: Column | None = None, *, unseen_is_wrong: bool = False
) -> dict[str, Any]:
    """The report of `lstm_deploy.scoring` for a gold file.

    Args:
        column: where the gold tags are; default: the model's.
        unseen_is_wrong: count a word whose gold tag the model does not have as wrong.

    Raises:
        InputError: malformed, or without a sentence.
        UnknownTagError: a gold tag that the model does not have, unless ``unseen_is_wrong``.
    """
    tags, vocabulary = predictor.metadata.tags, predictor.metadata.vocabulary
    sentences = read_gold(gold, column or predictor.metadata.column)
    if not unseen_is_wrong:
        sentences = check_tags(gold, sentences, tags)
    scorer = Scorer(tags)
    for sentence, result in tag_sentences(predictor, sentences, scores=True):
        unknown = [token not in vocabulary for token in sentence.tokens] if vocabulary else None
        scorer.add(sentence.tags, result.tags, unknown, result.scores)
    report = scorer.report()
    if not report["sentences"]:
        raise InputError(f"{gold}: no sentences; expected at least one tagged sentence")
    return report

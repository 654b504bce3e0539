"""Files and streams through a predictor: what `lstm-deploy run` and `eval` do, in constant memory."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .decoding import TaggedSentence
from .errors import InputError
from .formats import LineReader, Sentence, check_tags, read_gold
from .metadata import Column
from .predictor import Predictor
from .scoring import Scorer

_PROGRESS_DELAY = 1.0  # seconds: shorter work shows no bar


def tag_sentences(
    predictor: Predictor, sentences: Iterable[Sentence], *, one_by_one: bool = False, scores: bool = False
) -> Iterator[tuple[Sentence, TaggedSentence]]:
    """Each sentence with its tags, in order, read ahead by a bounded amount.

    Args:
        one_by_one: answer each sentence before the next is read, for a caller who waits for it.
        scores: whether the results have probabilities.
    """
    if one_by_one:
        yield from ((sentence, predictor.predict(sentence.tokens, scores=scores)) for sentence in sentences)
        return
    waiting: deque[Sentence] = deque()

    def tokens() -> Iterator[list[str]]:
        for sentence in sentences:
            waiting.append(sentence)
            yield sentence.tokens

    for result in predictor.predict_stream(tokens(), scores=scores):
        yield waiting.popleft(), result


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


def evaluate_file(
    predictor: Predictor, gold: str | Path, column: Column | None = None, *, unseen_is_wrong: bool = False
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
    for sentence, result in tag_sentences(predictor, sentences):
        unknown = [token not in vocabulary for token in sentence.tokens] if vocabulary else None
        scorer.add(sentence.tags, result.tags, unknown)
    report = scorer.report()
    if not report["sentences"]:
        raise InputError(f"{gold}: no sentences; expected at least one tagged sentence")
    return report

"""A whole training run: data in, checkpoint folder out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ..errors import CheckpointError, InputError, OutputError
from ..formats import Sentence, check_tags
from ..formats.streams import remove_left_overs
from ..plots.curve import draw_curve
from ..tokenizer import Tokenizer
from .checkpoint import CURVE, DESCRIPTION, RESUME, WEIGHTS, Checkpoint, load_description, save_tensors, versions
from .config import Recipe
from .corpus import Corpus, read_corpus, tag_set, tutorial_corpus, vocabulary_of
from .soft_labels import read_soft_labels
from .tokenization import learn_tokenizer
from .trainer import Trainer
from .vectors import read_vectors, with_vectors

UnseenTags = Literal["error", "wrong"]
VECTOR_WORDS = 20_000
_SAMPLES = 3
_SAMPLE_TOKENS = range(3, 26)
_SAMPLE_CHARACTERS = 120


@dataclass(frozen=True)
class Data:
    """Files to train on, to choose by and to report on; no training file means the tutorial's corpus.

    Attributes:
        vectors: file or installed package of pretrained word vectors.
        vector_words: how many of its most frequent words become known words, beside those of the training data.
        vectors_licence: theirs, where the package does not state it.
        soft_labels: folder of a teacher's labels.
    """

    train: Sequence[Path] = ()
    dev: Path | None = None
    test: Path | None = None
    vectors: str | None = None
    vector_words: int = VECTOR_WORDS
    vectors_licence: str | None = None
    soft_labels: Path | None = None


def train_tagger(
    recipe: Recipe,
    data: Data,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    unseen_tags: UnseenTags = "error",
    report: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Trains by ``recipe`` and leaves a finished checkpoint in ``output``.

    A folder that holds a finished checkpoint keeps it, whole, until the new one is finished.

    Args:
        resume: go on where a run with the same recipe and data was stopped.
        overwrite: replace another run's checkpoint.
        unseen_tags: what a dev or test tag that training lacks is.
        report: is given lines on what happens.

    Raises:
        InputError: malformed or empty data.
        CheckpointError: ``output`` holds another or an unfinished run.
        OutputError: ``output`` cannot be written.
    """
    train = read_corpus(data.train, recipe.column) if data.train else tutorial_corpus()
    tags = tag_set(train.sentences)
    held_out = {
        name: _read_held_out(path, recipe, tags, unseen_tags)
        for name, path in (("dev", data.dev), ("test", data.test))
        if path is not None
    }
    sources = {"train": train.sources} | {name: corpus.sources for name, corpus in held_out.items()}
    pretrained = read_vectors(data.vectors, data.vectors_licence) if data.vectors else None
    if pretrained:
        sources["vectors"] = [pretrained.source | {"added": data.vector_words}]
        recipe = replace(recipe, model=replace(recipe.model, vectors=pretrained.values.shape[1]))
    soft = read_soft_labels(data.soft_labels, tags) if data.soft_labels else None
    if soft and recipe.model.crf:
        raise InputError("a teacher's labels are for single tokens; train with --soft-labels or with --crf")
    if soft:
        sources["soft_labels"] = [soft.source]
        report(f"{soft.source['tokens']} tokens labelled by {soft.source['teacher']}")
    for source in train.sources:
        if whole := source.get("multiword_tokens_kept_whole"):
            report(f"{source['name']}: {whole} of {source['multiword_tokens']} multiword tokens are learnt as one word")
    identity = {"recipe": recipe.to_json(), "data": sources}
    _prepare(output, identity, resume=resume, overwrite=overwrite, report=report)
    vocabulary, singletons = vocabulary_of(train.sentences, recipe.model.case)
    vectors = None
    if pretrained:
        vocabulary, vectors = with_vectors(vocabulary, pretrained, data.vector_words)
    checkpoint = Checkpoint(
        recipe,
        vocabulary,
        tags,
        _tokenizer(recipe, train, bool(data.train)),
        samples=_samples(held_out.get("dev", train).sentences, recipe.column == "segmentation"),
    )
    report(f"{train.tokens} tokens in {len(train.sentences)} sentences, {len(vocabulary)} words, {len(tags)} tags")
    trainer = Trainer(checkpoint, output, singletons=singletons, identity=identity, vectors=vectors, soft=soft)
    progress = trainer.run(train.sentences, held_out["dev"].sentences if "dev" in held_out else (), report)
    scored = held_out or {"train": train}
    scores = {name: trainer.score(corpus.sentences) for name, corpus in scored.items()}
    for name, figures in scores.items():
        report(
            f"{name}: " + ", ".join(f"{key} {100 * value:.2f} %" for key, value in figures.items() if key != "score")
        )
    checkpoint.provenance = {
        "data": sources,
        "licence": recipe.licence,
        "scores": scores,
        "calibration": progress.calibration,
        "epochs": progress.epoch,
        "kept_epoch": progress.best_epoch,
        "versions": versions(),
    }
    save_tensors(output / WEIGHTS, trainer.model.state_dict())  # both now: whoever is killed between is told so
    checkpoint.save_description(output)
    draw_curve(progress.history, output / CURVE)
    (output / RESUME).unlink(missing_ok=True)
    return checkpoint


def _tokenizer(recipe: Recipe, train: Corpus, learned: bool) -> Tokenizer:
    if recipe.column == "segmentation":
        return Tokenizer("characters")
    return learn_tokenizer(train.sentences) if learned else Tokenizer("whitespace")


def _read_held_out(path: Path, recipe: Recipe, tags: tuple[str, ...], unseen_tags: UnseenTags) -> Corpus:
    corpus = read_corpus([path], recipe.column, held_out=True)
    if unseen_tags == "error":
        corpus.sentences = list(check_tags(path, corpus.sentences, tags))
    return corpus


def _prepare(
    output: Path, identity: dict[str, Any], *, resume: bool, overwrite: bool, report: Callable[[str], None]
) -> None:
    """Makes the folder, or refuses to touch another run's."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{output}: cannot make the checkpoint folder ({e.strerror}); pass another --output") from e
    remove_left_overs(output)  # of a run that was killed while it wrote
    if overwrite:
        (output / RESUME).unlink(missing_ok=True)
        return
    if (output / RESUME).exists():
        if not resume:
            raise CheckpointError(
                f"{output}: holds an unfinished run; go on with --resume, or start again with --overwrite"
            )
        return
    if resume:
        report(f"{output}: nothing to resume, starting from the beginning")
    if (output / WEIGHTS).exists() and (output / DESCRIPTION).exists():
        old = load_description(output)
        if {"recipe": old.recipe.to_json(), "data": old.provenance.get("data")} != identity:
            raise CheckpointError(
                f"{output}: holds a checkpoint of another run; pass another --output, or replace it with --overwrite"
            )


def _samples(sentences: Sequence[Sentence], spelt: bool) -> list[dict[str, Any]]:
    """A few short sentences, or of characters the beginnings of windows, for the golden cases of the exported file."""
    if spelt:
        parts = [sentence.tokens[:_SAMPLE_CHARACTERS] for sentence in sentences[:_SAMPLES]]
        return [{"tokens": tokens, "text": "".join(tokens)} for tokens in parts]
    short = (sentence for sentence in sentences if len(sentence.tokens) in _SAMPLE_TOKENS)
    return [{"tokens": sentence.tokens, "text": sentence.text} for sentence in islice(short, _SAMPLES)]

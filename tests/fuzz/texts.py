"""Hostile text through tokenizers, ids, and every kind of model that there is."""

from pathlib import Path
from typing import Any

import numpy as np

from . import hostile
from .classes import FuzzClass, Wrong

_ROOT = Path(__file__).parents[2]
_DATA = _ROOT / "tests" / "runtime" / "data"
MODELS = (
    _ROOT / "exported" / "tutorial.onnx",
    *(_DATA / f"{name}.onnx" for name in ("subword", "subword-int8", "characters", "characters-crf", "streaming")),
    _DATA / "segmenter.onnx",
)
_MOST_LONG = 2000
"""Characters of a text that goes through a model of characters, which spells a batch as wide as its longest word."""


class Texts(FuzzClass):
    """Twenty texts a case: each cut and encoded, all together and some alone through one of the models."""

    name = "texts"
    about = (
        "hostile text through every tokenizer, and every kind of model: alone and in a batch, in chunks, as documents"
    )
    wanted = 1_000_000
    per_case = 20
    memory = 4 << 30

    def prepare(self) -> None:
        """Opens the models."""
        from lstm_deploy import Predictor, Segmenter, StreamingPredictor
        from lstm_deploy.sentence_rules import SentenceRules
        from lstm_deploy.tokenizer import Tokenizer

        self.tokenizers = (
            Tokenizer("whitespace"),
            Tokenizer("characters"),
            Tokenizer("words"),
            Tokenizer("words", frozenset({"Mr.", ":)", "o'clock", "U.S."}), ("'s", "n't", "'ll", "s"), "-"),
            Tokenizer("words", frozenset({"İst.", "東京"}), ("'da", "ı", "的", "\U00010428"), "'’/·"),
        )
        self.rules = [SentenceRules(t) for t in self.tokenizers if t.kind != "characters"]
        self.predictors: list[Any] = []
        for path in MODELS:
            kind = StreamingPredictor if path.stem == "streaming" else Predictor
            self.predictors.append(kind.load(path, threads=1))
        self.segmenter = Segmenter.of(self.predictors[-1])

    def case(self, index: int) -> dict[str, Any]:
        """The model's number, and texts."""
        drawn = self.drawn(index)
        model = index % len(MODELS)
        known = "thecatefisAnLgwtoO ny.,!'d" if MODELS[model].stem.startswith("characters") else ""
        return {"model": model, "texts": [hostile.text(drawn, known) for _ in range(self.per_case)]}

    def one(self, case: dict[str, Any]) -> str:
        """All that holds of any text."""
        predictor, texts = self.predictors[case["model"]], case["texts"]
        for number, text in enumerate(texts):
            self._cut(self.tokenizers[number % len(self.tokenizers)], text)
        tokenizer = predictor.metadata.tokenizer
        sentences = [tokenizer.tokens(text[:_MOST_LONG] if predictor.metadata.characters else text) for text in texts]
        sentences = [tokens for tokens in sentences if self._is_known(predictor, tokens)]
        together = predictor.predict_batch(sentences)
        for tokens, result in zip(sentences, together, strict=True):
            self._check(predictor, tokens, result)
        self._ids(predictor, sentences)
        for number in range(0, len(sentences), 7):
            self._alone(predictor, sentences[number], together[number])
        self._whole(predictor, texts[0])
        if case["model"] == len(MODELS) - 1:
            self._segmented(texts)
        else:
            self._ruled(texts[1])
        return "answered"

    def _cut(self, tokenizer: Any, text: str) -> None:
        from lstm_deploy.unicode14 import classes

        tokens, spans = tokenizer.cut(text)
        if len(tokens) != len(spans):
            raise Wrong(f"{len(tokens)} tokens, {len(spans)} spans of {text!r:.200}")
        at = 0
        gaps = []
        for token, (start, end) in zip(tokens, spans, strict=True):
            if start < at or end <= start or (tokenizer.kind != "characters" and text[start:end] != token):
                raise Wrong(f"span {start, end} of {token!r:.60} after {at} in {text!r:.200}")
            gaps.append(text[at:start])
            at = end
        if set(classes("".join([*gaps, text[at:]]))) - {"s"}:
            raise Wrong(f"tokens leave out more than white space of {text!r:.200}")

    def _is_known(self, predictor: Any, tokens: list[str]) -> bool:
        """Whether the model takes them; what it does not it has to refuse."""
        from lstm_deploy.errors import UnknownCharacterError, UnknownWordError

        metadata = predictor.metadata
        words, spelt = metadata.vocabulary, metadata.characters
        known = (not words or words.unknown_id is not None or all(t in words for t in tokens)) and (
            not spelt or spelt.unknown_id is not None or all(_spells(spelt, t) for t in tokens)
        )
        if not known:
            try:
                predictor.predict(tokens)
            except (UnknownWordError, UnknownCharacterError) as e:
                if not str(e).isprintable():
                    raise Wrong(f"an error that steers a terminal: {str(e)!r:.300}") from e
            else:
                raise Wrong(f"an answer to what the model does not know: {tokens!r:.200}")
        return known

    def _check(self, predictor: Any, tokens: list[str], result: Any) -> None:
        if not len(tokens) == len(result.tags) == len(result.scores) or result.tokens != tuple(tokens):
            raise Wrong(f"{len(tokens)} tokens, {len(result.tags)} tags, {len(result.scores)} scores")
        if not set(result.tags) <= set(predictor.metadata.tags):
            raise Wrong(f"tags {set(result.tags)!r:.200} are not the model's")
        scores = np.array(result.scores)
        if not (np.isfinite(scores) & (scores >= 0) & (scores <= 1 + 1e-6)).all():
            raise Wrong(f"scores from {scores.min()} to {scores.max()} of {tokens!r:.200}")

    def _alone(self, predictor: Any, tokens: list[str], together: Any) -> None:
        """The same as in a batch; where the best tags tie, either."""
        alone = predictor.predict(tokens)
        loose = 0.15 if predictor.metadata.precision == "int8" else 1e-4
        with np.errstate(divide="ignore"):
            apart = np.abs(np.log(np.array(alone.scores)) - np.log(np.array(together.scores)))
        if (apart > loose).any():
            raise Wrong(f"scores alone and in a batch are {apart.max():.3g} apart: {tokens!r:.300}")
        if loose < 0.1 and alone.tags != together.tags and not predictor.metadata.crf:
            raise Wrong(f"other tags in a batch: {tokens!r:.300}")
        if predictor.metadata.states:
            stream, tags = predictor.stream(), []
            for at in range(0, len(tokens), 3):
                tags += stream.push(tokens[at : at + 3]).tags
            if tuple(tags) != alone.tags:
                raise Wrong(f"other tags in chunks: {tokens!r:.300}")

    def _ids(self, predictor: Any, sentences: list[list[str]]) -> None:
        if not any(sentences):
            return
        inputs = predictor.encoder.encode(sentences)
        rows = {spec["name"]: spec["rows"] for spec in predictor.metadata.inputs() if "rows" in spec}
        for name, most in rows.items():
            if inputs[name].min() < 0 or inputs[name].max() >= most:
                raise Wrong(f"{name} from {inputs[name].min()} to {inputs[name].max()}; the model has {most}")
        if inputs["lengths"].tolist() != list(map(len, sentences)):
            raise Wrong("lengths are not those of the sentences")

    def _whole(self, predictor: Any, text: str) -> None:
        if predictor.metadata.characters or not self._is_known(predictor, predictor.metadata.tokenizer.tokens(text)):
            return
        result = predictor.predict_text(text)
        if result.text != text or len(result.offsets) != len(result.tokens) or len(result.tags) != len(result.tokens):
            raise Wrong(f"offsets or tags of another number than tokens: {text!r:.200}")

    def _segmented(self, texts: list[str]) -> None:
        for text, sentences in zip(texts, self.segmenter.segment_stream(texts), strict=True):
            self._sentences(text, sentences)

    def _ruled(self, text: str) -> None:
        for rules in self.rules:
            self._sentences(text, rules.segment(text))

    def _sentences(self, text: str, sentences: list[Any]) -> None:
        from lstm_deploy.unicode14 import classes

        at, gaps = 0, []
        for sentence in sentences:
            if not sentence.offsets or len(sentence.offsets) != len(sentence.tokens):
                raise Wrong(f"a sentence without words in {text!r:.200}")
            for start, end in sentence.offsets:
                if start < at or end <= start:
                    raise Wrong(f"offsets {start, end} after {at} in {text!r:.200}")
                gaps.append(text[at:start])
                at = end
        if set(classes("".join([*gaps, text[at:]]))) - {"s"}:
            raise Wrong(f"sentences leave out more than white space of {text!r:.200}")


def _spells(table: Any, token: str) -> bool:
    try:
        table.ids(token)
    except ValueError:
        return False
    return True


CLASSES = (Texts(),)

"""Raw text -> sentences of words, by a tagger of characters."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import ModelFileError
from .metadata import ModelMetadata
from .predictor import Predictor
from .segmentation import Characters, Span, TextSentence, characters, cut, paragraphs
from .windows import Window, plan_windows

WINDOW, MARGIN = 800, 100
"""Characters that are tagged together at most, less the margins of a window; paragraphs longer than that are rare."""


class Segmenter:
    """Cuts raw text by one model file of column ``segmentation``. Thread-safe and picklable as its `Predictor` is.

    Paragraphs are tagged each for itself, so what one is cut into depends on no other; long ones in overlapping windows
    of `WINDOW` characters.

    Attributes:
        path: the model file.
        metadata: what the file says of itself.
        provider, provider_reason: what it really runs on, and why.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.path: Path = predictor.path
        self.metadata: ModelMetadata = predictor.metadata
        self.provider = predictor.provider
        self.provider_reason = predictor.provider_reason
        self._predictor = predictor

    @classmethod
    def load(cls, path: str | Path, provider: Any = "cpu", **settings: Any) -> "Segmenter":
        """The segmenter for a file made by ``lstm-deploy export`` of a checkpoint of column ``segmentation``.

        Args:
            path: the ONNX file.
            provider, settings: those of `Predictor.load`.

        Raises:
            ModelFileError: as `Predictor.load`; or the file tags words.
            ProviderError, MissingDependencyError, ValueError: as `Predictor.load`.
        """
        return cls.of(Predictor.load(path, provider, **settings))

    @classmethod
    def of(cls, predictor: Predictor) -> "Segmenter":
        """The segmenter that runs on ``predictor``.

        Raises:
            ModelFileError: its file tags words, or is a streaming one.
        """
        if predictor.metadata.states:
            raise ModelFileError(
                f"{predictor.path}: a streaming file, which takes sentences in chunks; expected one for whole "
                "paragraphs; export it without --streaming"
            )
        if predictor.metadata.column != "segmentation":
            raise ModelFileError(
                f"{predictor.path}: tags of column {predictor.metadata.column}; expected a segmenter, of column "
                "segmentation; train one with --column segmentation"
            )
        return cls(predictor)

    def __reduce__(self) -> tuple[Callable[..., "Segmenter"], tuple[object, ...]]:
        return Segmenter.of, (self._predictor,)

    def segment(self, text: str) -> list[TextSentence]:
        """The sentences of ``text``, in order; together their words hold all of it but white space."""
        return next(self.segment_stream([text]))

    def segment_stream(self, texts: Iterable[str]) -> Iterator[list[TextSentence]]:
        """`segment` for each text, lazily, in order; paragraphs of many texts run together.

        Reads ahead as `Predictor.predict_stream` does.
        """
        waiting: deque[tuple[str, list[tuple[Span, Characters, list[Window]]]]] = deque()

        def parts() -> Iterator[list[str]]:
            for text in texts:
                planned = []
                for start, end in paragraphs(text):
                    found = characters(text[start:end])
                    planned.append(((start, end), found, plan_windows(len(found.tokens), window=WINDOW, margin=MARGIN)))
                waiting.append((text, planned))
                for _, found, windows in planned:
                    for window in windows:
                        yield found.tokens[window.start : window.stop]
                yield []  # so that a text of no paragraphs has an answer, too

        results = self._predictor.predict_stream(parts(), scores=False)
        for result in results:
            text, planned = waiting.popleft()
            sentences: list[TextSentence] = []
            for (start, _), found, windows in planned:
                tags: list[str] = []
                for window in windows:
                    tags += result.tags[window.first - window.start : window.last - window.start]
                    result = next(results)
                for spans in cut(found, tags):
                    sentences.append(TextSentence.of(text, [(start + a, start + b) for a, b in spans]))
            yield sentences

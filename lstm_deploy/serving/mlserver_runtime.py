"""An MLServer runtime that speaks the Open Inference Protocol: needs the extra ``[mlserver]``.

One input, ``text`` (BYTES, one sentence a row) or, if the model's settings say so, ``tokens`` (a JSON list a row);
two outputs, ``tokens`` and ``tags`` (BYTES, a JSON list a row). MLServer merges the requests of a batch, and cuts the
answer into theirs by the shapes that they state, whatever they hold: each is checked before it can reach others.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, RequestInput, ResponseOutput
from mlserver.utils import get_model_uri

from ..errors import InputError, LstmDeployError
from ..predictor import Predictor
from .exchange import MAX_TOKENS, Question, check_size, check_text, one_line, read_tokens, status_of, tag_all, warm_up

Predict = Callable[[InferenceRequest], Awaitable[InferenceResponse]]
_INPUTS = ("text", "tokens")


class TaggerRuntime(MLModel):
    """Tags the rows of a request; ``parameters.extra`` may name input, provider, threads, max_tokens."""

    _batched: Predict | None = None

    async def load(self) -> bool:
        """Opens the model file that the settings name."""
        parameters = self.settings.parameters
        extra: dict[str, Any] = dict((parameters and parameters.extra) or {})
        self.input: str = extra.get("input", "text")
        if self.input not in _INPUTS:
            raise ValueError(f"input is {self.input!r}; expected text or tokens; change parameters.extra")
        self.max_tokens: int = extra.get("max_tokens", MAX_TOKENS)
        path = await get_model_uri(self.settings)
        self.predictor = Predictor.load(path, extra.get("provider", "cpu"), threads=extra.get("threads"))
        warm_up(self.predictor)
        self.inputs = [MetadataTensor(name=self.input, datatype="BYTES", shape=[-1])]
        self.outputs = [MetadataTensor(name=name, datatype="BYTES", shape=[-1]) for name in ("tokens", "tags")]
        return True

    @property
    def predict(self) -> Predict:
        """What answers a request.

        MLServer replaces it by its batching, which sees nothing of what it merges; then requests are checked first.
        """
        return self._checked if self._batched else self._answer

    @predict.setter
    def predict(self, batched: Predict) -> None:
        self._batched = batched

    async def _checked(self, payload: InferenceRequest) -> InferenceResponse:
        assert self._batched is not None
        # Shielded: one that is cancelled would leave the others of its batch without an answer.
        return await asyncio.shield(self._batched(_request_of(self._read(payload), self.input)))

    async def _answer(self, payload: InferenceRequest) -> InferenceResponse:
        sentences = _data(payload.inputs[0]) if self._batched else self._read(payload)
        found = (await asyncio.to_thread(tag_all, self.predictor, [Question(tuple(map(tuple, sentences)))]))[0]
        if isinstance(found, LstmDeployError):
            raise MLServerError(one_line(found), status_of(found))
        rows = {"tokens": [each.tokens for each in found], "tags": [each.tags for each in found]}
        outputs = [
            ResponseOutput(name=name, shape=[len(lists)], datatype="BYTES", data=[_json(row) for row in lists])
            for name, lists in rows.items()
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

    def _read(self, payload: InferenceRequest) -> Sequence[tuple[str, ...]]:
        try:
            sentences = [self._tokens(row, i) for i, row in enumerate(_rows(payload, self.input))]
            for sentence in filter(None, check_size(sentences, self.max_tokens)):
                self.predictor.encoder.encode_one(sentence)  # so that a word that the model lacks fails alone
            return sentences
        except LstmDeployError as e:
            raise MLServerError(one_line(e), status_of(e)) from e

    def _tokens(self, row: str, i: int) -> tuple[str, ...]:
        if self.input == "text":
            return tuple(self.predictor.metadata.tokenizer.cut(row)[0])
        try:
            value = json.loads(row)
        except (ValueError, RecursionError) as e:
            raise InputError(f"tokens[{i}] is not JSON ({e}); expected a list of strings; send one a row") from e
        return read_tokens(value, f"tokens[{i}]")


def _request_of(sentences: Sequence[tuple[str, ...]], name: str) -> InferenceRequest:
    """What may be merged with others': nothing of a client's but its tokens, and their true shape."""
    rows = RequestInput(name=name, shape=[len(sentences)], datatype="BYTES", data=list(sentences))
    return InferenceRequest(inputs=[rows])


def _rows(payload: InferenceRequest, name: str) -> list[str]:
    """The rows of the one input."""
    names = [each.name for each in payload.inputs]
    if names != [name]:
        raise InputError(f"the inputs are {names!r:.100}; expected only {name!r}; send sentences as its rows")
    given = payload.inputs[0]
    _check_form(given)
    data = _data(given)
    if not isinstance(data, list) or given.shape not in ([len(data)], [len(data), 1]):
        found = f"{len(data)} rows" if isinstance(data, list) else "no list"
        raise InputError(
            f"{name} has the shape {given.shape!r:.60} and its data {found}; expected [n] and n rows; make them agree"
        )
    return [_text(row, f"{name}[{i}]") for i, row in enumerate(data)]


def _data(given: RequestInput) -> Any:
    return getattr(given.data, "root", given.data)


def _json(row: Sequence[str]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _check_form(given: RequestInput) -> None:
    content = given.parameters.content_type if given.parameters else None
    if given.datatype != "BYTES" or content not in (None, "str"):
        raise InputError(
            f"{given.name} is {given.datatype} with content type {content!r:.40}; "
            "expected BYTES and str; send plain text"
        )


def _text(row: Any, name: str) -> str:
    if isinstance(row, bytes):
        try:
            return row.decode()
        except UnicodeDecodeError as e:
            raise InputError(f"{name} is not UTF-8 ({e.reason} at {e.start}); encode it as UTF-8") from e
    if not isinstance(row, str):
        raise InputError(f"{name} is a {type(row).__name__}; expected a string; send one sentence a row")
    return check_text(row, name)

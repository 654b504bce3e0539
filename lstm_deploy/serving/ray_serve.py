"""A Ray Serve deployment around a `Predictor`: needs the extra ``[serve]``.

Each replica loads the model once; requests that come while a batch is tagged are tagged together in the next one.
What they say and hear, `lstm_deploy.serving.exchange` knows.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import JSONResponse

from .. import __version__
from ..decoding import TaggedSentence
from ..errors import InputError, LstmDeployError
from ..predictor import Predictor
from ..providers import Provider
from .exchange import MAX_BYTES, MAX_TOKENS, Question, one_line, read_question, status_of, tag_all, to_json, warm_up

MAX_BATCH_SIZE, BATCH_WAIT_MS = 64, 2.0
"""Until the replica is told otherwise; what the wait costs a lone request, and buys where many come, was measured."""
_SETTINGS = ("max_batch_size", "batch_wait_ms")


@serve.deployment
class Tagger:
    """Tags what is sent to ``/``; tells of the model there, too, and at ``/health`` whether it is loaded."""

    def __init__(
        self,
        model: str,
        name: str | None = None,
        provider: Provider = "cpu",
        threads: int | None = None,
        max_bytes: int = MAX_BYTES,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self.predictor = Predictor.load(model, provider, threads=threads)
        self.limits = {"max_bytes": max_bytes, "max_tokens": max_tokens}
        self.about: dict[str, Any] = {
            "name": name or Path(model).stem,
            "sha256": self.predictor.session.sha256,
            "tags": self.predictor.metadata.tags,
            "provider": self.predictor.provider,
            "version": __version__,
        }
        self.counts = {"requests": 0, "batches": 0, "largest_batch": 0}
        warm_up(self.predictor)

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Takes ``user_config`` of the configuration file: batching can be tuned without loading the model again."""
        if unknown := sorted(set(user_config) - set(_SETTINGS)):
            raise ValueError(f"user_config has {unknown[0]!r}; expected only {' and '.join(_SETTINGS)}; leave it out")
        size, wait = user_config.get(_SETTINGS[0], MAX_BATCH_SIZE), user_config.get(_SETTINGS[1], BATCH_WAIT_MS)
        if size < 1 or wait < 0:
            raise ValueError(
                f"max_batch_size is {size} and batch_wait_ms {wait}; expected at least 1 and 0; change user_config"
            )
        self._tag.set_max_batch_size(size)
        self._tag.set_batch_wait_timeout_s(wait / 1000)

    async def __call__(self, request: Request) -> JSONResponse:
        """Answers one HTTP request."""
        path, method = request.scope["path"].rstrip("/") or "/", request.method
        if method in ("GET", "HEAD") and path == "/health":
            return JSONResponse({"status": "ok"})
        if path != "/":
            return _refused(404, f"no {path[:80]!r} here; expected / or /health; POST sentences to /")
        if method in ("GET", "HEAD"):
            return JSONResponse(self.about | {"counts": self.counts})
        if method != "POST":
            return _refused(405, f"{method} is not answered; expected GET or POST; POST sentences to /")
        return await self._answer(await request.body())

    async def _answer(self, body: bytes) -> JSONResponse:
        try:
            question = read_question(body, self.predictor.metadata.tokenizer, **self.limits)
        except InputError as e:
            return _refused(status_of(e), one_line(e))
        found = await self._tag(question)
        if isinstance(found, LstmDeployError):
            return _refused(status_of(found), one_line(found))
        return JSONResponse(to_json(question, found))

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_MS / 1000)
    async def _tag(self, questions: list[Question]) -> list[list[TaggedSentence] | LstmDeployError]:
        self.counts["requests"] += len(questions)
        self.counts["batches"] += 1
        self.counts["largest_batch"] = max(self.counts["largest_batch"], len(questions))
        # In a thread, so that the next requests are read, and a health check is answered, meanwhile.
        return await asyncio.to_thread(tag_all, self.predictor, questions)


def build(model: str | Path, **settings: Any) -> Application:
    """The app for one model file; ``settings`` are those of `Tagger`."""
    return Tagger.bind(str(model), **settings)


def _refused(status: int, error: str) -> JSONResponse:
    return JSONResponse({"error": error}, status_code=status)

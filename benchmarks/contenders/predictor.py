"""lstm_deploy.Predictor as a contender, as a user calls it, and a few figures that only it has.

python predictor.py MODEL THREADS
"""

import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from worker import memory, read_sentences, serve

from lstm_deploy import Predictor
from lstm_deploy.batching import plan_batches
from lstm_deploy.engine import BATCH_TOKENS


class LstmDeploy:
    """What worker.py asks of a contender, and more."""

    def __init__(self, model: str, threads: int) -> None:
        self._predictor = Predictor.load(model, threads=threads)
        self._threads = threads

    def tag(self, sentences: list[list[str]]) -> list[Any]:
        return [result.tags for result in self._predictor.predict_batch(sentences, scores=False)]

    def tag_one(self, tokens: list[str]) -> Any:
        return self._predictor.predict(tokens, scores=False).tags

    def bare(self, sentences: str) -> dict[str, float]:
        """onnxruntime alone on tensors made before, in the predictor's batches, on as many threads."""
        encode, metadata = self._predictor.encoder.encode, self._predictor.metadata
        chosen = read_sentences(sentences)
        budget = BATCH_TOKENS[metadata.graph_form]
        plan = plan_batches([len(s) for s in chosen], max_tokens=budget, workers=self._threads)
        inputs = [encode([chosen[i] for i in batch]) for batch in plan]
        run = self._predictor.session._session.run
        with ThreadPoolExecutor(self._threads) as pool:
            start = time.perf_counter()
            for _ in pool.map(lambda tensors: run(["tag_ids"], tensors), inputs):
                pass
            return {"seconds": time.perf_counter() - start}

    def bare_one(self, sentences: str) -> dict[str, list[float]]:
        """onnxruntime alone on one sentence's tensors made before."""
        run = self._predictor.session._session.run
        seconds = []
        for tokens in read_sentences(sentences):
            tensors = self._predictor.encoder.encode([tokens])
            start = time.perf_counter()
            run(["tag_ids"], tensors)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def callers(self, sentences: str, count: int, duration: float) -> dict[str, float]:
        """Tokens/s of ``count`` threads that each tag one sentence after another."""
        chosen = read_sentences(sentences)
        tokens = [0] * count
        stop = threading.Event()

        def call(caller: int) -> None:
            for sentence in itertools.cycle(chosen[caller::count] or chosen):
                if stop.is_set():
                    return
                self._predictor.predict(sentence, scores=False)
                tokens[caller] += len(sentence)

        threads = [threading.Thread(target=call, args=(i,)) for i in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(duration)
        stop.set()
        for thread in threads:
            thread.join()
        return {"tokens_per_second": sum(tokens) / (time.perf_counter() - start)}

    def stream(self, sentences: str, tokens: int) -> dict[str, float]:
        """Time and memory for an endless stream cut at ``tokens``, results thrown away as they come."""
        chosen = read_sentences(sentences)

        def source() -> Any:
            left = tokens
            for sentence in itertools.cycle(chosen):
                if left <= 0:
                    return
                left -= len(sentence)
                yield sentence

        before = memory()["mb"]
        start = time.perf_counter()
        done = sum(len(result) for result in self._predictor.predict_stream(source(), scores=False))
        seconds = time.perf_counter() - start
        return {"tokens": done, "seconds": seconds, "growth_mb": memory()["mb"] - before}

    def batches(self, sentences: str, budgets: list[int]) -> dict[str, list[float]]:
        """Seconds for all sentences with each budget of cells a batch."""
        chosen = read_sentences(sentences)
        seconds = []
        for budget in budgets:
            predictor = Predictor.load(self._predictor.path, threads=self._threads, batch_tokens=budget)
            predictor.predict_batch(chosen, scores=False)
            start = time.perf_counter()
            predictor.predict_batch(chosen, scores=False)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}


if __name__ == "__main__":
    serve(LstmDeploy(sys.argv[1], int(sys.argv[2])))

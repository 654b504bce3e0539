"""Run in MLServer's python: of four requests in a batch one is given up; prints how many others are answered."""

import asyncio
import sys

from mlserver import ModelSettings
from mlserver.batching import load_batching
from mlserver.context import model_context
from mlserver.types import InferenceRequest, RequestInput

from lstm_deploy.serving.mlserver_runtime import TaggerRuntime


async def _main(model_file):
    settings = ModelSettings(
        name="tiny", implementation=TaggerRuntime, max_batch_size=8, max_batch_time=0.3, parameters={"uri": model_file}
    )
    model = TaggerRuntime(settings)
    await model.load()
    with model_context(settings):
        await load_batching(model)
        row = RequestInput(name="text", shape=[1], datatype="BYTES", data=["Ann saw"])
        asked = [asyncio.ensure_future(model.predict(InferenceRequest(inputs=[row]))) for _ in range(4)]
        await asyncio.sleep(0.1)
        asked[1].cancel()
        done, _ = await asyncio.wait(asked, timeout=30)
    print(sum(not task.cancelled() and task.exception() is None for task in done))


asyncio.run(_main(sys.argv[1]))

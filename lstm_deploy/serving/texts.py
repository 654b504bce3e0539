"""The text files of a packaged folder, as they are before the user's settings stand in them."""

from string import Template

RAY_APP = '''"""What `serve run serve_config.yaml` starts: the model beside this file."""

from pathlib import Path
from typing import Any

from ray.serve import Application

from lstm_deploy.serving import ray_serve

MODEL = Path(__file__).resolve().with_name("model.onnx")


def build(settings: dict[str, Any]) -> Application:
    """The app; `settings` are the `args` of serve_config.yaml."""
    return ray_serve.build(MODEL, **settings)
'''

RAY_CONFIG = Template("""\
proxy_location: HeadOnly
http_options:
  host: 127.0.0.1  # 0.0.0.0 to be asked by other machines
  port: 8000
applications:
  - name: "$name"
    route_prefix: /
    import_path: app:build
    args:
      name: "$name"
      provider: $provider
      threads: 1  # of each replica; as many as its num_cpus
      max_bytes: 1048576  # of a request
      max_tokens: 16384
    deployments:
      - name: Tagger
        num_replicas: $replicas
        max_ongoing_requests: $ongoing  # of each replica: twice a batch, so that the next one fills meanwhile
        user_config:
          max_batch_size: $size  # requests that are tagged together
          batch_wait_ms: $wait  # how long the first of them waits for others
        ray_actor_options:
          num_cpus: 1$gpus
""")

RAY_README = Template("""\
# $name behind Ray Serve

Made by `lstm-deploy package --target ray-serve`. Install and start, in this folder:

```bash
pip install --requirement requirements.txt
serve run serve_config.yaml
```

Ask:

```bash
curl http://127.0.0.1:8000/ --json '{"text": "They ate the fish"}'
curl http://127.0.0.1:8000/ --json '{"sentences": [["They", "ate"], ["the", "fish"]], "scores": true}'
curl http://127.0.0.1:8000/
curl http://127.0.0.1:8000/health
```

`{"tokens": ["They", "ate"]}` is one sentence whose words are known. The answer is
`{"sentences": [{"tokens": [...], "tags": [...]}]}`, for `text` with `offsets` in code points. A bad request gets 400,
one that is too large 413, each with `{"error": "..."}`.

`serve_config.yaml` has replicas, batching and limits. On a Ray cluster that runs already, `serve deploy
serve_config.yaml` from a folder that every node has at the same path (or with a `working_dir` in a `runtime_env`).
""")

MLSERVER_README = Template("""\
# $name behind MLServer

Made by `lstm-deploy package --target mlserver`. Install and start, in this folder:

```bash
pip install --requirement requirements.txt
mlserver start .
```

Ask, in the Open Inference Protocol; each row of `text` is one sentence, each row of the outputs a JSON list:

```bash
curl http://127.0.0.1:8080/v2/models/$name/infer --json '{
  "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["They ate the fish", "Dogs bark"]}]
}'
curl http://127.0.0.1:8080/v2/models/$name
curl http://127.0.0.1:8080/v2/health/ready
```

`model-settings.json` has the batching (`max_batch_size` requests, `max_batch_time` seconds) and, under
`parameters.extra`, `input`: with `"tokens"` instead of `"text"` the rows are JSON lists of words that are known.
`settings.json` has the addresses; keep `parallel_workers` at 0, or requests are merged before they are checked.
""")

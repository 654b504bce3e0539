"""Model file in, folder out: all that a server starts from, with the commands to start and to ask it.

Knows what the servers read, and imports none of them: a folder can be made where none is installed.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .. import __version__
from ..admission import admit
from ..errors import InputError, ModelFileError, OutputError
from ..predictor import Predictor
from . import texts

Target = Literal["ray-serve", "mlserver"]
TARGETS: tuple[Target, ...] = get_args(Target)
MODEL = "model.onnx"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Settings:
    """What a server is told; each stands in the folder's configuration and can be changed there.

    Attributes:
        name: of the model.
        provider: ``cpu`` or ``cuda``.
        replicas: processes, each with the model; MLServer has one and is multiplied from outside.
        max_batch_size: requests that are tagged together, at most.
        batch_wait_ms: how long the first of them waits for others.
    """

    name: str
    provider: Literal["cpu", "cuda"] = "cpu"
    replicas: int = 1
    max_batch_size: int = 64
    batch_wait_ms: float = 2.0


def package(model: Path, target: Target, output: Path, settings: Settings) -> list[str]:
    """Writes the folder, whole or not at all; gives the names of its files.

    Raises:
        ModelFileError: the file is none of ours, or one that these servers cannot ask sentence by sentence.
        InputError: a setting that the target does not have, or a name that no address can hold.
        OutputError: the folder is there and not empty, or cannot be written.
    """
    _check_settings(target, settings)
    _check_model(model)
    files = _FILES[target](settings)
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise OutputError(
                f"{output}: is there and not empty; expected a new or an empty folder; "
                "pass another --output, or remove it"
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(f".{uuid.uuid4().hex}.partial")
        partial.mkdir()
        try:
            shutil.copyfile(model, partial / MODEL)
            for name, text in files.items():
                (partial / name).write_text(text, encoding="utf-8")
            partial.replace(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        raise OutputError(f"{output}: cannot write ({e.strerror or e}); pass an --output in a writable folder") from e
    return sorted([MODEL, *files])


def _check_settings(target: Target, settings: Settings) -> None:
    if not _NAME.fullmatch(settings.name):
        raise InputError(
            f"the name {settings.name!r:.80} cannot stand in an address; expected letters, digits, '.', '_' and '-', "
            "at most 63; pass --name"
        )
    if target == "mlserver" and settings.replicas > 1:
        raise InputError(
            f"--replicas is {settings.replicas}; expected 1, since MLServer's batching is of one process; "
            "start more of them behind a balancer, or use --target ray-serve"
        )


def _check_model(path: Path) -> None:
    _, metadata = admit(path)
    if metadata.states:
        raise ModelFileError(
            f"{path}: a streaming file, which keeps a text's state between calls; expected one for whole sentences, "
            "since a server's replicas share no state; export without --streaming"
        )
    if metadata.column == "segmentation":
        raise ModelFileError(f"{path}: a segmenter, which cuts raw text; expected a tagger of words; package a tagger")
    Predictor.load(path)


def _ray_serve(settings: Settings) -> dict[str, str]:
    values = _values(settings) | {
        "gpus": "\n          num_gpus: 1" if settings.provider == "cuda" else "",
        "ongoing": str(2 * settings.max_batch_size),
    }
    return {
        "app.py": texts.RAY_APP,
        "serve_config.yaml": texts.RAY_CONFIG.substitute(values),
        "requirements.txt": _requirements(settings, "ray[serve]>=2.40"),
        "README.md": texts.RAY_README.substitute(values),
    }


def _mlserver(settings: Settings) -> dict[str, str]:
    model = {
        "name": settings.name,
        "implementation": "lstm_deploy.serving.mlserver_runtime.TaggerRuntime",
        "platform": "onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("tokens", "tags")],
        # Below both MLServer does not batch.
        "max_batch_size": settings.max_batch_size,
        "max_batch_time": settings.batch_wait_ms / 1000,
        "parameters": {"uri": f"./{MODEL}", "extra": {"input": "text", "provider": settings.provider}},
    }
    # In the server's own process: its workers get requests that were merged before anyone could check them.
    server = {"host": "127.0.0.1", "http_port": 8080, "grpc_port": 8081, "metrics_port": 8082, "parallel_workers": 0}
    return {
        "model-settings.json": json.dumps(model, indent=2) + "\n",
        "settings.json": json.dumps(server, indent=2) + "\n",
        "requirements.txt": _requirements(settings, "mlserver>=1.6"),
        "README.md": texts.MLSERVER_README.substitute(_values(settings)),
    }


_FILES: Mapping[Target, Callable[[Settings], dict[str, str]]] = {"ray-serve": _ray_serve, "mlserver": _mlserver}


def _values(settings: Settings) -> dict[str, str]:
    return {
        "name": settings.name,
        "provider": settings.provider,
        "replicas": str(settings.replicas),
        "size": str(settings.max_batch_size),
        "wait": f"{settings.batch_wait_ms:g}",
    }


def _requirements(settings: Settings, server: str) -> str:
    build = "gpu" if settings.provider == "cuda" else "cpu"
    return f"lstm-deploy[{build}]>={__version__}\n{server}\n"

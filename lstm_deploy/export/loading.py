"""Somebody's module, weights and names from what a command line can say: import paths and files."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from ..errors import CheckpointError, InputError
from .exporter import Exported
from .module import export_module
from .spec import Names, Spec
from .targets import Target


def export_files(
    factory: str,
    output: Path,
    *,
    weights: Path | None,
    vocabulary: Path,
    tags: Path,
    entry: str = "forward",
    encode: str | None = None,
    spec: Path | None = None,
    unknown: str | None = None,
    streaming: bool = False,
    target: Target | None = None,
    card: Mapping[str, Any] | None = None,
) -> Exported:
    """`export_module` for a module that ``package.module:factory`` makes, or is.

    Args:
        weights: safetensors, or a state dict saved by ``torch.save``; None: as the factory makes it.
        vocabulary, tags: JSON, an object name -> id or a list.
        encode: ``package.module:function``.
        spec: a JSON object with the fields of `Spec`.
        unknown: the vocabulary entry that unseen words get.
        streaming, target, card: see `export_module`.

    Raises:
        InputError: something cannot be imported or read.
        CheckpointError: the weights are not those of the module.
        LiftError, ParityError, OutputError: see `export_module`.
    """
    given = Spec.from_json(_json(spec), str(spec)) if spec else Spec()
    if unknown is not None:
        given = replace(given, unknown=unknown)
    made = import_object(factory)
    module = made if isinstance(made, nn.Module) else _call(made, factory)
    if weights is not None:
        load_weights(module, weights)
    return export_module(
        module,
        output,
        vocabulary=_names(vocabulary),
        tags=_names(tags),
        entry=entry,
        encode=import_object(encode) if encode else None,
        spec=given,
        streaming=streaming,
        target=target,
        card=card,
    )


def import_object(path: str) -> Any:
    """What ``package.module:name`` names; modules of the current folder are found too.

    Raises:
        InputError: no such module or name, or importing it fails.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise InputError(f"{path!r} names no object; expected package.module:name, with a colon")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
    except Exception as e:  # importing runs somebody's code, which may raise anything
        reason = " ".join(str(e).split())
        raise InputError(
            f"{path}: cannot be imported ({type(e).__name__}: {reason:.200}); run from the folder that holds {module}"
        ) from e
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{path}: {module} has no {name}; expected the name of something in it")
        found = getattr(found, part)
    return found


def load_weights(module: nn.Module, path: Path) -> None:
    """Puts a state dict into a module; nothing in the file is executed.

    Raises:
        InputError: the file is missing or holds no tensors by name.
        CheckpointError: they are not those of the module.
    """
    try:
        if path.suffix == ".safetensors":
            state = load(path.read_bytes())  # a mapped file may be cut under us
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise InputError(f"{path}: cannot read the weights ({e.strerror or e}); pass a readable file") from e
    except Exception as e:  # torch raises pickle's errors and its own
        reason = " ".join(str(e).split())
        raise InputError(
            f"{path}: no state dict of tensors ({reason:.160}); save one with torch.save(model.state_dict(), ...) or "
            "safetensors"
        ) from e
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path}: holds a {type(state).__name__}; expected a state dict of tensors by name")
    try:
        module.load_state_dict(state)
    except RuntimeError as e:
        reason = " ".join(str(e).split())
        raise CheckpointError(
            f"{path}: not the weights of {type(module).__name__} ({reason:.300}); pass the factory that they were "
            "trained with"
        ) from e


def _call(factory: Callable[[], Any], path: str) -> nn.Module:
    try:
        module = factory()
    except Exception as e:  # somebody's code
        raise InputError(
            f"{path}: fails when called without arguments ({type(e).__name__}: {' '.join(str(e).split()):.200}); pass "
            "a function that makes the module"
        ) from e
    if not isinstance(module, nn.Module):
        raise InputError(f"{path}: gives a {type(module).__name__}; expected a torch.nn.Module")
    return module


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}); pass a JSON file") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: not JSON ({e}); expected an object name -> id, or a list of names") from e


def _names(path: Path) -> Names:
    value = _json(path)
    if not isinstance(value, (dict, list)) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
        raise InputError(f"{path}: holds a {type(value).__name__}; expected an object name -> id, or a list of names")
    return value

"""What the wheel carries beside the code: the models that travel in the package, as far as they are there.

A checkout whose models are not built yet makes a wheel without them; `lstm-deploy run` then says what is missing.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TRAVELLING = ("en-upos", "en-segmenter")
"""Those of exported/ that go into the wheel: the default tagger (8 MB at most), what cuts text for it (2 MB)."""


class ModelsHook(BuildHookInterface):
    """Puts ``exported/NAME.onnx`` into the wheel as ``lstm_deploy/models/NAME.onnx``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made; an editable one finds the files where they are."""
        if version == "editable":
            return
        for name in TRAVELLING:
            path = Path(self.root) / "exported" / f"{name}.onnx"
            if path.is_file():
                build_data["force_include"][str(path)] = f"lstm_deploy/models/{name}.onnx"

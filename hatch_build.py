"""What the wheel carries beside the code: the models that travel in the package, as far as they are there.

A checkout whose models are not built yet makes a wheel without them; `lstm-deploy run` then says what is missing.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TRAVELLING = {"en-upos": 8_000_000, "en-segmenter": 2_000_000}
"""Those of exported/ that go into the wheel, the default tagger and what cuts text for it, and their bytes at most."""


class ModelsHook(BuildHookInterface):
    """Puts ``exported/NAME.onnx`` into the wheel as ``lstm_deploy/models/NAME.onnx``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made; an editable one finds the files where they are."""
        if version == "editable":
            return
        for name, most in TRAVELLING.items():
            path = Path(self.root) / "exported" / f"{name}.onnx"
            if path.is_file():
                if (size := path.stat().st_size) > most:
                    raise ValueError(
                        f"{path}: {size:,} bytes, expected at most {most:,} in a wheel; build it with "
                        f"`make models MODEL={name}`, or raise the bound in hatch_build.py"
                    )
                build_data["force_include"][str(path)] = f"lstm_deploy/models/{name}.onnx"

"""What a class of fuzzed inputs is, and what counts as an answer to one."""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from lstm_deploy.errors import LstmDeployError

OUTCOMES = ("answered", "refused", "memory", "crash", "hang", "wrong")
"""``answered``: and rightly, as far as the class can tell. ``refused``: with an error of ours, in one printable line.
``memory``: it said that memory does not suffice. ``crash``: the process ended, or an error that is not ours. ``hang``:
no answer in `FuzzClass.hang_s`. ``wrong``: the class says of what."""
FAILURES = ("crash", "hang", "wrong")


class Wrong(Exception):
    """An answer that is not right; the text says why."""


class FuzzClass:
    """One class of inputs. Each module of the campaign has a tuple ``CLASSES`` of them.

    Attributes:
        name: of the class, in tables and in `drawn`.
        about: what is fuzzed, a phrase.
        wanted: inputs that the long run has.
        per_case: how many inputs a case holds, where one is too little to be worth a call.
        hang_s: seconds after which a case counts as one without end.
        scratch: a folder for files; that of a campaign is gone when it ends.
        memory: bytes of address space that a case may take beside what `prepare` took; None is no limit.
    """

    name: str
    about: str = ""
    wanted: int
    per_case: int = 1
    hang_s: float = 20.0
    memory: int | None = None
    _scratch: Path | None = None

    @property
    def scratch(self) -> Path:
        """The folder, made where there is none."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
        return self._scratch

    @scratch.setter
    def scratch(self, folder: Path | None) -> None:
        self._scratch = folder

    def drawn(self, index: int) -> random.Random:
        """The numbers that case ``index`` is drawn with, the same whenever it is."""
        return random.Random(f"{self.name}:{index}")

    def absent(self) -> str:
        """Why it cannot run here; empty where it can."""
        return ""

    def prepare(self) -> None:
        """Imports and loads what all cases need, once, in the process that the others are forked from."""

    def case(self, index: int) -> Any:
        """Input ``index``."""
        raise NotImplementedError

    def one(self, case: Any) -> str:
        """``answered`` or ``refused``.

        Raises:
            Wrong: it is neither.
            LstmDeployError: counts as refused, if it is what an error of ours should be.
        """
        raise NotImplementedError

    def save(self, case: Any, path: Path) -> None:
        """Writes an input, so that it can be looked at and become a test: bytes as they are, else JSON."""
        path.write_bytes(case if isinstance(case, bytes) else json.dumps(case).encode())


def outcome(fuzzed: FuzzClass, case: Any) -> tuple[str, str]:
    """One of `OUTCOMES`, and what there is to say of it."""
    try:
        found, detail = fuzzed.one(case), ""
    except Wrong as e:
        found, detail = "wrong", str(e)
    except MemoryError as e:  # OutOfMemoryError is one
        found, detail = "memory", ""
        if isinstance(e, LstmDeployError) and not str(e).isprintable():
            found, detail = "wrong", f"an error of more than one line, or with what steers a terminal: {str(e)!r:.300}"
    except LstmDeployError as e:
        found, detail = "refused", ""
        if not str(e).isprintable():
            found, detail = "wrong", f"an error of more than one line, or with what steers a terminal: {str(e)!r:.300}"
    except RecursionError:
        found, detail = "crash", "RecursionError"
    except Exception as e:  # noqa: BLE001 - whatever else it is, it is not ours
        found, detail = "crash", f"{type(e).__name__}: {e!s:.300} at {_place(e)}"
    return found, detail


def _place(e: BaseException) -> str:
    """The innermost frame of the error that is in this project."""
    frame, place = e.__traceback__, ""
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if "site-packages" not in name and ("lstm_deploy" in name or "fuzz" in name):
            place = f"{Path(name).name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return place

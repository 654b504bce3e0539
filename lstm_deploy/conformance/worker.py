"""One runtime of Python on the batches of a folder, in a process of its own: ``python -m ... NAME FOLDER START``."""

import sys
from pathlib import Path

from .exchange import AnswerWriter, read_batches
from .runtimes import python_runtime


def main(name: str, folder: Path, start: int) -> None:
    """Answers the batches from number ``start`` on."""
    writer = AnswerWriter(folder)
    model, outputs, batches = read_batches(folder)
    try:
        run = python_runtime(name).open_model(model, outputs)
    except Exception as e:  # every runtime has errors of its own
        writer.fail(f"{type(e).__name__}: {e}")
        return
    for number in range(start, len(batches)):
        try:
            found = run(batches[number])
        except Exception as e:
            writer.fail(f"{type(e).__name__}: {e}", number)
        else:
            writer.add(number, dict(zip(outputs, found, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

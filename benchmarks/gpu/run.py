"""One run on a GPU machine: tests, parity, speed, in one JSON file and a table.

    python benchmarks/gpu/run.py [--wheel onnxruntime_gpu-*.whl] [--output benchmarks/results]

Needs numpy, torch and onnxruntime-gpu (installed, or as wheels that are put into a temporary folder first), and nothing
that is not in the repository. It starts with a session that has to run on CUDA, and writes nothing where there is
none. What does not fit into --seconds is listed as not run. Each part is kept when it is done, in cuda.json.partial,
which becomes cuda.json at the end. `--provider cpu` is a rehearsal of the same code on small sizes.
"""

import argparse
import gc
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The modules below are found from here, with nothing installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lstm_deploy.errors import LstmDeployError, ProviderError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
GROUPS = ("tests", "parity", "speed")
SECONDS = 480
_TEST_SECONDS = 120
_RETRIED = "LSTM_DEPLOY_GPU_RETRIED"
UNPROVED = ("other GPUs than this one", "several GPUs", "other versions of CUDA and onnxruntime", "Windows")
"""What no part of this run tries."""
REHEARSAL = "A rehearsal on the CPU: it says nothing of a GPU."


def main() -> int:
    """Runs all of it; 0 where nothing failed and scores and tags are PyTorch's."""
    args = _arguments()
    rehearsal = args.provider == "cpu"
    if rehearsal and (args.output is None or args.output.resolve() == RESULTS):
        print(
            "a rehearsal on the CPU is no result to keep: pass an --output other than benchmarks/results",
            file=sys.stderr,
        )
        return 2
    if args.wheel:
        return _with_wheels(args)
    started = time.monotonic()
    # For the processes that are started from here.
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    try:
        run = Run(args, started)
    except ProviderError as e:
        return _with_libraries(args, started) if _could_help() else _told(e)
    except (LstmDeployError, ImportError) as e:
        return _told(e)
    return run.run()


def _told(e: Exception) -> int:
    print(f"{e}", file=sys.stderr)
    return 1


class Run:
    """The parts, one after another.

    Raises:
        LstmDeployError: no session on the provider asked for.
        ImportError: numpy, torch or onnxruntime is not there.
    """

    def __init__(self, args: argparse.Namespace, started: float) -> None:
        import torch  # before onnxruntime: it brings CUDA's libraries

        from benchmarks.gpu import machine
        from benchmarks.gpu.measuring import Bench, tf32
        from lstm_deploy.providers import available_cores

        self._started = started
        self._only = args.only
        self._scratch = tempfile.TemporaryDirectory(prefix="lstm-deploy-gpu-")
        self._bench = Bench(args.provider, args.quick, Path(self._scratch.name), started + args.seconds)
        torch.set_num_threads(available_cores())
        tf32(False)
        placement = self._placement()
        if args.provider == "cuda" and not torch.cuda.is_available():
            raise LstmDeployError(
                f"PyTorch {torch.__version__} sees no CUDA device; expected one to compare with; see with `nvidia-smi` "
                "whether there is one, and install a CUDA build of PyTorch"
            )
        output = args.output or RESULTS
        output.mkdir(parents=True, exist_ok=True)
        self._target = output / ("cpu-rehearsal.json" if args.provider == "cpu" else "cuda.json")
        self._done: dict[str, Any] = {}
        self._result: dict[str, Any] = {
            "rehearsal": REHEARSAL if args.provider == "cpu" else "",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine.facts(),
            "versions": machine.versions(),
            "settings": {
                "provider": args.provider,
                "quick": args.quick,
                "only": args.only,
                "seconds": args.seconds,
                "libraries": "LD_LIBRARY_PATH" if _RETRIED in os.environ else "those that PyTorch loaded",
            },
            "placement": placement,
            "parts": self._done,
            "seconds_of": {},
            "not_run": [],
            "failed": [],
        }

    def run(self) -> int:
        """All parts, the file, the table."""
        for name, need, part in self._parts():
            self._try(name, need, part)
        return self._finish()

    def _parts(self) -> list[tuple[str, float, Callable[[], dict[str, Any]]]]:
        """(name, seconds that it takes at least on a GPU, what to run), what matters most first."""
        from benchmarks.gpu import parity, probes, speed

        bench = self._bench
        return [
            ("parity: golden cases", 5, lambda: parity.golden(bench)),
            ("parity: small and middling batches", 10, lambda: parity.moderate(bench)),
            ("tests", 20, self._tests),
            ("speed: bare", 40, lambda: speed.bare(bench)),
            ("speed: threads and batches", 20, lambda: speed.sweep(bench, self._best_form())),
            (
                "speed: stream",
                30,
                lambda: speed.stream(
                    bench,
                    self._needed("speed: threads and batches"),
                    self._needed("speed: bare")["best_of_any_batches"],
                ),
            ),
            ("speed: latency", 5, lambda: speed.latency(bench)),
            ("speed: graph forms", 10, lambda: speed.forms(bench)),
            ("probe: memory runs out", 5, lambda: probes.out_of_memory(bench)),
            ("parity: large batches", 15, lambda: parity.large(bench)),
            ("speed: crossover", 10, lambda: speed.crossover(bench)),
            ("probe: import order", 10, lambda: probes.import_order(bench)),
            ("speed: arena and TF32", 10, lambda: probes.arena_and_tf32(bench)),
            ("parity: TF32", 5, lambda: parity.rounded_products(bench)),
            ("speed: subwords", 10, lambda: speed.with_subwords(bench)),
        ]

    def _try(self, name: str, need: float, part: Callable[[], dict[str, Any]]) -> None:
        from benchmarks.gpu.measuring import NotRunError

        group = name.split(":")[0].replace("probe", "speed")
        began = time.monotonic()
        try:
            if group not in self._only:
                raise NotRunError("not asked for")
            self._bench.need(0 if self._bench.quick else need)
            print(f"{began - self._started:6.1f} s  {name}", file=sys.stderr, flush=True)
            self._done[name] = part()
        except NotRunError as e:
            self._result["not_run"].append({"part": name, "why": str(e)})
        except Exception as e:  # noqa: BLE001 - one part must not cost the run the others; it is told, and fails the run
            self._result["failed"].append({"part": name, "problem": f"{type(e).__name__}: {e}"[:1000]})
        self._result["seconds_of"][name] = round(time.monotonic() - began, 1)
        gc.collect()
        self._save()

    def _needed(self, name: str) -> dict[str, Any]:
        """What another part found, which has to have run."""
        from benchmarks.gpu.measuring import NotRunError

        if name not in self._done:
            raise NotRunError(f"it goes on from '{name}', which has no result")
        return self._done[name]

    def _best_form(self) -> Any:
        """The graph form of the fastest bare session."""
        return self._needed("speed: bare")["best"].split(", ")[3]

    def _placement(self) -> dict[str, Any]:
        """Which operators of each kind of file run where; opens a session of each."""
        from benchmarks.gpu.models import FORMS, Shape

        shapes = (Shape(1, 128), Shape(1, 128, subwords=True), Shape(1, 128, crf=True))
        return {
            f"{shape.name}, {form}": self._bench.session(shape, form).placement for shape in shapes for form in FORMS
        }

    def _tests(self) -> dict[str, Any]:
        from benchmarks.gpu.measuring import NotRunError
        from benchmarks.gpu.probes import with_libraries

        folder = ROOT / "tests" / "gpu"
        if importlib.util.find_spec("pytest") is None:
            raise NotRunError("pytest is not installed")
        if not folder.is_dir():
            raise NotRunError("there is no folder tests/gpu")
        limit = min(_TEST_SECONDS, max(self._bench.left, 1))
        command = [sys.executable, "-m", "pytest", "-m", "gpu", str(folder), "-q", "-p", "no:cacheprovider"]
        try:
            ran = subprocess.run(
                command, cwd=ROOT, env=with_libraries(), capture_output=True, text=True, errors="replace", timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise NotRunError(f"the tests had not ended after {limit:.0f} s") from None
        counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", ran.stdout[-500:])}
        if not counts:
            raise NotRunError(f"pytest ended with {ran.returncode} and no counts: {(ran.stdout + ran.stderr)[-500:]}")
        failed = counts.get("failed", 0) + counts.get("error", 0)
        if not failed and not counts.get("passed"):
            reasons = re.findall(r"^SKIPPED.*", ran.stdout, re.MULTILINE)
            raise NotRunError(f"all were skipped: {' '.join(reasons[:1])[:300]}")
        return {"counts": counts, "failed": failed, "tail": ran.stdout[-4000:] if failed else ""}

    def _finish(self) -> int:
        from benchmarks.gpu import targets

        result = self._result
        result["load_after"] = os.getloadavg()[0]
        result["seconds"] = time.monotonic() - self._started
        result["targets"] = targets.rows(result)
        large = self._done.get("parity: large batches", {"left_out": []})
        missing = [entry["part"] for key in ("not_run", "failed") for entry in result[key]]
        result["unproved"] = [*UNPROVED, *missing, *large["left_out"]]
        self._save()
        self._partial.replace(self._target)
        text = targets.table(result)
        self._target.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        print(text)
        self._scratch.cleanup()
        right = all(row["met"] is not False for row in result["targets"] if row["asked"] == "0")
        return 0 if right and not result["failed"] else 1

    @property
    def _partial(self) -> Path:
        return self._target.with_name(f"{self._target.name}.partial")

    def _save(self) -> None:
        text = json.dumps(self._result, indent=1)
        for folder in (self._scratch.name, str(ROOT)):  # where things lay is of no use to a reader
            text = text.replace(f"{folder}{os.sep}", "")
        self._partial.write_text(text + "\n", encoding="utf-8")


def _with_wheels(args: argparse.Namespace) -> int:
    """This script once more, in a process that finds the wheels before anything installed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lstm-deploy-wheels-") as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder]
        installed = subprocess.run([*pip, *map(str, args.wheel)], capture_output=True, text=True)
        if installed.returncode:
            last = " ".join(installed.stderr.split()[-60:])
            print(f"pip cannot install {', '.join(map(str, args.wheel))}: {last}", file=sys.stderr)
            return 1
        left = args.seconds - (time.monotonic() - started)
        command = [sys.executable, str(Path(__file__).resolve()), "--provider", args.provider, "--seconds", str(left)]
        command += ["--only", ",".join(args.only)] + ["--quick"] * args.quick
        command += ["--output", str(args.output)] if args.output else []
        path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode


def _could_help() -> bool:
    """Whether onnxruntime may find CUDA's libraries where PyTorch brought them, though PyTorch is imported."""
    import torch

    return _RETRIED not in os.environ and torch.cuda.is_available()


def _with_libraries(args: argparse.Namespace, started: float) -> int:
    """This script once more, with CUDA's libraries on LD_LIBRARY_PATH, which is read when a process starts."""
    from benchmarks.gpu.probes import with_libraries

    command = [sys.executable, *sys.argv, "--seconds", str(args.seconds - (time.monotonic() - started))]
    return subprocess.run(command, env=with_libraries() | {_RETRIED: "1"}).returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wheel", type=Path, nargs="+", action="extend", help="wheels of onnxruntime-gpu, installed for this run alone"
    )
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--output", type=Path, help="folder of the result, by default benchmarks/results")
    parser.add_argument("--only", type=_groups, default=list(GROUPS), help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what does not fit is not run")
    return parser.parse_args()


def _groups(text: str) -> list[str]:
    found = text.split(",")
    if unknown := set(found) - set(GROUPS):
        raise argparse.ArgumentTypeError(f"{sorted(unknown)} are not known; expected some of {', '.join(GROUPS)}")
    return found


if __name__ == "__main__":
    sys.exit(main())

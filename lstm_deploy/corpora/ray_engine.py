"""Parts shared out over a Ray cluster: each actor tags whole parts, read and written on a file system all nodes see.

It knows nothing of ledgers and manifests: those are the driver's, which gets a record of each part as that ends.
"""

import logging
import os
import pickle
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from ..errors import LstmDeployError, OutputError, ProviderError, WorkerError
from ..formats.streams import PARTIAL
from ..providers import captured_stderr
from . import require
from .job import Engine
from .manifest import versions
from .processes import Outcomes, Progress, Task
from .tagging import PartTagger, Record, Tagging

_ATTEMPTS = 3
"""How often a part is begun whose actor or node dies, before it is given up. Ray itself would try for ever."""
_KNOCK_SECONDS = 10
_LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"


def ray_engine(num_actors: int | None = None, gpus: int | None = None, address: str | None = None) -> Engine:
    """What shares the parts of `tag_corpus` out over a Ray cluster.

    A part whose actor or node dies is begun anew by another one. All nodes have to see input and output under the same
    paths, and to have the same versions installed; the model's file goes to them by itself.

    Args:
        num_actors: how many tag at the same time; default: on CUDA the GPUs, else as many as the cluster has cores for.
            Those that the cluster has no place for wait until it has.
        gpus: that the actors share, the same number of actors on each; default: on CUDA one for each actor.
        address: of the cluster, ``auto`` for the one that this machine is part of; default: as `ray.init`, which starts
            one on this machine if there is none. Not looked at where Ray is initialised already, which is then used
            and left as it is.

    Raises:
        MissingDependencyError: Ray or its data library is not installed.
        ProviderError (on use): GPUs without the provider, or the provider without GPUs.
        WorkerError (on use): no cluster is there; a part's actor died again and again; a node does not see the files,
            or has other versions.
        ValueError: numbers below 1, or actors that cannot be shared out evenly over GPUs.
    """
    require("ray", "ray.data", extra="ray")
    if min(num_actors or 1, gpus or 1) < 1 or 0 in (num_actors, gpus):
        raise ValueError(f"{num_actors} actors, {gpus} GPUs; expected at least 1")
    if num_actors and gpus and num_actors % gpus:
        raise ValueError(f"{num_actors} actors on {gpus} GPUs; expected the same number on each")

    def run(tagging: Tagging, tasks: Sequence[Task], progress: Progress) -> Outcomes:
        need = _need(tagging, num_actors, gpus)
        with _cluster(address) as ray, _quiet(ray), _marker(tasks) as marker:
            count = min(num_actors or gpus or _places(ray, need), len(tasks))
            yield from _share_out(ray, tagging, tasks, marker, count, need, progress)

    return run


def _need(tagging: Tagging, num_actors: int | None, gpus: int | None) -> dict[str, float]:
    """What one actor takes of a node."""
    if gpus and tagging.provider == "cpu":
        raise ProviderError(f"{gpus} GPUs with provider cpu, which uses none; pass --provider cuda")
    if tagging.provider == "cuda" or gpus:
        return {"num_cpus": 1, "num_gpus": gpus / num_actors if gpus and num_actors else 1}
    return {"num_cpus": tagging.threads or 1}


def _places(ray: ModuleType, need: dict[str, float]) -> int:
    """How many actors the cluster has room for."""
    has = ray.cluster_resources()
    count = sum(
        int(min(node["Resources"].get(name, 0) // need[key] for key, name in _RESOURCES.items() if key in need))
        for node in ray.nodes()
        if node["Alive"]
    )
    if not count:
        raise (ProviderError if "num_gpus" in need else WorkerError)(
            f"the Ray cluster has {has.get('CPU', 0):g} cores and {has.get('GPU', 0):g} GPUs, and no node with what an "
            f"actor needs ({', '.join(f'{_RESOURCES[key]} {value:g}' for key, value in need.items())}); add nodes, or "
            "pass --num-actors to wait for some"
        )
    return count


_RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU"}


def _share_out(
    ray: ModuleType,
    tagging: Tagging,
    tasks: Sequence[Task],
    marker: Path,
    count: int,
    need: dict[str, float],
    progress: Progress,
) -> Outcomes:
    ordered = sorted(tasks, key=lambda task: -task.part.size)
    files = [path for path in (tagging.model, tagging.segmenter) if path]
    job = _Job(tagging, [ray.put(path.read_bytes()) for path in files], Path.cwd(), marker, versions())
    blocks = [pa.table({"index": [index], "task": [pickle.dumps(task)]}) for index, task in enumerate(ordered)]
    found = ray.data.from_arrow(blocks).map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
        **need,
    )
    left = dict(enumerate(ordered))
    try:
        for batch in found.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
            for index, answer in zip(batch["index"].to_pylist(), batch["outcome"].to_pylist(), strict=True):
                task, outcome = left.pop(index), pickle.loads(answer)
                _tally(marker, index).unlink(missing_ok=True)
                if isinstance(outcome, Record):
                    progress(task.part.name, task.part.size, outcome.tokens)
                yield task, outcome
    except ray.exceptions.RayError as e:
        raise WorkerError(f"Ray gave up: {_one_line(e)}; what is done is kept, run the same command again") from e
    finally:
        for index in left:
            _tally(marker, index).unlink(missing_ok=True)
    for task in left.values():
        yield (
            task,
            WorkerError(
                f"{task.part.path}: its actor could not start, or had an error of no known kind, which Ray's log has "
                "(/tmp/ray); is lstm-deploy[ray] on all nodes? What is done is kept, run the same command again"
            ),
        )


def _tally(marker: Path, index: int) -> Path:
    """A file with a byte for each time that a part was begun."""
    return marker.with_name(f"{marker.name.removesuffix(PARTIAL[1])}-{index}{PARTIAL[1]}")


@contextmanager
def _cluster(address: str | None) -> Iterator[ModuleType]:
    """Ray, initialised; what is started here ends here."""
    import ray
    import ray.data

    if ray.is_initialized():
        yield ray
        return
    level = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = "fatal"  # or each job warns of how Ray Data makes its own actors
    try:
        _knock(address)
        with captured_stderr():  # it says that it has read the variable
            ray.init(address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as e:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise WorkerError(
            f"{where}: no Ray cluster could be reached or started ({_one_line(e)}); start one with `ray start --head`, "
            "or pass another --address"
        ) from e
    finally:
        os.environ.pop(_LOG_LEVEL)
        if level is not None:
            os.environ[_LOG_LEVEL] = level
    try:
        with _without_node_logs(ray):
            yield ray
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or os.environ.get("RAY_ADDRESS") or "").rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


@contextmanager
def _without_node_logs(ray: ModuleType) -> Iterator[None]:
    """A dead node's last log lines go to standard output, and Ray has no setting against it."""
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    name = "print_to_stdstream"
    before = getattr(worker, name, None)
    if before:
        setattr(worker, name, lambda *args, **options: None)
    try:
        yield
    finally:
        if before:
            setattr(worker, name, before)


@contextmanager
def _quiet(ray: ModuleType) -> Iterator[None]:
    """Ray Data without bars and reports, and with all parts tried even if one fails."""
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    wanted = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_errored_blocks": -1,
    }
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        for name in before:
            setattr(context, name, wanted[name])
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


@contextmanager
def _marker(tasks: Sequence[Task]) -> Iterator[Path]:
    """A file in the output folder, by which a node can tell that it sees the same folder; half files are named so."""
    name = f"{PARTIAL[0]}{uuid.uuid4().hex}{PARTIAL[1]}"
    root = tasks[0].output.absolute().parents[tasks[0].part.name.count("/")]
    marker = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as e:
        raise OutputError(f"{root}: cannot write ({e.strerror}); pass a writable --output") from e
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Job:
    """What every actor is told.

    Attributes:
        tagging: with the driver's paths.
        files: the model and, if there is one, the segmenter, in Ray's object store.
        folder: that relative paths are relative to.
        marker: a file in the output folder.
        versions: that the driver has.
    """

    tagging: Tagging
    files: list[Any]
    folder: Path
    marker: Path
    versions: dict[str, str]


class _Actor:
    """Tags a part at a time by one model that is loaded once."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._tagger: PartTagger | None = None
        self._names: dict[str, Path] = {}

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One task in, its outcome out."""
        task = pickle.loads(batch["task"][0].as_py())
        outcome: Record | LstmDeployError
        try:
            outcome = self._tag(task, batch["index"][0].as_py())
        except LstmDeployError as e:
            outcome = self._renamed(e, task)
        return pa.table({"index": batch["index"], "outcome": [pickle.dumps(outcome)]})

    def _tag(self, task: Task, index: int) -> Record:
        self._tagger = self._tagger or self._load()
        absolute = Task(
            replace(task.part, path=self._job.folder / task.part.path),
            self._job.folder / task.output,
            self._job.folder / task.rejects,
        )
        for path in (absolute.part.path, self._job.marker):
            if not path.exists():
                raise WorkerError(
                    f"{path}: not there on node {socket.gethostname()}; all nodes must see input and output under the "
                    "same paths: put them on a file system that they share"
                )
        with _tally(self._job.marker, index).open("ab") as tally:
            if tally.tell() == _ATTEMPTS:
                raise WorkerError(
                    f"{task.part.path}: the actor that tagged it, or its node, died {_ATTEMPTS} times; what is done is "
                    "kept: if memory ran out pass fewer --num-actors, then run the same command again"
                )
            tally.write(b".")
        return self._tagger.tag(absolute.part, absolute.output, absolute.rejects)

    def _load(self) -> PartTagger:
        """The model from the bytes: the node need not have its file."""
        import ray

        theirs = versions()
        for name, version in self._job.versions.items():
            if theirs[name] != version:
                raise WorkerError(
                    f"node {socket.gethostname()} has {name} {theirs[name]}, the driver {version}; install the same on "
                    "all nodes, or the output is not the same"
                )
        tagging = self._job.tagging
        with tempfile.TemporaryDirectory(prefix="lstm-deploy-") as folder:
            for role, reference in zip(("model", "segmenter"), self._job.files, strict=False):
                given = getattr(tagging, role)
                path = Path(folder, role, given.name)
                path.parent.mkdir()
                path.write_bytes(ray.get(reference))
                tagging = replace(tagging, **{role: path})
                self._names[str(path)] = given
            if tagging.provider == "cpu":
                tagging = replace(tagging, threads=tagging.threads or 1)
            if tagging.cuda:
                tagging = replace(tagging, cuda=replace(tagging.cuda, devices=(0,)))  # Ray shows an actor its own alone
            return PartTagger(tagging)

    def _renamed(self, error: LstmDeployError, task: Task) -> LstmDeployError:
        """The same error, with paths as they were given."""
        given = (task.part.path, task.output, task.rejects, task.output.parent, task.rejects.parent)
        relative = {str(self._job.folder / path): path for path in given if path.name and not path.is_absolute()}
        text = str(error)
        for path, name in (self._names | relative).items():
            text = text.replace(path, str(name))
        return type(error)(text)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[-1]:.300}"

"""Makes released models from their recipes: train, export, verify, score, card, file.

    python recipes/build.py                      all that are shipped
    python recipes/build.py en-upos --data ../shared/data --labels checkpoints/labels
    python recipes/build.py en-upos --rebuild    from nothing, beside; are the bytes the same?

Every step is a command of the package, run on the recipe's number of threads, and is not repeated while its inputs have
the same hashes; a training that was stopped goes on. A file appears in ``exported/`` when all steps are done, and its
scores in ``benchmarks/results/models.json``.
"""

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import click
import readme
import results
from locks import locked
from recipe import HERE, Recipe, all_recipes, arguments, file_hash, files, read_recipe
from steps import Steps, key_of

import lstm_deploy
from lstm_deploy.card import SCORE
from lstm_deploy.cli import evaluate, export, train
from lstm_deploy.errors import AccuracyError, InputError, LstmDeployError
from lstm_deploy.inspection import inspect_model

WORK = Path("checkpoints/models")
LABELS = Path("checkpoints/labels")
_COMMAND = [sys.executable, "-c", "from lstm_deploy.cli import main; main(prog_name='lstm-deploy')"]


@dataclass(frozen=True)
class Place:
    """Where a build reads and writes.

    Attributes:
        recipes, data, labels: what it reads.
        work: checkpoints, drafts and records of steps.
        exported: the finished files.
        results: the JSON file with all models' scores.
        any_labels: take labels with another hash than the recipe's.
        others: where finished files of other models are, too.
    """

    data: Path
    labels: Path = LABELS
    recipes: Path = HERE
    work: Path = WORK
    exported: Path = Path("exported")
    results: Path = results.RESULTS
    any_labels: bool = False
    others: Path | None = None

    @property
    def models(self) -> list[Path]:
        """Folders of finished files, in the order in which they are looked through."""
        return [self.exported, *([self.others] if self.others else [])]


class Build:
    """One model's steps."""

    def __init__(self, recipe: Recipe, place: Place, lock: int | None = None) -> None:
        self.recipe = recipe
        self.place = place
        self._lock = lock  # a descriptor that commands keep open, so that one whose build was killed keeps others away
        self.checkpoint = place.work / recipe.checkpoint
        self.draft = place.work / f"{recipe.name}.onnx"
        self.output = place.exported / f"{recipe.name}.onnx"

    @cached_property
    def steps(self) -> Steps:
        """What is done, as it stands when the first step asks: no other build changes it then."""
        return Steps(self.place.work / f"{self.recipe.name}.json")

    def run(self) -> dict[str, Any]:
        """All steps; then file, record and page appear together. What is known of the file.

        Raises:
            LstmDeployError: data or labels are missing or others, another build is at work on the same checkpoint, or
                a step failed.
        """
        taken = "another build is at work on this checkpoint; wait for it, or give another --work"
        self._check_inputs()
        with locked(self.place.work / f"{self.recipe.checkpoint}.lock", taken) as self._lock:
            trained = self._trained()
            self._export(trained["checkpoint"])
            verified = self._verify(trained["checkpoint"])
            evals = {split: self._evaluate(split) for split in self.recipe.evals}
            with results.changing(self.place.results) as everything:
                self._publish(evals)
                result = self._facts(trained, verified, evals)
                results.put(everything, self.recipe.name, result)
                _write_page(everything, self.place)
        return result

    def _facts(self, trained: dict[str, Any], verified: dict[str, Any], evals: dict[str, Any]) -> dict[str, Any]:
        report = inspect_model(self.output)
        facts = ("bytes", "sha256", "column", "precision", "graph_form", "versions", "rounding")
        return {name: report[name] for name in facts} | {
            "ship": self.recipe.ship,
            "tags": len(report["tags"]),
            "words": len(report["words"]),
            "checkpoint": trained["checkpoint"],
            "training_minutes": trained["minutes"],
            "threads": self.recipe.threads,
            "date": datetime.now(UTC).date().isoformat(),
            "verified": verified,
            "evals": evals,
        }

    def _check_inputs(self) -> None:
        """What a later step would only find after hours: that something is not there, or is another."""
        trainer, data, models = self._trainer(), self.place.data, self.place.models
        paths = files(train, trainer.recipe.train or {}, data, models) + files(export, self.recipe.export, data, models)
        for entry in self.recipe.evals.values():
            paths += [data / entry.file, *files(evaluate, entry.options, data, models)]
        _hashes(paths)
        trainer._labels()
        trainer._vectors()

    def _trainer(self) -> "Build":
        """What trains the checkpoint: this build, or that of the recipe named for it."""
        if self.recipe.train is not None:
            return self
        other = read_recipe(self.place.recipes / f"{self.recipe.checkpoint}.toml")
        if other.train is None:
            raise InputError(f"{other.name}: trains nothing itself; name the recipe that does in {self.recipe.name}")
        return Build(other, self.place, self._lock)

    def _trained(self) -> dict[str, Any]:
        """The hash of the checkpoint and the minutes that it took; trains it if it is not there."""
        if self.recipe.train is None:
            return self._trainer()._trained()
        options, extra = arguments(train, self.recipe.train, self.place.data, self.place.models), []
        labels = self._labels()
        if labels:
            extra = ["--soft-labels", str(self.place.labels)]
        key = key_of(
            dict(self.recipe.train),
            _hashes(files(train, self.recipe.train, self.place.data, self.place.models)),
            labels,
            self.recipe.threads,
            _versions("lstm-deploy", "torch", "numpy", *self._vectors()),
        )
        if facts := self.steps.done("train", key):
            return facts
        again = "--overwrite"
        if self.steps.started("train", key) and (self.checkpoint / "resume.safetensors").exists():
            again = "--resume"
        self.steps.start("train", key)
        self._run("train", *options, *extra, "--output", str(self.checkpoint), again)
        weights, about = self.checkpoint / "model.safetensors", self.checkpoint / "tagger.json"
        log = (self.checkpoint / "training-log.jsonl").read_text(encoding="utf-8").splitlines()
        minutes = sum(json.loads(line)["seconds"] for line in log) / 60
        facts = {"checkpoint": key_of(file_hash(weights), file_hash(about)), "minutes": round(minutes, 1)}
        return self.steps.finish("train", key, [weights, about], facts)

    def _vectors(self) -> list[str]:
        """The package that word vectors come from, if there are some."""
        name = (self.recipe.train or {}).get("vectors")
        if name is None:
            return []
        try:
            found = importlib.metadata.distribution(name).metadata["Name"]
        except (importlib.metadata.PackageNotFoundError, ValueError):
            found = None
        if found is None or Path(name).exists():
            what = "a file here" if Path(name).exists() else "no installed package"
            raise InputError(
                f"{self.recipe.name}: vectors = {name!r} is {what}; expected a package, whose version is known: "
                "install it with `pip install --requirement recipes/requirements.txt`"
            )
        return [found]

    def _labels(self) -> str | None:
        """The hash of the teacher's labels, which has to be the recipe's."""
        wanted = self.recipe.labels_sha256
        if wanted is None:
            return None
        path = self.place.labels / "labels.json"
        if not path.is_file():
            raise InputError(f"{path}: not there; {self.recipe.name} learns from labels: make them with `make labels`")
        found = file_hash(path)
        if found != wanted and not self.place.any_labels:
            raise InputError(
                f"{path}: has the SHA-256 {found}, {self.recipe.name}.toml asks for {wanted or 'none yet'}; "
                "make the labels again with `make labels`, or take these with --any-labels"
            )
        return found

    def _export(self, checkpoint: str) -> None:
        key = key_of(
            checkpoint,
            dict(self.recipe.export),
            _hashes(files(export, self.recipe.export, self.place.data, self.place.models)),
            self.recipe.threads,
            _versions("lstm-deploy", "torch", "numpy", "onnx", "onnxruntime"),
            _sources(),
        )
        if self.steps.done("export", key) is None:
            self.steps.start("export", key)
            options = arguments(export, self.recipe.export, self.place.data, self.place.models)
            self._run("export", str(self.checkpoint), "--output", str(self.draft), *options)
            self.steps.finish("export", key, [self.draft], {"exported": True})

    def _verify(self, checkpoint: str) -> dict[str, Any]:
        """The file against PyTorch: on ragged batches and on every token of the first gold file."""
        gold = next(iter(self.recipe.evals.values())).file if self.recipe.evals else None
        key = key_of(
            file_hash(self.draft),
            checkpoint,
            _hashes([self.place.data / gold] if gold else []),
            self.recipe.threads,
            _versions("lstm-deploy", "torch", "numpy", "onnxruntime"),
            _sources(),
        )
        if (facts := self.steps.done("verify", key)) is None:
            corpus = ["--input", str(self.place.data / gold)] if gold else []
            said = self._run("verify", str(self.draft), "--checkpoint", str(self.checkpoint), *corpus, "--json")
            facts = self.steps.finish("verify", key, [self.draft], json.loads(said))
        return facts

    def _evaluate(self, split: str) -> dict[str, Any]:
        """The scores on a split, as onnxruntime gives them with the file."""
        entry = self.recipe.evals[split]
        path = self.place.data / entry.file
        models = files(evaluate, entry.options, self.place.data, self.place.models)
        key = key_of(
            file_hash(self.draft),
            _hashes([path, *models]),
            dict(entry.options),
            self.recipe.threads,
            _versions("lstm-deploy", "numpy", "onnxruntime"),
            _sources(),
        )
        step = f"eval {split}"
        if (facts := self.steps.done(step, key)) is None:
            options = arguments(evaluate, entry.options, self.place.data, self.place.models)
            report = json.loads(self._run("eval", str(self.draft), str(path), *options, "--json"))
            facts = {"gold": entry.gold, "file": path.name, "sha256": file_hash(path)}
            if "segmenter" in entry.options:
                facts["segmenter_sha256"] = file_hash(*models)
            facts["report"] = results.kept(report)
            self.steps.finish(step, key, [self.draft], facts)
        return facts | {"gold": entry.gold}

    def _publish(self, evals: dict[str, Any]) -> None:
        """The draft with its card, under its name: the one place where scores get into a file."""
        from lstm_deploy.export.exporter import write

        scores = [
            {"split": split}
            | {field: found[field] for field in SCORE if field in found}
            | {"figures": results.figures(found["report"])}
            for split, found in evals.items()
        ]
        write(self.draft.read_bytes(), self.output, {**self.recipe.card, "scores": scores})

    def _run(self, *arguments: str) -> str:
        """What a command of the package writes on standard output; it computes on as many threads as the recipe says.

        All but training also keeps to as many cores: sentences are batched by their number, and int8 rounds by batch.
        """
        said = shlex.join(["lstm-deploy", *arguments])
        click.echo(f"{self.recipe.name}: {said}", err=True)
        threads = {f"{library}_NUM_THREADS": str(self.recipe.threads) for library in ("OMP", "OPENBLAS", "MKL")}
        pinned = arguments[0] != "train" and hasattr(os, "sched_setaffinity")
        done = subprocess.run(
            [*_COMMAND, *arguments],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=False,
            env=os.environ | threads | {"PYTHONIOENCODING": "utf-8"},
            preexec_fn=partial(_keep_to, self.recipe.threads) if pinned else None,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        if done.returncode:
            raise LstmDeployError(
                f"{self.recipe.name}: `{said}` ended with {done.returncode}; its last line above says why; the same "
                "build goes on from there"
            )
        return done.stdout


def rebuild(recipe: Recipe, place: Place) -> dict[str, Any]:
    """Builds once more from nothing in a folder of its own, and compares with what is recorded.

    Raises:
        AccuracyError: the bytes are others.
    """
    _recorded(results.read_results(place.results), recipe, place)
    place.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rebuild-", dir=place.work) as folder:
        work = Path(folder)
        beside = replace(
            place, work=work, exported=work / "exported", results=work / "models.json", others=place.exported
        )
        found = Build(recipe, beside).run()
    with results.changing(place.results) as everything:
        recorded = _recorded(everything, recipe, place)
        same = found["sha256"] == recorded["sha256"]
        recorded["rebuilt"] = {"same": same} | {name: found[name] for name in ("sha256", "date", "versions")}
        _write_page(everything, place)
    if not same:
        raise AccuracyError(
            f"{recipe.name}: rebuilt to SHA-256 {found['sha256']}, recorded is {recorded['sha256']}; same processor, "
            "versions and data give the same bytes: compare the versions in the results"
        )
    return found


def _recorded(everything: dict[str, Any], recipe: Recipe, place: Place) -> dict[str, Any]:
    """What the results have of a model."""
    if recipe.name not in everything["models"]:
        raise InputError(f"{recipe.name}: no build is recorded in {place.results}; build it without --rebuild first")
    return everything["models"][recipe.name]


def _write_page(everything: dict[str, Any], place: Place) -> None:
    """Results and the page that is read off them, while nobody else changes them."""
    results.write_results(everything, place.results)
    readme.write_readme(place.exported, place.results)


def _hashes(paths: list[Path]) -> list[str]:
    return [file_hash(path) for path in paths]


def _keep_to(cores: int) -> None:
    """Fewer cores for this process: of those that it has some in a row, the first picked by its process id.

    So builds beside each other are likely on different ones; nobody makes sure that they are.
    """
    there = sorted(os.sched_getaffinity(0))
    first = os.getpid() % len(there)
    os.sched_setaffinity(0, (there + there)[first : first + min(cores, len(there))])


def _sources() -> str:
    """A hash of the package's code: what else exporting and scoring depend on within one version.

    Training depends on it, too, but is too dear to be repeated for a comment: see README.md here.
    """
    folder = Path(lstm_deploy.__file__).parent
    return key_of([(path.relative_to(folder).as_posix(), file_hash(path)) for path in sorted(folder.rglob("*.py"))])


def _versions(*names: str) -> dict[str, str]:
    installed = {name: importlib.metadata.version(name) for name in names if name != "lstm-deploy"}
    return installed | ({"lstm-deploy": lstm_deploy.__version__} if "lstm-deploy" in names else {})


@click.command(context_settings={"max_content_width": 100})
@click.argument("names", nargs=-1)
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True)
@click.option("--labels", type=click.Path(path_type=Path), default=LABELS, show_default=True, help="Of a teacher.")
@click.option("--any-labels", is_flag=True, help="Take labels with another hash than the recipe's.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Checkpoints, records.")
@click.option("--rebuild", "again", is_flag=True, help="Build from nothing beside, and compare the bytes.")
def main(names: tuple[str, ...], data: Path, labels: Path, any_labels: bool, work: Path, again: bool) -> None:
    """Build the models NAMES, or all that are shipped."""
    place = Place(data, labels=labels, work=work, any_labels=any_labels)
    try:
        recipes = [read_recipe(HERE / f"{name}.toml") for name in names] or [r for r in all_recipes() if r.ship]
        for recipe in recipes:
            result = rebuild(recipe, place) if again else Build(recipe, place).run()
            click.echo(f"{recipe.name}: {result['bytes']:,} bytes, SHA-256 {result['sha256']}")
            for target in recipe.targets:
                click.echo(f"  {results.target_line(target, result)}")
    except LstmDeployError as e:
        raise click.ClickException(" ".join(str(e).split())) from e


if __name__ == "__main__":
    main()

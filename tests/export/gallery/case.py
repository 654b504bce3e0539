"""What a case of the gallery is, and the words, tags, sentences and training that the cases share."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_deploy.export.spec import Spec

LEXICON = {
    "DET": "the a this every",
    "NOUN": "cat dog fish river train window Anna Ivan Lee Smith Paris Rome New York",
    "VERB": "ate sees walks wrote can runs likes found saw",
    "ADJ": "old green small quiet light",
    "ADP": "in on near with",
    "PRON": "they she it",
    "ADV": "slowly never again",
    "PUNCT": ". ,",
}
TAGS = tuple(LEXICON)
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORD_TAGS = {word: tag for tag, words in LEXICON.items() for word in words.split()}
NAMES = {"PER": "Anna Ivan Lee Smith", "LOC": "Paris Rome New York"}
KINDS = {name: kind for kind, names in NAMES.items() for name in names.split()}
TRAINING = [
    sentence.split()
    for sentence in (
        "the old cat ate a small fish in the river .",
        "Anna Smith saw Ivan near New York .",
        "they never can light the quiet train near Lee Smith",
        "she found a green saw , it runs slowly again",
        "Ivan Lee likes every dog with this can",
        "this light walks on the window in Paris , Rome",
        "it sees Anna Lee",
        "York saw Lee in Rome , New York",
        "Smith likes Paris",
        "they wrote",
    )
]
UNSEEN = ("blorp", "stent", "wintering", "Lorraine", "rat")
ODD = ("Zürich", "42", "naïve", "-", "ΣΟΦΙΑ")


@dataclass(frozen=True)
class Case:
    """One module of the gallery as its author has it, and what it truly answers on one sentence.

    Attributes:
        styles: words for the table in the docs.
        make: the module, seeded, trained for a few steps, in evaluation mode.
        vocabulary: name -> id.
        tags: those of the scores.
        scores: raw scores of one sentence, (n, tags); None for what must be refused.
        kind: what they are: "logits", "log_probs", "probs" or "emissions".
        path: tag ids of one sentence.
        entry: the method that is exported.
        encode: makes the entry's arguments; None for one LongTensor of shape (n,).
        line: for what must be refused, text of the source line to be named.
        batch: whether encode and entry take several sentences, padded.
        inner: the scores of all sentences from the entry's arguments, where the entry does not give them.
        reset: what the author does before each sentence.
    """

    name: str
    styles: tuple[str, ...]
    make: Callable[[], nn.Module]
    vocabulary: Mapping[str, int] | Sequence[str]
    tags: Mapping[str, int] | Sequence[str]
    scores: Callable[[nn.Module, list[str]], Tensor] | None
    kind: str
    path: Callable[[nn.Module, list[str]], list[int]]
    entry: str = "forward"
    encode: Callable[[list[list[str]]], tuple] | None = None
    spec: Spec | None = None
    line: str | None = None
    batch: bool = False
    inner: Callable[..., Tensor] | None = None
    reset: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True)
class Words:
    """A vocabulary with its rules, and the argument makers that people write for one."""

    vocabulary: Mapping[str, int] | Sequence[str]
    spec: Spec | None = None

    @property
    def index(self) -> dict[str, int]:
        """Name -> id."""
        return index_of(self.vocabulary)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def ids(self, sentence: list[str]) -> list[int]:
        """The ids of one sentence."""
        spec, index = self.spec or Spec(), self.index
        names = [word.lower() if spec.case == "lower" else word for word in sentence]
        return [index[name] if spec.unknown is None else index.get(name, index[spec.unknown]) for name in names]

    def alone(self, sentences: list[list[str]]) -> tuple[Tensor]:
        """(n,): one sentence."""
        return (torch.tensor(self.ids(sentences[0])),)

    def row(self, sentences: list[list[str]]) -> tuple[Tensor]:
        """(batch, n), padded with 0."""
        longest = max(map(len, sentences))
        return (torch.tensor([self.ids(words) + [0] * (longest - len(words)) for words in sentences]),)

    def column(self, sentences: list[list[str]]) -> tuple[Tensor]:
        """(n, batch), padded with 0."""
        return (self.row(sentences)[0].t().contiguous(),)

    def row_and_lengths(self, sentences: list[list[str]]) -> tuple[Tensor, Tensor]:
        """(batch, n), and the lengths as a tensor."""
        return *self.row(sentences), torch.tensor([len(words) for words in sentences])

    def row_and_list(self, sentences: list[list[str]]) -> tuple[Tensor, list[int]]:
        """(batch, n), and the lengths as a list."""
        return *self.row(sentences), [len(words) for words in sentences]

    def row_and_mask(self, sentences: list[list[str]]) -> tuple[Tensor, Tensor]:
        """(batch, n), and 1 where a word is."""
        longest = max(map(len, sentences))
        mask = [[1] * len(words) + [0] * (longest - len(words)) for words in sentences]
        return *self.row(sentences), torch.tensor(mask)


KNOWN = Words({word: number for number, word in enumerate(WORD_TAGS)})
PADDED = Words(["<pad>", "<unk>", *WORD_TAGS], Spec(unknown="<unk>", padding="<pad>"))
LOWER = Words(
    {word: i for i, word in enumerate([*map(str.lower, WORD_TAGS), "UNK"])}, Spec(case="lower", unknown="UNK")
)


def index_of(names: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    """Name -> id, from either form."""
    return dict(names) if isinstance(names, Mapping) else {name: number for number, name in enumerate(names)}


def gold(sentence: list[str], tags: Mapping[str, int] | Sequence[str]) -> list[int]:
    """The right tag ids of a training sentence: parts of speech, or entities where the tags are those."""
    index = index_of(tags)
    if "O" in index:
        kinds = [KINDS.get(word, "") for word in sentence]
        pairs = zip(["", *kinds], kinds, strict=False)
        return [index["O" if not kind else ("I-" if kind == last else "B-") + kind] for last, kind in pairs]
    nouns = [last in ("the", "a", "this", "every", "green") for last in ["", *sentence][: len(sentence)]]
    return [
        index["NOUN" if noun and word in ("can", "saw", "light") else WORD_TAGS[word]]
        for noun, word in zip(nouns, sentence, strict=True)
    ]


def log_probs(scores: Tensor, kind: str) -> Tensor:
    """What the exported file is to answer for such scores; emissions stay as they are."""
    if kind == "emissions":
        return scores
    return scores.log() if kind == "probs" else scores.log_softmax(-1)


@contextmanager
def zero_start() -> Iterator[None]:
    """torch.randn gives zeros: what a random initial state counts as."""
    with mock.patch.object(torch, "randn", torch.zeros):
        yield


@torch.enable_grad()
def train(build: Callable[[], nn.Module], loss: Callable, seed: int) -> nn.Module:
    """A module after a few steps, in evaluation mode; ``loss(module, sentence)``."""
    torch.manual_seed(seed)
    module = build()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.06)
    for step in range(40):
        optimizer.zero_grad()
        sum(loss(module, TRAINING[(2 * step + i) % len(TRAINING)]) for i in range(2)).backward()
        optimizer.step()
    return module.eval()


def case(
    name: str,
    styles: str,
    build: Callable[[], nn.Module],
    words: Words,
    *,
    tags: Mapping[str, int] | Sequence[str] = TAGS,
    kind: str = "logits",
    pick: Callable[[Any], Any] = lambda output: output,
    path: Callable[[Any], list[int]] | None = None,
    loss: Callable[..., Tensor] | None = None,
    entry: str = "forward",
    encode: Callable[[list[list[str]]], tuple] | None = None,
    reset: Callable[[nn.Module], None] | None = None,
    inner: Callable[..., Tensor] | None = None,
    **rest: Any,
) -> Case:
    """A `Case` from what differs.

    Args:
        styles: words for the table, with commas between.
        pick: output of the entry, or of ``inner`` -> scores (n, tags).
        path: output of the entry -> tag ids; None for the best of the scores.
        loss: ``loss(module, gold tag ids, *arguments)``; None for the cross-entropy of the scores.
        reset: what the author does before each sentence.
        inner: ``inner(module, *arguments)`` -> what is picked from, where the entry gives no scores.
        rest: goes to `Case`.
    """
    arguments = encode or words.alone

    def run(module: nn.Module, sentence: list[str]) -> Any:
        if reset:
            reset(module)
        with zero_start():
            return getattr(module, entry)(*arguments([sentence]))

    def scores(module: nn.Module, sentence: list[str]) -> Tensor:
        if inner is None:
            return pick(run(module, sentence))
        if reset:
            reset(module)
        with zero_start():
            return pick(inner(module, *arguments([sentence])))

    def best(module: nn.Module, sentence: list[str]) -> list[int]:
        return path(run(module, sentence)) if path else scores(module, sentence).argmax(-1).tolist()

    def training_loss(module: nn.Module, sentence: list[str]) -> Tensor:
        if loss:
            return loss(module, torch.tensor(gold(sentence, tags)), *arguments([sentence]))
        return functional.nll_loss(log_probs(scores(module, sentence), kind), torch.tensor(gold(sentence, tags)))

    rest.setdefault("spec", words.spec)
    return Case(
        name=name,
        styles=tuple(styles.split(", ")),
        make=partial(train, build, training_loss, crc32(name.encode())),
        vocabulary=words.vocabulary,
        tags=tags,
        scores=scores,
        kind=kind,
        path=best,
        entry=entry,
        encode=encode,
        inner=inner,
        reset=reset,
        **rest,
    )


def refused(name: str, why: str, build: Callable[[], nn.Module], words: Words, line: str, **rest: Any) -> Case:
    """A `Case` that has no right file: the source line named must contain ``line``."""
    made = case(name, why, build, words, **rest)
    return Case(**{**vars(made), "line": line, "styles": (why,)})


def draw(case: Case, count: int, seed: int, longest: int = 30) -> list[list[str]]:
    """Sentences of any words that ``case`` takes, of 1 to ``longest`` words, both ends among them."""
    chance = random.Random(seed)
    spec = case.spec or Spec()
    names = [name for name in case.vocabulary if name not in (spec.unknown, spec.padding)]
    unseen = list(UNSEEN) if spec.unknown else []
    if unseen and (spec.characters is None or spec.unknown_character):
        unseen += ODD
    lengths = [1, longest, 2] + [chance.randint(1, longest) for _ in range(count - 3)]
    sentences = [
        [chance.choice(unseen if unseen and chance.random() < 0.15 else names) for _ in range(length)]
        for length in lengths[:count]
    ]
    if spec.case == "lower":
        change = (str.upper, str.title, str.lower)
        sentences = [[chance.choice(change)(word) for word in words] for words in sentences]
    return sentences

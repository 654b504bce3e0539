"""Words, sentences and tags from raw text, against the official scorer (udeval of the package udtools)."""

import importlib.util
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_deploy.formats.documents import Document, SurfaceToken, read_documents
from lstm_deploy.raw_scoring import RawTextScorer, describe

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FIGURES = {"sentences": "Sentences", "words": "Words", "upos": "UPOS"}


@pytest.fixture(scope="module")
def udeval():
    """The module alone: the package's own imports need more than scoring does."""
    spec = importlib.util.find_spec("udtools")
    if spec is None:
        pytest.skip("udtools, which has the official scorer, is not installed")
    path = Path(spec.submodule_search_locations[0]) / "udeval.py"
    spec = importlib.util.spec_from_file_location("udeval", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_count_by_hand():
    gold = document(
        "I cannot go.Yes", [[("I", "P"), (("can", "V"), ("not", "A")), ("go", "V"), (".", ".")], [("Yes", "I")]]
    )
    scorer = RawTextScorer("upos")
    # "cannot" whole: neither of its words; "go." in one: neither of the two; the sentences: both.
    scorer.add(gold, [[(0, 1), (2, 8), (9, 12)], [(12, 15)]], [["P", "V", "V"], ["X"]])
    report = scorer.report()
    assert report["sentences"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}
    assert report["words"] == {"precision": 2 / 4, "recall": 2 / 6, "f1": 4 / 10, "support": 6}
    assert report["upos"]["f1"] == 2 / 10
    assert describe(report).splitlines()[1].startswith("words      precision  50.00  recall  33.33  f1  40.00")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_as_the_official_scorer(udeval, data):
    draw = data.draw
    text = draw(st.text("ab. ", min_size=1, max_size=24).filter(str.strip))
    gold, found = segmentation(draw, text), segmentation(draw, text)
    pieces = [[_gold_token(draw, text[a:b]) for a, b in sentence] for sentence in gold]
    tokens = [
        [
            SurfaceToken(a, b, tuple(form for form, _ in words), tuple(tag for _, tag in words))
            for (a, b), words in zip(sentence, parts, strict=True)
        ]
        for sentence, parts in zip(gold, pieces, strict=True)
    ]
    tags = [[draw(st.sampled_from("XY")) for _ in sentence] for sentence in found]
    scorer = RawTextScorer("upos")
    scorer.add(Document(text, tokens), found, tags)
    answer = [[[(text[a:b], tag)] for (a, b), tag in zip(s, t, strict=True)] for s, t in zip(found, tags, strict=True)]
    same(scorer.report(), official(udeval, conllu(text, gold, pieces), conllu(text, found, answer)))


@pytest.mark.parametrize(
    "name", ["ud-english-ewt/en_ewt-ud-dev", "ud-turkish-imst/tr_imst-ud-dev", "ud-chinese-gsdsimp/zh_gsdsimp-ud-dev"]
)
def test_a_treebank_cut_at_white_space_as_the_official_scorer(udeval, name):
    path = DATA / f"{name}.conllu.xz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    scorer = RawTextScorer("upos")
    gold_file, found_file = [], []
    for gold in read_documents(path, "upos"):
        found = [[]]
        start = 0
        for part in gold.text.split():
            start = gold.text.index(part, start)
            found[-1].append((start, start + len(part)))
            start += len(part)
            if part.endswith((".", "?", "。")):
                found.append([])
        found = [sentence for sentence in found if sentence]
        scorer.add(gold, found, [["NOUN"] * len(sentence) for sentence in found])
        gold_file.append(
            conllu(
                gold.text,
                [[(t.start, t.end) for t in sentence] for sentence in gold.sentences],
                [[list(zip(t.words, t.tags, strict=True)) for t in sentence] for sentence in gold.sentences],
            )
        )
        answer = [[[(gold.text[a:b], "NOUN")] for a, b in sentence] for sentence in found]
        found_file.append(conllu(gold.text, found, answer))
    same(scorer.report(), official(udeval, "".join(gold_file), "".join(found_file)))


def document(text, sentences):
    """From forms with tags; a tuple of several is a multiword token."""
    at, found = 0, []
    for sentence in sentences:
        tokens = []
        for token in sentence:
            words = [token] if isinstance(token[0], str) else list(token)
            form = "".join(form for form, _ in words)
            at = text.index(form, at)
            tokens.append(SurfaceToken(at, at + len(form), tuple(w for w, _ in words), tuple(t for _, t in words)))
            at += len(form)
        found.append(tokens)
    return Document(text, found)


def segmentation(draw, text):
    """Any cut of ``text`` into sentences of words."""
    sentences = []
    for i, char in enumerate(text):
        if char == " ":
            continue
        what = draw(st.sampled_from("swi")) if sentences else "s"
        if what == "s":
            sentences.append([(i, i + 1)])
        elif what == "w" or text[i - 1] == " ":
            sentences[-1].append((i, i + 1))
        else:
            sentences[-1][-1] = (sentences[-1][-1][0], i + 1)
    return sentences


def _gold_token(draw, form):
    """Its words and their tags: now and then two, which may have other forms than it."""
    tag = st.sampled_from("XY")
    if draw(st.integers(0, 2)):
        return [(form, draw(tag))]
    return [(draw(st.sampled_from(["a", "B", "b.", form])), draw(tag)) for _ in range(draw(st.integers(2, 3)))]


def conllu(text, sentences, words):
    """The file: of each token its form and the words in it."""
    lines = []
    for spans, tokens in zip(sentences, words, strict=True):
        number = 1
        for (start, end), parts in zip(spans, tokens, strict=True):
            if len(parts) > 1:
                lines.append(f"{number}-{number + len(parts) - 1}\t{text[start:end]}" + "\t_" * 8)
            for form, tag in parts:
                head = 0 if number == 1 else 1
                lines.append(f"{number}\t{form}\t_\t{tag}\t_\t_\t{head}\t{'dep' if head else 'root'}\t_\t_")
                number += 1
        lines.append("")
    return "".join(f"{line}\n" for line in lines)


def official(udeval, gold, found):
    files = [udeval.load_conllu(io.StringIO(content), "", {}) for content in (gold, found)]
    return udeval.evaluate(*files)


def same(report, scores):
    for ours, theirs in FIGURES.items():
        assert report[ours]["support"] == scores[theirs].gold_total
        for figure in ("precision", "recall", "f1"):
            assert report[ours][figure] == pytest.approx(getattr(scores[theirs], figure)), (ours, figure)

"""Raw text on the command line: run and eval by a segmenter and by the rule."""

import json

import pytest
from click.testing import CliRunner
from model_files import SEGMENTER, STREAMING, SUBWORD, rewrite, stored

from lstm_deploy import Predictor, Segmenter
from lstm_deploy.cli import main
from lstm_deploy.formats.documents import read_documents
from lstm_deploy.raw_scoring import RawTextScorer

TEXT = "Ann went\nto Oslo. Mr. Lee didn't go.\n \n\nthe cat ate"
GOLD = """\
# newdoc
1\tAnn\t_\tPROPN\tB-PER\t_\t_\t_\t_\t_
2\twent\t_\tVERB\tO\t_\t_\t_\t_\tSpaceAfter=No
3\t.\t_\tPUNCT\tO\t_\t_\t_\t_\t_

1-2\tdidn't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdid\t_\tAUX\tO\t_\t_\t_\t_\t_
2\tn't\t_\tPART\tO\t_\t_\t_\t_\t_
"""


def _run(*arguments, text=None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=text)


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.conllu"
    path.write_text(GOLD, encoding="utf-8")
    return path


def _tokens(done):
    assert done.exit_code == 0, done.output
    return [json.loads(line)["tokens"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("model", "options"),
    [(SUBWORD, []), (SUBWORD, ["--line-buffered"]), (SUBWORD, ["--window", "2", "--margin", "1"]), (STREAMING, [])],
)
def test_rules_find_sentences_across_lines(model, options):
    done = _run("run", "--model", model, "--sentences", "rules", "--format", "jsonl", *options, text=TEXT)
    assert _tokens(done) == [
        ["Ann", "went", "to", "Oslo", "."],
        ["Mr.", "Lee", "did", "n't", "go", "."],
        ["the", "cat", "ate"],
    ]


@pytest.mark.parametrize("options", [[], ["--line-buffered"]])
def test_a_segmenter_finds_them(options, tmp_path):
    expected = [list(sentence.tokens) for sentence in Segmenter.load(SEGMENTER).segment(TEXT)]
    command = ["run", "--model", SUBWORD, "--segmenter", SEGMENTER, "--format", "jsonl", *options]
    assert _tokens(_run(*command, text=TEXT)) == expected
    assert _tokens(_run(*command, TEXT)) == expected
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert _tokens(_run(*command, "--input", path)) == expected


def test_conllu_output_has_the_text_of_each_sentence():
    done = _run("run", "--model", SUBWORD, "--sentences", "rules", "--format", "conllu", text=TEXT)
    texts = [line for line in done.stdout.splitlines() if line.startswith("# text")]
    assert texts == ["# text = Ann went to Oslo.", "# text = Mr. Lee didn't go.", "# text = the cat ate"]


def test_lines_are_what_there_is_without_an_option():
    for options in ([], ["--sentences", "lines"]):
        done = _run("run", "--model", SUBWORD, "--format", "jsonl", *options, text="Ann went\nto Oslo. go\n")
        assert _tokens(done) == [["Ann", "went"], ["to", "Oslo", ".", "go"]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--sentences", "rules", "--segmenter", SEGMENTER, "x"], 2, "leave --sentences out"),
        (["run", "--sentences", "rules", "--input-format", "jsonl"], 2, "the input is jsonl"),
        (["run", "--segmenter", SUBWORD, "x"], 1, "expected a segmenter"),
        (["eval", SUBWORD, "GOLD", "--segmenter", SEGMENTER], 2, "give --raw too"),
        (["eval", SEGMENTER, "GOLD", "--raw", "--segmenter", SEGMENTER], 2, "finds them itself"),
        (["eval", SUBWORD, "GOLD", "--raw"], 1, "pass --column upos or xpos"),
        (["eval", SUBWORD, "GOLD", "--raw", "--plots", "there"], 2, "--plots"),
        (
            ["eval", SUBWORD, "GOLD", "--raw", "--column", "upos", "--unseen-tags", "wrong"],
            2,
            "--unseen-tags is for gold",
        ),
        (["eval", SEGMENTER, "GOLD", "--unseen-tags", "error"], 2, "--unseen-tags is for gold words"),
        (["eval", SEGMENTER, "GOLD", "--column", "upos"], 2, "--column upos is for a model that tags words"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(arguments, code, says, gold):
    model = ["--model", SUBWORD] if arguments[0] == "run" else []
    done = _run(*[gold if a == "GOLD" else a for a in arguments], *model, text="x")
    assert done.exit_code == code
    assert says in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_the_segmenter_runs_as_the_tagger_does(monkeypatch):
    given = []
    opened = Predictor._of.__func__
    monkeypatch.setattr(
        Predictor,
        "_of",
        classmethod(lambda cls, file, *args, **more: given.append((args, more)) or opened(cls, file, *args, **more)),
    )
    options = ["--provider", "auto", "--threads", "1", "--batch-tokens", "64"]
    done = _run("run", "--model", SUBWORD, "--segmenter", SEGMENTER, *options, "Ann went")
    assert done.exit_code == 0, done.output
    settings = {"threads": 1, "batch_tokens": 64, "cuda": None}
    assert given == [(("auto",), settings)] * 2
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == ["provider: cpu", "segmenter's provider: cpu"]


def test_a_tokenizer_of_white_space_says_that_rules_find_little(tmp_path):
    spec = stored(SUBWORD, "tokenizer") | {"kind": "whitespace"}
    model = rewrite(SUBWORD, tmp_path / "white.onnx", tokenizer=spec)
    done = _run("run", "--model", model, "--sentences", "rules", "--format", "jsonl", text="Ann went. Ann went.\n\nto")
    assert _tokens(done) == [["Ann", "went.", "Ann", "went."], ["to"]]
    assert "white.onnx: its tokenizer cuts at white space alone" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_segmenter_is_no_tagger():
    done = _run("run", "--model", SEGMENTER, "Ann went")
    assert done.exit_code == 1
    assert "give this one as --segmenter" in done.output


def test_eval_from_raw_text(gold):
    done = _run("eval", SUBWORD, gold, "--raw", "--column", "xpos", "--json")
    report = json.loads(done.stdout)
    assert list(report) == ["sentences", "words", "xpos"]
    assert report["words"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 5}
    assert report["sentences"]["f1"] == 0.0  # no sentence ends before a small letter, says the rule
    assert 0 <= report["xpos"]["f1"] < 1
    assert "sentences  precision" in _run("eval", SUBWORD, gold, "--raw", "--column", "upos").stdout
    by_segmenter = json.loads(
        _run("eval", SUBWORD, gold, "--raw", "--column", "upos", "--segmenter", SEGMENTER, "--json").stdout
    )
    alone = json.loads(_run("eval", SEGMENTER, gold, "--json").stdout)
    assert alone == {key: by_segmenter[key] for key in ("sentences", "words")}
    scorer = RawTextScorer()
    for document in read_documents(gold):
        scorer.add(document, [s.offsets for s in Segmenter.load(SEGMENTER).segment(document.text)])
    assert alone == scorer.report()

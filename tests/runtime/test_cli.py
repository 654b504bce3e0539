"""The command line as its users meet it: outputs, exit codes, one-line errors, pipes."""

import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from model_files import CHARACTERS, CHARACTERS_CRF, SUBWORD, SUBWORD_INT8, TUTORIAL, corpus, rewrite, stored

from lstm_deploy import Predictor
from lstm_deploy.cli import main

COMMAND = [sys.executable, "-c", "from lstm_deploy.cli import main; main()"]
FISH = "They\tNN\nate\tV\nthe\tDET\nfish\tNN\n\n"
CONLLU = "# text = Ann ate\n1\tAnn\t_\t_\t_\t_\t_\t_\t_\t_\n2\tate\t_\t_\t_\t_\t_\t_\t_\t_\n\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with the tutorial's model under the default name."""
    (tmp_path / "exported").mkdir()
    shutil.copy(TUTORIAL, tmp_path / "exported" / "tagger.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments, text=None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=text)


def _process(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def _fails(done, *says, code=1):
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    if code == 1:
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
    for text in says:
        assert text in done.stderr


def test_texts_as_arguments(folder):
    assert _run("run", "They ate the fish").stdout == FISH
    assert _run("run", "They ate the fish", "They ate the fish").stdout == FISH * 2


def test_standard_input_is_one_sentence_a_line(folder):
    assert _run("run", text="They ate the fish\n\nThey ate the fish").stdout == FISH + "\n" + FISH
    assert _run("run", text="").stdout == ""


def test_json_lines_have_tokens_tags_and_scores(folder):
    done = _run("run", "--format", "jsonl", text="They ate\n\nthe 🐟\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["tokens"] for row in rows] == [["They", "ate"], [], ["the", "🐟"]]
    for row in rows:
        assert list(row) == ["tokens", "tags", "scores"]
        assert len(row["tokens"]) == len(row["tags"]) == len(row["scores"])
        assert all(0 < score <= 1 for score in row["scores"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.txt", "Ann ate\n"),
        ("x.conllu", CONLLU),
        ("x.tsv", "Ann\tO\nate\tO\n"),
        ("x.jsonl", '{"tokens": ["Ann", "ate"]}\n'),
        ("x.ndjson", '{"text": "Ann ate"}\n'),
    ],
)
def test_each_kind_of_input_plain_and_compressed(folder, name, content):
    expected = _run("run", "--model", SUBWORD, "Ann ate").stdout
    (folder / name).write_text(content)
    (folder / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert _run("run", "--model", SUBWORD, "--input", name).stdout == expected
    assert _run("run", "--model", SUBWORD, "--input", f"{name}.gz").stdout == expected


def test_input_format_overrides_the_name(folder):
    (folder / "x.dat").write_text("They\nate\nthe\nfish\n")
    assert _run("run", "--input", "x.dat", "--input-format", "columns").stdout == FISH
    assert _run("run", "--input", "-", "--input-format", "columns", text="They\nate\nthe\nfish\n").stdout == FISH


def test_conllu_output_keeps_the_file_and_fills_the_tags(folder):
    (folder / "x.conllu").write_text(CONLLU)
    out = _run("run", "--model", SUBWORD, "--input", "x.conllu", "--format", "conllu").stdout
    tags = [line.split("\t")[1] for line in _run("run", "--model", SUBWORD, "Ann ate").stdout.split("\n")[:2]]
    lines = CONLLU.splitlines()
    for i, tag in enumerate(tags, 1):
        lines[i] = lines[i].removesuffix("_") + f"Tag={tag}"
    assert out.splitlines() == lines


def test_output_file_appears_when_all_is_done(folder):
    assert _run("run", "--output", "out.tsv.gz", "They ate the fish").stdout == ""
    assert gzip.decompress((folder / "out.tsv.gz").read_bytes()).decode() == FISH
    (folder / "bad.tsv").write_text("a\tX\n" * 5000 + "b\n")
    _fails(_run("run", "--input", "bad.tsv", "--output", "never.txt"), "bad.tsv:5001: found 1 column")
    assert not [path for path in folder.iterdir() if "never" in path.name]


def test_what_is_tagged_part_by_part_asks_for_a_folder_and_its_options_for_files(folder):
    for arguments, says in [
        (["run", "--input", "."], "give --output, a folder for its parts, too"),
        (["run", "--input", "exported", "--input-format", "text"], "give --output"),
        (["run", "--input", "x.parquet"], "give --output"),
        (["run", "--on-error", "skip", "x"], "--on-error is for files"),
        (["run", "--input", "exported", "--output", "o", "--format", "jsonl"], "--format is for one stream"),
        (["run", "--input", "exported", "--output", "o", "--window", "9"], "--window is for one stream"),
    ]:
        _fails(_run(*arguments), says, code=2)


def test_ray_options_need_ray(folder):
    pytest.importorskip("pyarrow")
    for option, says in {"--gpus": "--gpus is for Ray", "--num-actors": "--num-actors is for Ray"}.items():
        _fails(_run("run", "--input", "exported", "--output", "o", option, "1"), says, code=2)
    both = ["--engine", "ray", "--processes", "2"]
    _fails(_run("run", "--input", "exported", "--output", "o", *both), "give --num-actors", code=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--model", "no.onnx", "x"], "make one with `lstm-deploy export`"),
        (["run", "--model", "x.txt", "x"], "not an ONNX model"),
        (["run", "--model", ".", "x"], "cannot open the model file"),
        (["run", "--input", "no.txt"], "no.txt: cannot read"),
        (["run", "--input", "x.doc"], "unknown kind of file"),
        (["run", "--output", "no/out.txt", "x"], "no/out.txt: cannot write"),
        (["run", "--output", "exported", "x"], "exported: cannot write"),
        (["run", "--input", "latin1.txt"], "latin1.txt:2: not UTF-8"),
        (["run", "--input", "bad.conllu"], "bad.conllu:1: found 2 columns"),
        (["run", "--input", "broken.txt.gz"], "damaged or cut off"),
        (["eval", "exported/tagger.onnx", "x.txt"], "plain text has no tags"),
        (["eval", "exported/tagger.onnx", "other.tsv"], "other.tsv:1: the tag 'NOUN' is not in the training data"),
        (["eval", "exported/tagger.onnx", "empty.tsv"], "no sentences"),
        (["eval", "exported/tagger.onnx", "bad.conllu"], "has no column tag"),
        (["eval", "no.onnx", "other.tsv"], "no.onnx"),
        (["verify", "no.onnx"], "no.onnx"),
        (["inspect", "x.txt"], "not an ONNX model"),
        (["inspect", "no.onnx"], "no.onnx"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(folder, arguments, says):
    (folder / "x.txt").write_text("text")
    (folder / "x.doc").write_text("text")
    (folder / "latin1.txt").write_bytes("ok\nnaïve\n".encode("latin-1"))
    (folder / "bad.conllu").write_text("a\tb\n")
    (folder / "broken.txt.gz").write_bytes(gzip.compress(b"They ate\n" * 100)[:-9])
    (folder / "other.tsv").write_text("fish\tNOUN\n")
    (folder / "empty.tsv").write_text("\n")
    _fails(_run(*arguments), says)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--input", "x.txt", "a text"],
        ["run", "--format", "xml", "x"],
        ["run", "--threads", "0", "x"],
        ["run", "--provider", "tpu", "x"],
        ["run", "--no-such-option"],
        ["eval", "exported/tagger.onnx"],
        ["verify", "--input", "x.txt"],
        ["train", "--dev", "x.conllu"],
        ["train", "--epochs", "0"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_is_exit_code_2(folder, arguments):
    _fails(_run(*arguments), code=2)


def test_nothing_to_tag_at_a_terminal(folder):
    pty = pytest.importorskip("pty")
    master, terminal = pty.openpty()
    done = subprocess.run([*COMMAND, "run"], stdin=terminal, capture_output=True, text=True)
    os.close(terminal)
    os.close(master)
    assert done.returncode == 2
    assert "nothing to tag" in done.stderr


def test_head_ends_the_command_quietly(folder):
    (folder / "long.txt").write_text("They ate the fish\n" * 100_000)
    command = f"{sys.executable} -c 'from lstm_deploy.cli import main; main()' run --model tagger --input long.txt"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -2; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert done.stdout == "They\tNN\nate\tV\n0\n"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["run", "--model", "tagger", "They"], ["inspect", "--json"], ["verify"]])
def test_a_full_disk_is_an_error(folder, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: standard output: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        ("run <&-", 2, "nothing to tag"),
        ("run --input - <&-", 1, "standard input is closed"),
        ("run 'They ate' >&-", 1, "standard output is closed"),
        ("run --input x.txt 2>&-", 0, ""),
    ],
)
def test_closed_standard_streams(folder, redirection, code, says):
    (folder / "x.txt").write_text("They ate\n")
    command = f"{sys.executable} -c 'from lstm_deploy.cli import main; main()' {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", [".", "", "/", "..", "exported", "x" * 300])
def test_outputs_that_are_no_file(folder, output):
    _fails(_run("run", "--output", output, "They ate"), "cannot write")
    assert [path.name for path in folder.iterdir()] == ["exported"]


def test_line_buffered_answers_before_the_input_ends(folder):
    with subprocess.Popen(
        [*COMMAND, "run", "--line-buffered"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdin.write("They ate the fish\n")
        child.stdin.flush()
        assert "".join(child.stdout.readline() for _ in range(5)) == FISH
        child.stdin.close()
        assert child.wait(60) == 0


def _has_cuda():
    from lstm_deploy.providers import open_session

    return open_session(TUTORIAL, "auto").provider == "cuda"


@pytest.mark.skipif(_has_cuda(), reason="CUDA loads here")
def test_cuda_that_does_not_load_is_an_error_with_cause_and_cure(folder):
    _fails(
        _run("run", "--provider", "cuda", "They ate"), "CUDA is not available: ", "lstm-deploy[gpu]", "--provider cpu"
    )


def test_auto_says_what_it_chose(folder):
    done = _run("run", "--provider", "auto", "They ate the fish")
    assert done.stdout == FISH
    assert done.stderr.startswith("provider: c")


def test_eval_reports_fractions(folder):
    (folder / "gold.tsv").write_text("They\tNN\nate\tV\nthe\tDET\ndog\tV\n\n")
    report = json.loads(_run("eval", "exported/tagger.onnx", "gold.tsv", "--json").stdout)
    assert report["tokens"] == 4
    assert report["sentences"] == 1
    assert report["accuracy"] in (0.75, 1.0)
    assert report["unknown_words"]["tokens"] == 1
    assert set(report["tags"]) <= {"NN", "V", "DET"}
    assert "entities" not in report
    assert "accuracy" in _run("eval", "exported/tagger.onnx", "gold.tsv").stdout


def test_eval_can_count_unseen_tags_as_wrong(folder):
    (folder / "gold.tsv").write_text("They\tNN\nate\tNOUN\n")
    report = json.loads(_run("eval", "exported/tagger.onnx", "gold.tsv", "--unseen-tags", "wrong", "--json").stdout)
    assert report["accuracy"] == 0.5


def test_eval_of_entities_on_a_real_corpus(folder):
    gold = corpus("wnut17/emerging.dev.conll.xz")
    done = _run("eval", SUBWORD, gold, "--unseen-tags", "wrong", "--json")
    report = json.loads(done.stdout)
    assert report["tokens"] == 15_733
    assert report["entities"]["support"] == 836


def test_verify_passes_and_fails(folder):
    assert json.loads(_run("verify", "--json").stdout)["ok"]
    golden = stored(SUBWORD, "golden")
    golden[0]["scores"][0] *= 0.99
    rewrite(SUBWORD, "lie.onnx", golden=golden)
    done = _run("verify", "lie.onnx")
    assert done.exit_code == 1
    assert "not verified: case 1" in done.stderr
    rewrite(SUBWORD, "none.onnx", golden=[])
    assert "no golden cases" in _run("verify", "none.onnx").stderr


def test_inspect_shows_everything(folder):
    report = json.loads(_run("inspect", SUBWORD, "--json").stdout)
    assert report["format_version"] == 5
    assert report["graph_form"] == "reverse_sequence"
    assert report["runtimes"] == ["onnxruntime", "onnxruntime-node", "onnxruntime-web", "openvino"]
    assert report["opsets"] == {"ai.onnx": 17}
    assert [node["op"] for node in report["nodes"]].count("LSTM") == 4
    assert report["words"] == stored(SUBWORD, "words")
    assert report["golden"] == stored(SUBWORD, "golden")
    assert report["proof"]["tag_differences"] == 0
    text = _run("inspect", SUBWORD).stdout
    for part in (
        "reverse_sequence",
        "openvino",
        "word_ids",
        "subword_ids",
        "lengths",
        "B-PER",
        "onnxruntime",
        "PyTorch",
        "4 LSTM",
    ):
        assert part in text


def test_inspect_shows_decoder_characters_and_notes(folder):
    report = json.loads(_run("inspect", CHARACTERS_CRF, "--json").stdout)
    assert report["decoder"] == stored(CHARACTERS_CRF, "decoder")
    assert report["notes"] == ["random weights, random transitions"]
    text = _run("inspect", CHARACTERS_CRF).stdout
    for part in ("25 transitions, 2 of them forbidden", "unknown_id none", "characters 34: ! '", "note       random"):
        assert part in text
    text = _run("inspect", CHARACTERS).stdout
    for part in ("best tag of each token", "char_ids", "words      0", "2 RNN"):
        assert part in text


@pytest.mark.parametrize("model", [CHARACTERS, CHARACTERS_CRF], ids=lambda path: path.stem)
def test_every_command_takes_models_of_characters(folder, model):
    assert json.loads(_run("verify", model, "--json").stdout)["ok"]
    Path("gold.conll").write_text("cat\tO\nate\tB-PER\n\n")
    report = json.loads(_run("eval", model, "gold.conll", "--json").stdout)
    assert (report["tokens"], report["unknown_words"]["tokens"]) == (2, 0)
    tagged = json.loads(_run("run", "--model", model, "--format", "jsonl", "the cat ate").stdout)
    assert len(tagged["tags"]) == len(tagged["scores"]) == 3
    assert "much text" in _run("bench", model, "--seconds", "0.001", "--threads", "1").stdout


@pytest.mark.parametrize(("model", "says"), [(CHARACTERS_CRF, "no word 'dog'"), (CHARACTERS, "no character 'g'")])
def test_a_word_without_an_id_is_one_clear_error(folder, model, says):
    _fails(_run("run", "--model", model, "the dog"), says, "export again with")
    done = _run("run", "--model", model, "--output", "out.txt", text="the cat\nthe dog\n")
    _fails(done, says)
    assert not Path("out.txt").exists()


@pytest.mark.parametrize("command", ["train", "export", "run", "eval", "verify", "bench", "inspect"])
def test_each_help_shows_an_example(command):
    done = _run(command, "--help")
    assert done.exit_code == 0
    assert f"\n  lstm-deploy {command} " in done.stdout
    assert command in _run("--help").stdout


def test_a_stream_takes_constant_memory(folder):
    """Ten times the text may not take noticeably more memory."""
    code = (
        "import resource; from lstm_deploy.cli import main\n"
        "main(['run', '--input', '{0}', '--output', '/dev/null'], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name, lines in (("short.txt", 10_000), ("long.txt", 100_000)):
        (folder / name).write_text("".join(f"They ate the fish w{i % 90_000} .\n" for i in range(lines)))
        done = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks


def test_bench_measures_files_and_says_what_to_use(folder):
    done = _run("bench", SUBWORD, SUBWORD_INT8, "--seconds", 0.001, "--threads", 2, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    cells = result["cells"]
    assert {cell["precision"] for cell in cells} == {"fp32", "int8"}
    assert {cell["threads"] for cell in cells if not cell["rows"]} == {1, 2}
    assert len({(cell["rows"], cell["length"]) for cell in cells}) == 4 * 3 + 1
    assert all(cell["seconds"] > 0 for cell in cells)
    mixed = [cell for cell in cells if not cell["rows"]]
    assert result["bulk"] == max(mixed, key=lambda cell: cell["tokens_per_second"])
    assert (result["single"]["rows"], result["single"]["length"]) == (1, 20)


def test_what_bench_recommends_runs(folder):
    text = _run("bench", SUBWORD, "--seconds", 0.001).stdout
    command = next(line.strip() for line in text.splitlines() if "lstm-deploy run" in line)
    (folder / "FILE.txt").write_text("Ann ate fish\n")
    done = _run(*shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\t") == 3
    calls = [line.strip() for line in text.splitlines() if "Predictor.load" in line]
    names = {"Predictor": Predictor, "tokens": ["Ann"], "sentences": [["Ann"], ["Lee", "ate"]]}
    assert [len(eval(call, names)) for call in calls] == [1, 2]


def test_bench_of_a_missing_file_is_one_line(folder):
    _fails(_run("bench", "nothing.onnx"), "nothing.onnx", "lstm-deploy export")


def test_batch_tokens_changes_no_answer(folder):
    (folder / "text.txt").write_text("They ate the fish\nthe fish\n" * 50)
    answers = {
        _run("run", "--input", "text.txt", "--batch-tokens", n, "--format", "text").stdout for n in (1, 64, 9999)
    }
    assert len(answers) == 1

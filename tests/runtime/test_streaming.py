"""A streaming file in chunks of any lengths gives what the whole sentence gives, to the last bit."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from model_files import STREAMING, SUBWORD, rewrite, stored

from lstm_deploy import Predictor, StreamingPredictor
from lstm_deploy.cli import main
from lstm_deploy.errors import MetadataError, ModelFileError, ProviderError
from lstm_deploy.golden import check_golden
from lstm_deploy.modelfile import read_model_file
from lstm_deploy.predictor import Predictor as WholePredictor
from lstm_deploy.streaming import open_predictor

TEXT = "the cat ate fish Ann Lee went to Oslo in May . , ! n't unheard Of-word 東京 ß"
WORDS = TEXT.split()
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=40)


@pytest.fixture(scope="module")
def predictor():
    return StreamingPredictor.load(STREAMING, threads=2)


def _cut(tokens, cuts):
    ends = sorted({0, len(tokens), *(cut % (len(tokens) + 1) for cut in cuts)})
    return [tokens[a:b] for a, b in pairwise(ends)]


def _joined(results):
    return [tuple(item for r in results for item in getattr(r, name)) for name in ("tokens", "tags", "scores")]


@given(SENTENCES, st.lists(st.integers(0, 40), max_size=12))
def test_chunks_are_the_whole(predictor, tokens, cuts):
    stream = predictor.stream()
    chunks = [*_cut(tokens, cuts), []]
    results = [stream.push(chunk) for chunk in chunks]
    assert [len(r.tags) for r in results] == list(map(len, chunks))
    whole = predictor.predict(tokens)
    assert _joined(results) == [whole.tokens, whole.tags, whole.scores]


@given(st.lists(st.tuples(SENTENCES, st.lists(st.integers(0, 40), max_size=5)), max_size=9))
def test_many_streams_in_ragged_batches_are_each_alone(predictor, texts):
    cut = [_cut(tokens, cuts) for tokens, cuts in texts]
    streams = [predictor.stream() for _ in texts]
    results = [[] for _ in texts]
    for step in range(max(map(len, cut), default=0)):
        chunks = [chunks[step] if step < len(chunks) else [] for chunks in cut]
        for found, result in zip(results, predictor.push_batch(streams, chunks), strict=True):
            found.append(result)
    for (tokens, _), found in zip(texts, results, strict=True):
        whole = predictor.predict(tokens)
        assert _joined(found) == [whole.tokens, whole.tags, whole.scores]


@given(st.lists(SENTENCES, max_size=9))
def test_whole_sentences_in_batches_and_streams(predictor, sentences):
    alone = [predictor.predict(tokens) for tokens in sentences]
    assert predictor.predict_batch(sentences) == alone
    assert list(predictor.predict_stream(iter(sentences))) == alone


def test_log_probabilities_of_chunks_are_those_of_the_whole(predictor):
    random = np.random.default_rng(3)
    tokens = random.choice(WORDS, 300).tolist()
    session, encode = predictor.session, predictor.encoder.encode
    whole = session.run(encode([tokens]))
    states, at, parts = session.initial_states(1), 0, []
    while at < len(tokens):
        size = int(random.choice([1, 2, 7, 16, 33]))
        found, states = session.run_chunk(encode([tokens[at : at + size]]), states)
        parts.append(found)
        at += size
    assert np.abs(np.concatenate([p.log_probs[0] for p in parts]) - whole.log_probs[0]).max() == 0.0
    np.testing.assert_array_equal(np.concatenate([p.tag_ids[0] for p in parts]), whole.tag_ids[0])


def test_long_sentences_run_in_pieces_and_are_exact():
    tokens = np.random.default_rng(4).choice(WORDS, 1000).tolist()
    pieces = StreamingPredictor.load(STREAMING, threads=2, batch_tokens=7)
    whole = StreamingPredictor.load(STREAMING, batch_tokens=1000).predict(tokens)
    assert pieces.predict_long(tokens) == whole
    sentences = [tokens[: n * 31] for n in range(6)]
    assert pieces.predict_batch(sentences) == [pieces.predict(s) for s in sentences]
    assert pieces.predict(tokens, scores=False).tags == whole.tags


def test_state_is_plain_numpy_and_can_be_parked(predictor):
    tokens = ["Ann", "Lee", "went", "to", "Oslo", "in", "May", "."]
    whole = predictor.predict(tokens)
    stream = predictor.stream()
    stream.push(tokens[:3])
    parked = pickle.dumps(stream.state)
    assert all(type(values) is np.ndarray and values.dtype == np.float32 for values in stream.state.values())
    assert predictor.stream(pickle.loads(parked)).push(tokens[3:]).scores == whole.scores[3:]
    twin = stream.copy()
    assert stream.push(tokens[3:]).scores == twin.push(tokens[3:]).scores == whole.scores[3:]
    stream.state = pickle.loads(parked)
    assert stream.push(tokens[3:]).scores == whole.scores[3:]
    stream.reset()
    assert stream.push(tokens) == whole


def test_state_is_a_copy(predictor):
    stream = predictor.stream()
    stream.push(["Ann"])
    kept = copy.deepcopy(stream.state)
    assert kept
    stream.state["h_0"][:] = 9
    assert all((stream.state[name] == kept[name]).all() for name in kept)


@pytest.mark.parametrize(
    "spoil", [lambda s: s.pop("h_0"), lambda s: s.update(x=s["h_0"]), lambda s: s.update(h_0=[1.0])]
)
def test_a_state_of_another_model_is_refused(predictor, spoil):
    state = predictor.stream().state
    spoil(state)
    with pytest.raises(ValueError, match="expected"):
        predictor.stream(state)


def test_misuse_is_an_error_and_moves_no_stream(predictor):
    streams = [predictor.stream(), predictor.stream()]
    before = [stream.state for stream in streams]
    for wrong, error in (
        (lambda: streams[0].push("Ann"), TypeError),
        (lambda: predictor.push_batch(streams, [["Ann"], ["Ann", 3]]), TypeError),
        (lambda: predictor.push_batch(streams, [["Ann"]]), ValueError),
        (lambda: predictor.push_batch([streams[0]] * 2, [["Ann"], ["Lee"]]), ValueError),
        (lambda: StreamingPredictor.load(STREAMING).push_batch(streams, [["Ann"], ["Lee"]]), ValueError),
    ):
        with pytest.raises(error):
            wrong()
    for stream, kept in zip(streams, before, strict=True):
        assert all((stream.state[name] == kept[name]).all() for name in kept)


def test_many_threads_on_one_predictor(predictor):
    random = np.random.default_rng(5)
    texts = [random.choice(WORDS, 60).tolist() for _ in range(16)]
    expected = [predictor.predict(tokens) for tokens in texts]

    def push(tokens):
        stream = predictor.stream()
        return _joined([stream.push(tokens[i : i + 3]) for i in range(0, len(tokens), 3)])

    with ThreadPoolExecutor(8) as pool:
        for found, whole in zip(pool.map(push, texts), expected, strict=True):
            assert found == [whole.tokens, whole.tags, whole.scores]


def test_predictor_is_pickled_by_path(predictor):
    other = pickle.loads(pickle.dumps(predictor))
    assert (other.path, other.threads) == (predictor.path, 2)
    assert other.predict(["Ann"]) == predictor.predict(["Ann"])


def test_each_predictor_refuses_the_others_files_in_one_line():
    with pytest.raises(ModelFileError, match="StreamingPredictor") as e:
        Predictor.load(STREAMING)
    assert "\n" not in str(e.value)
    with pytest.raises(ModelFileError, match="load it with Predictor") as e:
        StreamingPredictor.load(SUBWORD)
    assert "\n" not in str(e.value)
    assert isinstance(open_predictor(STREAMING), StreamingPredictor)
    assert isinstance(open_predictor(SUBWORD), WholePredictor)


def test_golden_cases_hold_alone_in_a_batch_and_in_chunks(predictor):
    report = check_golden(predictor)
    assert report.cases
    assert not report.failures


def test_a_client_that_knows_no_states_refuses_the_file():
    kinds = {spec["kind"] for spec in stored(STREAMING, "inputs")}
    assert "state" in kinds  # which section 2 of FORMAT.md has a client refuse that does not know it


def test_each_state_names_the_output_that_feeds_it():
    outputs = {spec["name"]: spec for spec in stored(STREAMING, "outputs")}
    states = [spec for spec in stored(STREAMING, "inputs") if spec["kind"] == "state"]
    assert [spec["name"] for spec in states] == ["h_0", "c_0", "h_1", "c_1"]
    for spec in states:
        assert outputs[spec["next"]]["kind"] == "state"
        assert outputs[spec["next"]]["size"] == spec["size"] == 4
        assert spec["initial"] is None


def _state(spec, **changes):
    return [s | changes if s["name"] == "h_0" else s for s in spec]


@pytest.mark.parametrize(
    "changes",
    [{"next": "next_c_0"}, {"next": "elsewhere"}, {"size": 5}, {"size": 0}, {"size": None}, {"initial": [1.0]},
     {"initial": ["x"] * 4}, {"dtype": "float16"}, {"next": 3}],
)  # fmt: skip
def test_states_that_are_not_the_graphs_are_refused(tmp_path, changes):
    spec = _state(stored(STREAMING, "inputs"), **changes)
    outputs = stored(STREAMING, "outputs")
    if "size" in changes:
        outputs = [s | {"size": 5} if s["name"] == "next_h_0" else s for s in outputs]
    with pytest.raises(MetadataError):
        open_predictor(rewrite(STREAMING, tmp_path / "m.onnx", inputs=spec, outputs=outputs))


def test_states_beside_a_crf_are_refused(tmp_path):
    tags = len(stored(STREAMING, "tags"))
    crf = {"kind": "crf", "transitions": [[0.0] * tags] * tags, "start": [0.0] * tags, "end": [0.0] * tags}
    with pytest.raises(MetadataError, match="paths"):
        open_predictor(rewrite(STREAMING, tmp_path / "m.onnx", decoder=crf))


def test_another_start_than_zeros(tmp_path, predictor):
    start = [0.5, -0.25, 0.125, 1.0]
    path = rewrite(STREAMING, tmp_path / "m.onnx", inputs=_state(stored(STREAMING, "inputs"), initial=start))
    other = StreamingPredictor.load(path)
    assert other.stream().state["h_0"].tolist() == start
    stream = predictor.stream()
    stream.state = stream.state | {"h_0": np.array(start)}
    assert other.predict(["Ann", "went"]) == stream.push(["Ann", "went"])


def test_a_row_without_tokens_keeps_its_state(predictor):
    session = predictor.session
    states = {name: values + 0.5 for name, values in session.initial_states(2).items()}
    inputs = predictor.encoder.encode([["Ann", "Lee"], []])
    _, after = session.run_chunk(inputs, states)
    assert after.keys() == states.keys()
    for name, values in after.items():
        assert (values[1] == states[name][1]).all()
        assert (values[0] != states[name][0]).any()


def _run(arguments, text):
    return CliRunner().invoke(main, ["run", "--model", str(STREAMING), *arguments], input=text)


def test_run_answers_chunks_and_an_empty_line_ends_a_sentence(predictor):
    done = _run([], "Ann Lee\nwent to\n\nthe cat")
    assert done.exit_code == 0, done.stderr
    first, second = predictor.predict(["Ann", "Lee", "went", "to"]), predictor.predict(["the", "cat"])
    rows = ["".join(f"{t}\t{tag}\n" for t, tag in zip(r.tokens, r.tags, strict=True)) for r in (first, second)]
    assert done.stdout == "\n".join(rows) + "\n"


def test_run_takes_tokens_as_they_are_in_columns_and_gives_json_lines(predictor):
    done = _run(["--input-format", "columns", "--format", "jsonl"], "Ann-Lee\tX\ndon't\n\n")
    assert done.exit_code == 0, done.stderr
    assert [line.split('"tags"')[0] for line in done.stdout.splitlines()] == [
        '{"tokens": ["Ann-Lee"], ', '{"tokens": ["don\'t"], ', '{"tokens": [], ',
    ]  # fmt: skip


def test_run_on_texts_and_files_takes_whole_sentences(predictor, tmp_path):
    (tmp_path / "a.txt").write_text("Ann Lee\nthe cat\n", encoding="utf-8")
    by_line = "".join(
        "".join(f"{t}\t{tag}\n" for t, tag in zip(r.tokens, r.tags, strict=True)) + "\n"
        for r in (predictor.predict(["Ann", "Lee"]), predictor.predict(["the", "cat"]))
    )
    assert _run(["--input", str(tmp_path / "a.txt")], "").stdout == by_line
    assert _run(["Ann Lee", "the cat"], "").stdout == by_line


def test_run_refuses_what_a_stream_cannot_have():
    assert _run(["--format", "conllu"], "Ann\n").exit_code == 1
    done = _run(["--window", "5"], "Ann\n")
    assert done.exit_code == 2
    assert "exact" in done.stderr


def test_run_answers_before_the_next_line_is_written():
    code = f"from lstm_deploy.cli import main; main(['run', '--model', {str(STREAMING)!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        for word in ("Ann", "Lee"):
            p.stdin.write(word + "\n")
            p.stdin.flush()
            assert p.stdout.readline().startswith(word + "\t")
        p.stdin.close()
        assert p.stdout.read() == "\n"


def test_other_commands_take_streaming_files(tmp_path):
    for command in ("verify", "inspect"):
        done = CliRunner().invoke(main, [command, str(STREAMING)])
        assert done.exit_code == 0, done.output
    assert "next_h_0" in done.stdout
    (tmp_path / "gold.conll").write_text("Ann\tB-PER\nwent\tO\n\n", encoding="utf-8")
    assert CliRunner().invoke(main, ["eval", str(STREAMING), str(tmp_path / "gold.conll")]).exit_code == 0


def test_the_graph_has_nothing_but_forward_recurrences():
    operators = [node.op_type for node in read_model_file(STREAMING).nodes]
    assert operators.count("LSTM") == 2


@pytest.mark.parametrize("load", [Predictor.load, StreamingPredictor.load, open_predictor])
@pytest.mark.parametrize("given", [{"threads": 0}, {"batch_tokens": 0}, {"provider": "gpu"}])
def test_arguments_that_make_no_sense_are_told_before_a_file_is_read(load, given, tmp_path):
    with pytest.raises((ValueError, ProviderError), match=next(iter(given))):
        load(tmp_path / "none.onnx", **given)

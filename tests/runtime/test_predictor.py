"""The predictor's promises: batched is one by one, order and number kept, lazy, shared, forked, pickled."""

import itertools
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS, CHARACTERS_CRF, SUBWORD, SUBWORD_INT8, rewrite, stored

from lstm_deploy import Predictor
from lstm_deploy.decoding import decode
from lstm_deploy.errors import IdRangeError, MetadataError, UnknownCharacterError, UnknownWordError
from lstm_deploy.golden import check_golden
from lstm_deploy.unicode14 import classes

KNOWN = ["the", "cat", "ate", "fish", "Ann", "Lee", "Oslo", "Mr.", "東京", ".", "3"]
tokens = (
    st.sampled_from(KNOWN) | st.text(max_size=8) | st.sampled_from(["", "e\u0301", "𝔘", "🙂", "\x00", "\t", "\ud800"])
)
sentences = st.lists(tokens, max_size=25)


def _same(one, other):
    assert one.tokens == other.tokens
    assert one.tags == other.tags
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-6)


@given(st.lists(sentences, max_size=12))
def test_batched_is_one_by_one(subword, batch):
    together = subword.predict_batch(batch)
    assert len(together) == len(batch)
    for tokens, result in zip(batch, together, strict=True):
        assert result.tokens == tuple(tokens)
        assert len(result.tags) == len(result.scores) == len(result) == len(tokens)
        assert all(0 < score <= 1 for score in result.scores)
        _same(result, subword.predict(tokens))


def _many(count=400):
    words = itertools.cycle([*KNOWN, "new", "Zürich", "x1"])
    return [list(itertools.islice(words, (7 * i) % 41)) for i in range(count)]


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 3}, {"batch_tokens": 1}, {"batch_tokens": 10**6}])
def test_threads_and_batch_sizes_change_nothing(subword, options):
    batch = _many()
    for one, other in zip(
        Predictor.load(SUBWORD, **options).predict_batch(batch), map(subword.predict, batch), strict=True
    ):
        _same(one, other)


def test_stream_equals_batch_and_reads_ahead_by_a_bounded_amount():
    predictor = Predictor.load(SUBWORD, threads=2, batch_tokens=16)
    read = 0

    def endless():
        nonlocal read
        for sentence in itertools.cycle(_many(50)):
            read += 1
            yield sentence

    expected = predictor.predict_batch(_many(50))
    for i, result in enumerate(itertools.islice(predictor.predict_stream(endless()), 500)):
        _same(result, expected[i % 50])
        assert read - i < 2 * 16 * 32 * 2
    assert i == 499


def test_stream_starts_no_work_before_it_is_asked(subword):
    assert next(subword.predict_stream(iter([["Ann"], ["Lee"]]))).tokens == ("Ann",)
    assert list(subword.predict_stream([])) == []
    assert [result.tokens for result in subword.predict_stream([[], ["Ann"], []])] == [(), ("Ann",), ()]


def test_what_goes_wrong_in_the_source_reaches_the_reader(subword):
    def source():
        yield ["Ann"]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(subword.predict_stream(source()))


def test_empty_sentence_and_empty_batch(subword, tutorial):
    for predictor in (subword, tutorial):
        assert predictor.predict([]).tags == ()
        assert predictor.predict_batch([]) == []
        assert [len(result) for result in predictor.predict_batch([[], []])] == [0, 0]
        assert predictor.predict_text("  ").offsets == ()


def test_ten_thousand_tokens(subword):
    long = [KNOWN[i % 11] for i in range(10_000)]
    result, short = subword.predict_batch([long, ["Ann"]])
    assert len(result.tags) == 10_000
    _same(short, subword.predict(["Ann"]))


def test_tag_is_the_best_one_and_score_its_probability(subword):
    tokens = KNOWN * 3
    scores = subword.session.run(subword.encoder.encode([tokens]))
    result = subword.predict(tokens)
    best = scores.log_probs[0].argmax(-1)
    assert result.tags == tuple(subword.metadata.tags[i] for i in best)
    np.testing.assert_allclose(result.scores, np.exp(scores.log_probs[0].max(-1)), rtol=1e-6)
    np.testing.assert_allclose(np.exp(scores.log_probs).sum(-1), 1, rtol=1e-5)


@given(st.text())
def test_text_offsets(subword, text):
    result = subword.predict_text(text)
    assert result.tokens == tuple(text[start:end] for start, end in result.offsets)
    assert len(result.tags) == len(result.tokens)
    assert sum(end - start for start, end in result.offsets) == sum(kind != "s" for kind in classes(text))


def test_strings_where_tokens_are_expected(subword):
    with pytest.raises(TypeError, match="use predict_text"):
        subword.predict("Ann ate")
    with pytest.raises(TypeError, match="use predict_text"):
        subword.predict_batch(["Ann ate"])
    with pytest.raises(TypeError, match="sequence of sentences"):
        subword.predict_batch("Ann ate")
    with pytest.raises(TypeError, match="must be a str"):
        subword.predict([None])


@pytest.mark.parametrize("options", [{"threads": 0}, {"batch_tokens": 0}])
def test_settings_out_of_range(options):
    with pytest.raises(ValueError, match="1 or more"):
        Predictor.load(SUBWORD, **options)


def test_many_threads_share_one_predictor():
    predictor = Predictor.load(SUBWORD)
    batch = _many(60)
    expected = [predictor.predict(tokens) for tokens in batch]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: predictor.predict_batch(batch), range(24)):
            for one, other in zip(found, expected, strict=True):
                _same(one, other)


def test_pickled_by_path(subword):
    copy = pickle.loads(pickle.dumps(subword))
    assert (copy.path, copy.threads, copy.provider) == (subword.path, subword.threads, subword.provider)
    _same(copy.predict(KNOWN), subword.predict(KNOWN))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_used_after_a_fork():
    predictor = Predictor.load(SUBWORD, threads=2)
    batch = _many()
    expected = [result.tags for result in predictor.predict_batch(batch)]
    child = os.fork()
    if not child:
        os._exit(0 if [result.tags for result in predictor.predict_batch(batch)] == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _inputs(subword, **changes):
    return subword.encoder.encode([["Ann", "ate"], ["Lee"]]) | changes


def _int32(*value):
    return np.array(value, np.int32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"word_ids": _int32([2, 999], [2, 0])}, "word_ids holds ids from 0 to 999"),
        ({"word_ids": _int32([2, -1], [2, 0])}, "word_ids holds ids from -1"),
        ({"subword_ids": np.full((2, 2, 9), 64, np.int32)}, "the model has 0 to 63"),
        ({"subword_ids": np.zeros((2, 3, 9), np.int32)}, "pad all inputs alike"),
        ({"lengths": _int32(2, 3)}, "expected 0 to 2"),
        ({"lengths": _int32(2, -1)}, "from -1 to 2"),
        ({"lengths": _int32(2)}, "one length a row"),
    ],
)
def test_ids_and_lengths_out_of_range(subword, changes, says):
    with pytest.raises(IdRangeError, match=says):
        subword.session.run(_inputs(subword, **changes))


def test_empty_arrays_never_reach_the_runtime(subword):
    for batch, sequence in ((0, 0), (0, 4), (3, 0)):
        shape = (batch, sequence)
        inputs = {
            "word_ids": np.zeros(shape, np.int32),
            "subword_ids": np.zeros((*shape, 9), np.int32),
            "lengths": np.zeros(batch, np.int32),
        }
        scores = subword.session.run(inputs)
        assert scores.tag_ids.shape == shape
        assert scores.log_probs.shape == (*shape, 5)


def test_rows_of_length_zero_inside_a_batch(subword):
    scores = subword.session.run(subword.encoder.encode([[], ["Ann", "ate"], []]))
    assert scores.tag_ids[0].tolist() == scores.tag_ids[2].tolist() == [-1, -1]
    assert scores.tag_ids[1].min() >= 0


def test_golden_cases_hold(subword, tutorial):
    for predictor in (subword, tutorial):
        report = check_golden(predictor)
        assert report.cases >= 4
        assert report.failures == []


def _other_tag(case):
    wrong = 2 if case["tag_ids"][0] != 2 else 4
    case["tag_ids"][0], case["tags"][0] = wrong, stored(SUBWORD, "tags")[wrong]


@pytest.mark.parametrize(
    ("key", "lie"),
    [
        ("scores", lambda case: case["scores"].__setitem__(0, case["scores"][0] * 0.999)),
        ("tags", _other_tag),
        ("word_ids", lambda case: case["inputs"]["word_ids"].__setitem__(0, 5)),
        ("subword_ids", lambda case: case["inputs"]["subword_ids"][0].__setitem__(3, 11)),
        ("tokenizer", lambda case: case.update(text=case["text"] + " more")),
        ("scores", lambda case: case["scores"].__setitem__(0, 0.0)),
    ],
)
def test_a_golden_case_that_lies_is_reported(tmp_path, key, lie):
    golden = stored(SUBWORD, "golden")
    lie(next(case for case in golden if case["text"]))
    report = check_golden(Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", golden=golden)))
    assert report.failures


@pytest.mark.parametrize("wrong", [99, -1, 0])
def test_golden_tag_ids_that_are_not_those_of_the_tags_contradict_the_file(tmp_path, wrong):
    golden = stored(SUBWORD, "golden")
    case = next(case for case in golden if case["tag_ids"][0] != wrong)
    case["tag_ids"][0] = wrong
    with pytest.raises(MetadataError, match="tag_ids are not those of the tags"):
        Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", golden=golden))


def test_there_are_as_many_sentences_as_rows(subword):
    scores = subword.session.run(subword.encoder.encode([["Ann"], ["Lee"]]))
    lengths, tags = np.array([1, 1], np.int32), np.array(subword.metadata.tags, object)
    for found in (scores, replace(scores, log_probs=None)):
        assert len(decode([("Ann",), ("Lee",)], lengths, found, tags)) == 2
        with pytest.raises(ValueError, match="zip"):
            decode([("Ann",)], lengths, found, tags)


def test_without_scores_the_tags_are_the_same(subword):
    batch = _many(60)
    bare = subword.predict_batch(batch, scores=False)
    assert [r.tags for r in bare] == [r.tags for r in subword.predict_batch(batch)]
    assert {r.scores for r in bare} == {()}
    assert [r.tags for r in subword.predict_stream(batch, scores=False)] == [r.tags for r in bare]
    assert subword.predict(["Ann"], scores=False).scores == ()
    assert subword.predict_text("Ann ate", scores=False).scores == ()


def test_empty_results_are_nobody_elses(subword):
    first, second = subword.predict_batch([[], []])
    assert first == second
    assert first is not second


def test_int8_files_keep_every_promise_within_their_tolerance(subword):
    int8 = Predictor.load(SUBWORD_INT8, threads=2)
    assert (int8.metadata.precision, int8.metadata.tolerance) == ("int8", 0.15)
    assert not check_golden(int8).failures
    batch = _many(200)
    together = int8.predict_batch(batch)
    for tokens, result in zip(batch, together, strict=True):
        alone = int8.predict(tokens)
        assert result.tokens == alone.tokens == tuple(tokens)
        np.testing.assert_allclose(np.log(result.scores), np.log(alone.scores), atol=0.15, rtol=0.15)
    exact = subword.predict_batch(batch)
    pairs = [pair for a, b in zip(exact, together, strict=True) for pair in zip(a.tags, b.tags, strict=True)]
    assert sum(a == b for a, b in pairs) > 0.97 * len(pairs)


@pytest.mark.parametrize("path", [SUBWORD, SUBWORD_INT8], ids=lambda path: path.stem)
def test_many_callers_at_once_get_what_one_gets(path):
    predictor = Predictor.load(path)
    batch = _many(120)
    expected = [predictor.predict(tokens) for tokens in batch]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(predictor.predict, batch)) == expected


def test_golden_cases_reach_many_rows_even_where_most_are_empty(tmp_path):
    golden = stored(SUBWORD_INT8, "golden")
    empty = {
        "tokens": [],
        "inputs": {"word_ids": [], "subword_ids": []},
        "tag_ids": [],
        "tags": [],
        "scores": [],
        "text": None,
    }
    path = rewrite(SUBWORD_INT8, tmp_path / "m.onnx", golden=[empty, golden[0], empty, empty])
    predictor = Predictor.load(path)
    rows = []
    run = predictor.session.run
    predictor.session.run = lambda inputs: rows.append(len(inputs["lengths"])) or run(inputs)
    check_golden(predictor)
    assert max(rows) >= 16


def test_a_golden_case_without_ids_is_reported(tmp_path):
    golden = stored(SUBWORD, "golden")
    golden[0]["inputs"] = {}
    report = check_golden(Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", golden=golden)))
    assert any("has no word_ids" in failure for failure in report.failures)


def test_a_number_too_large_for_a_float_is_one_clear_error(tmp_path):
    golden = stored(SUBWORD, "golden")
    golden[0]["scores"][0] = 10**400
    with pytest.raises(MetadataError, match="golden"):
        Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", golden=golden))


def test_files_of_older_versions_are_read_as_what_they_were(tmp_path):
    newer = {"decoder": None, "notes": None}
    for version, absent in (("2", newer), ("1", newer | {"precision": None, "rounding": None})):
        metadata = Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", format_version=version, **absent)).metadata
        assert (metadata.precision, metadata.crf, metadata.notes) == ("fp32", None, ())
    with pytest.raises(MetadataError, match="precision is missing"):
        Predictor.load(rewrite(SUBWORD, tmp_path / "m.onnx", precision=None))


def test_results_can_be_kept_in_sets(subword):
    assert len({subword.predict(["Ann"]), subword.predict(["Ann"]), subword.predict(["Lee"])}) == 2


def test_an_empty_string_is_no_sentence(subword):
    for call in (lambda: subword.predict(""), lambda: subword.predict_batch([["Ann"], ""])):
        with pytest.raises(TypeError, match="predict_text"):
            call()


@pytest.fixture(scope="session")
def crf():
    return Predictor.load(CHARACTERS_CRF)


@pytest.fixture(scope="session")
def spelt():
    return Predictor.load(CHARACTERS)


@given(st.lists(st.lists(st.sampled_from(KNOWN), max_size=25), max_size=12))
def test_batched_is_one_by_one_with_a_crf(crf, batch):
    for tokens, result in zip(batch, crf.predict_batch(batch), strict=True):
        assert len(result.tags) == len(result.scores) == len(tokens)
        assert all(0 < score <= 1 for score in result.scores)
        _same(result, crf.predict(tokens))


@given(st.lists(st.lists(st.text("aCtfhs東ß", max_size=9), max_size=9), max_size=9))
def test_batched_is_one_by_one_with_characters_alone(spelt, batch):
    for tokens, result in zip(batch, spelt.predict_batch(batch), strict=True):
        assert result.tokens == tuple(tokens)
        _same(result, spelt.predict(tokens))


def test_with_a_crf_tags_are_the_best_path_and_scores_its_marginals(crf):
    tokens = KNOWN * 3
    answer = crf.session.run(crf.encoder.encode([tokens, tokens[:5]]))
    assert answer.log_probs is None
    for found, n in zip(crf.predict_batch([tokens, tokens[:5]]), (len(tokens), 5), strict=True):
        emissions = answer.emissions[0 if n > 5 else 1, :n]
        best = crf.metadata.crf.viterbi(emissions[None], np.array([n]))[0]
        assert found.tags == tuple(crf.metadata.tags[i] for i in best)
        np.testing.assert_allclose(found.scores, crf.metadata.crf.marginals(emissions)[np.arange(n), best], rtol=1e-6)
    assert not np.allclose(np.exp(answer.emissions).sum(-1), 1)


def test_without_scores_a_crf_file_gives_the_same_tags(crf):
    batch = [KNOWN[i % 7 :] for i in range(40)]
    bare = crf.predict_batch(batch, scores=False)
    assert [r.tags for r in bare] == [r.tags for r in crf.predict_batch(batch)]
    assert {r.scores for r in bare} == {()}
    tags_only = crf.session.run_encoded(crf.encoder.encode(batch), scores=False)
    assert tags_only.log_probs is tags_only.emissions is None
    with pytest.raises(ValueError, match="run with scores=True"):
        tags_only.of_tags  # noqa: B018


def test_words_and_characters_without_an_id_are_named(crf, spelt):
    with pytest.raises(UnknownWordError, match="'dog'"):
        crf.predict_batch([["the"], ["dog"]])
    with pytest.raises(UnknownCharacterError, match="'g'"):
        spelt.predict(["dog"])
    with pytest.raises(UnknownWordError, match="'dog'"):
        list(crf.predict_stream([["the"], ["dog"]]))


def test_models_of_characters_pass_their_golden_cases_and_pickle(crf, spelt):
    for predictor in (crf, spelt):
        report = check_golden(predictor)
        assert report.cases >= 3
        assert report.failures == []
        _same(pickle.loads(pickle.dumps(predictor)).predict(["the", "cat"]), predictor.predict(["the", "cat"]))
        assert [len(r) for r in predictor.predict_batch([[], ["cat"], []])] == [0, 1, 0]


def _golden_lie(tmp_path, lie):
    golden = stored(CHARACTERS_CRF, "golden")
    lie(golden[0])
    return check_golden(Predictor.load(rewrite(CHARACTERS_CRF, tmp_path / "m.onnx", golden=golden))).failures


@pytest.mark.parametrize(
    ("says", "lie"),
    [
        ("a log-probability is", lambda case: case["scores"].__setitem__(0, case["scores"][0] * 0.998)),
        ("char_ids are", lambda case: case["inputs"]["char_ids"][0].append(3)),
        ("has no char_ids", lambda case: case["inputs"].pop("char_ids")),
        ("the tags are", lambda case: (case["tag_ids"].reverse(), case["tags"].reverse())),
    ],
)
def test_a_golden_case_of_a_crf_that_lies_is_reported(tmp_path, says, lie):
    assert any(says in failure for failure in _golden_lie(tmp_path, lie))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"char_ids": np.full((2, 2, 3), 36, np.int32)}, "the model has 0 to 35"),
        ({"char_ids": np.zeros((2, 3, 3), np.int32)}, "pad all inputs alike"),
        ({"char_ids": np.zeros((2, 2), np.int32)}, "pad all inputs alike"),
        ({"char_ids": np.zeros((2, 2, 0), np.int32)}, "at least one column"),
        ({"char_lengths": _int32([3, 4], [3, 0])}, "char_lengths run from 0 to 4; expected 0 to 3, the character axis"),
        ({"char_lengths": _int32([3, -1], [3, 0])}, "char_lengths run from -1"),
        ({"char_lengths": _int32([3], [3])}, "pad all inputs alike"),
        ({"lengths": _int32(2, 3)}, "expected 0 to 2"),
    ],
)
def test_characters_out_of_range(crf, changes, says):
    with pytest.raises(IdRangeError, match=says):
        crf.session.run(crf.encoder.encode([["Ann", "ate"], ["Lee"]]) | changes)


def test_empty_arrays_of_characters_never_reach_the_runtime(crf, spelt):
    for predictor, batch, sequence in itertools.product((crf, spelt), (0, 3), (0, 4)):
        if batch and sequence:
            continue
        shape = (batch, sequence)
        inputs = {
            "char_ids": np.zeros((*shape, 2), np.int32),
            "char_lengths": np.zeros(shape, np.int32),
            "lengths": np.zeros(batch, np.int32),
        } | ({"word_ids": np.zeros(shape, np.int32)} if predictor is crf else {})
        answer = predictor.session.run(inputs)
        assert answer.tag_ids.shape == shape
        assert answer.of_tags.shape == (*shape, 5)


def test_a_word_of_ten_thousand_characters(spelt):
    long, short = spelt.predict_batch([["cat" * 3333, "the"], ["cat"]])
    _same(short, spelt.predict(["cat"]))
    assert len(long.tags) == 2

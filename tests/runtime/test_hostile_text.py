"""Text that nobody meant well: memory and time stay bounded, and what cannot be answered is said."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import CHARACTERS, SUBWORD, TUTORIAL

from lstm_deploy import Predictor
from lstm_deploy.encoding import MOST_SPELT, Encoder
from lstm_deploy.errors import OutOfMemoryError
from lstm_deploy.vocabulary import Vocabulary

MEASURE = """
import json, resource, sys, time
from lstm_deploy import Predictor
predictor = Predictor.load(sys.argv[1], threads=1)
predictor.predict(["cat"])
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
{work}
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps([grown, time.monotonic() - start]))
"""
LIMITED = {
    "a word of 10^5 characters among 2,000 that are spelt": (
        CHARACTERS, 'predictor.predict_batch([["cat", "ate"]] * 1000 + [["cat" * 33_333]])', 250),
    "a word of 10^6 characters": (SUBWORD, 'predictor.predict_text("a" * 10**6)', 250),
    "ever other words of 10^5 characters": (
        SUBWORD, 'for i in range(200): predictor.predict([f"{i}" + "x" * 10**5])', 60),
    "a sentence of 10^5 words": (SUBWORD, 'predictor.predict_text("a " * 10**5)', 150),
}  # fmt: skip
LONG = {
    "a sentence of 10^6 words": (SUBWORD, 'predictor.predict_text("a " * 10**6)', 1500),
    "10^6 points": (SUBWORD, 'predictor.predict_text(".," * 500_000)', 1500),
    "a document of 10^6 ends of sentences": (SUBWORD, 'predictor.predict_document("A. " * 333_333)', 1500),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
@pytest.mark.parametrize("what", [*LIMITED, *(pytest.param(what, marks=pytest.mark.slow) for what in LONG)])
def test_memory_and_time_are_bounded(what):
    path, work, megabytes = (LIMITED | LONG)[what]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(work=work), path], capture_output=True, text=True, timeout=240
    )
    assert not done.returncode, done.stderr[-2000:]
    grown, seconds = json.loads(done.stdout)
    assert grown < megabytes
    assert seconds < 120


def test_a_sentence_too_wide_to_be_spelt_is_refused_alone_and_spoils_no_other():
    spelt = Predictor.load(CHARACTERS)
    wide = ["cat" * (MOST_SPELT // 30), *["cat"] * 10]
    with pytest.raises(OutOfMemoryError, match=r"11 tokens, the longest of 209,715 characters, are 2,306,865 places"):
        spelt.predict(wide)
    with pytest.raises(OutOfMemoryError, match="11 tokens alone does not fit"):
        spelt.predict_batch([["cat"], wide])
    assert spelt.batch_tokens == Predictor.load(CHARACTERS).batch_tokens
    long = ["cat" * (MOST_SPELT // 60), *["cat"] * 10]
    batch = [["cat", "ate"]] * 300 + [long] + [["ate"] * 90] * 3
    for tokens, found in zip(batch[298:], spelt.predict_batch(batch)[298:], strict=True):
        assert found.tags == spelt.predict(tokens).tags


def test_types_that_are_long_are_not_kept_without_end():
    encoder = Encoder(Vocabulary.from_words(["a"]))
    for i in range(100):
        encoder.encode([[f"{i}" + "x" * 100_000]])
    assert sum(map(len, encoder._types)) <= 2**22 + 100_010


@given(st.lists(st.lists(st.text(st.characters() | st.sampled_from("\ud800\0\u202e\u200d\r\n\x85\u2028")), max_size=6)))
def test_any_tokens_have_a_tag_each(batch):
    predictor = Predictor.load(TUTORIAL, threads=1)
    for tokens, found in zip(batch, predictor.predict_batch(batch), strict=True):
        assert found.tokens == tuple(tokens)
        assert len(found.tags) == len(found.scores) == len(tokens)

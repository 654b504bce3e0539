"""CoNLL-U to raw text and the offsets in it."""

import pytest
from model_files import corpus

from lstm_deploy.errors import InputError
from lstm_deploy.formats.documents import read_documents
from lstm_deploy.segmentation import character_tags, characters, cut, paragraphs

FILE = """\
# newdoc id = a
# newpar
# text = We can't.
1\tWe\t_\tPRON\tP\t_\t_\t_\t_\t_
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tca\t_\tAUX\tA\t_\t_\t_\t_\t_
3\tn't\t_\tPART\tN\t_\t_\t_\t_\tSpaceAfter=No
4\t.\t_\tPUNCT\t.\t_\t_\t_\t_\t_

1\tGo\t_\tVERB\tV\t_\t_\t_\t_\tSpacesAfter=\\s\\n\\p\\\\
1.1\tnow\t_\tADV\tR\t_\t_\t_\t_\t_
2\t1 000\t_\tNUM\tC\t_\t_\t_\t_\t_
3\titem\t_\tNOUN\tN\t_\t_\t_\t_\tNewPar=Yes

# newpar id = p2
1\tdu\t_\tX\tX\t_\t_\t_\t_\tSpaceAfter=No

# newdoc
1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\t_\tADP\tD\t_\t_\t_\t_\t_
2\tle\t_\tDET\tL\t_\t_\t_\t_\t_
"""


def test_text_offsets_words_and_tags(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(FILE, encoding="utf-8")
    first, second = read_documents(path, "upos")
    assert first.text == "We can't. Go \n|\\1 000\n\nitem\n\ndu"
    assert [[first.text[t.start : t.end] for t in s] for s in first.sentences] == [
        ["We", "can't", "."],
        ["Go", "1 000", "item"],
        ["du"],
    ]
    assert [t.words for t in first.sentences[0]] == [("We",), ("ca", "n't"), (".",)]
    assert [t.tags for t in first.sentences[0]] == [("PRON",), ("AUX", "PART"), ("PUNCT",)]
    assert second.text == "du"
    assert [(t.words, t.tags) for t in second.sentences[0]] == [(("de", "le"), ("ADP", "DET"))]
    assert [t.tags for t in next(read_documents(path)).sentences[0]] == [(), (), ()]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_comments_may_hold_anything_and_stand_alone(tmp_path, bom):
    path = tmp_path / "a.conllu"
    word = "1\t{}" + "\t_" * 8 + "\n\n"
    comment = "# x" + "\ty" * 12 + "\n"
    blocks = [word.format("A"), "# newpar\n\n", comment + word.format("b"), "# newdoc\n" + comment + "\n"]
    path.write_text(bom + "".join(blocks) + word.format("C") + "# newdoc\n", encoding="utf-8")
    assert [document.text for document in read_documents(path)] == ["A\n\nb", "C"]
    path.write_text(bom + comment + word.format("A"), encoding="utf-8")
    assert [document.text for document in read_documents(path)] == ["A"]


def test_only_conllu_says_where_white_space_was(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"tokens": ["a"], "tags": ["X"]}\n')
    with pytest.raises(InputError, match="CoNLL-U alone"):
        list(read_documents(path))


def test_a_missing_tag_names_its_line(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text("1\tWe" + "\t_" * 8 + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.conllu:1: the word 'We' has no UPOS"):
        list(read_documents(path, "upos"))


@pytest.mark.parametrize(
    "name", ["ud-english-ewt/en_ewt-ud-dev", "ud-turkish-imst/tr_imst-ud-dev", "ud-chinese-gsdsimp/zh_gsdsimp-ud-dev"]
)
def test_a_treebanks_own_text_is_part_of_it(name):
    path = corpus(f"{name}.conllu.xz")
    from lstm_deploy.formats import read_gold

    text = " ".join(" ".join(document.text.split()) for document in read_documents(path))
    at = 0
    assert text
    for sentence in read_gold(path):
        at = text.index(" ".join(sentence.text.split()), at)
    for document in read_documents(path):  # cut at the gold words, each paragraph has its sentences again
        spans = [[(token.start, token.end) for token in sentence] for sentence in document.sentences]
        again = []
        for start, end in paragraphs(document.text):
            found = characters(document.text[start:end])
            here = [[(a - start, b - start) for a, b in s] for s in spans if start <= s[0][0] < end]
            again += [[(start + a, start + b) for a, b in s] for s in cut(found, character_tags(found, here))]
        assert again == spans

"""UDPipe 1: trained on UPOS, and run as a contender. Needs only requirements.txt of this folder.

python udpipe_tagger.py train TRAIN.conllu.xz DEV.conllu.xz OUTPUT    its own tagger, 5 iterations, UPOS only
python udpipe_tagger.py serve OUTPUT                                  answers the benchmark (see worker.py)
"""

import sys
from pathlib import Path

# UPOS alone, which is also its fastest setting: lemmas, XPOS and features would cost it time.
_TAGGER = "models=1;templates_1=tagger;iterations_1=5;" + ";".join(
    f"{use}_{column}_1=0" for use in ("use", "provide") for column in ("lemma", "xpostag", "feats")
)


def main() -> None:
    command, *arguments = sys.argv[1:]
    if command == "train":
        train(*map(Path, arguments))
    else:
        import worker

        worker.serve(UDPipeTagger(Path(arguments[0])))


def train(train_file: Path, dev_file: Path, output: Path) -> None:
    """Writes the model file ``output``."""
    from ufal.udpipe import ProcessingError, Sentences, Trainer
    from worker import read_conllu

    def sentences(source: Path) -> Sentences:
        found = Sentences()
        for tokens, tags in read_conllu(source):
            found.append(_sentence(tokens, tags))
        return found

    error = ProcessingError()
    model = Trainer.train(
        "morphodita_parsito", sentences(train_file), sentences(dev_file), "none", _TAGGER, "none", error
    )
    if error.occurred():
        raise SystemExit(f"UDPipe cannot train: {error.message}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(model.encode("utf-8", "surrogateescape") if isinstance(model, str) else bytes(model))


def _sentence(tokens: list[str], tags: list[str] | None = None) -> object:
    from ufal.udpipe import Sentence

    sentence = Sentence()
    for i, token in enumerate(tokens):
        word = sentence.addWord(token)
        if tags:
            word.upostag = tags[i]
    return sentence


class UDPipeTagger:
    """What worker.py asks of a contender."""

    def __init__(self, path: Path) -> None:
        from ufal.udpipe import Model

        self._default = Model.DEFAULT
        self._model = Model.load(str(path))
        if not self._model:
            raise SystemExit(f"{path}: UDPipe cannot load it; run `make bench-peers`")

    def tag(self, sentences: list[list[str]]) -> list[list[str]]:
        """Words in, tags out, many sentences."""
        return [self.tag_one(tokens) for tokens in sentences]

    def tag_one(self, tokens: list[str]) -> list[str]:
        """The same for one sentence."""
        sentence = _sentence(tokens)
        self._model.tag(sentence, self._default)
        return [word.upostag for word in sentence.words][1:]  # the first is UDPipe's root


if __name__ == "__main__":
    main()

"""spaCy's CNN tagger: trained on UPOS, and run as a contender. Needs only requirements.txt of this folder.

python spacy_tagger.py train TRAIN.conllu.xz DEV.conllu.xz OUTPUT    its own "efficiency" recipe, UPOS only
python spacy_tagger.py serve OUTPUT                                  answers the benchmark (see worker.py)
"""

import sys
from pathlib import Path

_BATCH_TEXTS = 256  # tried: 64 to 1024; see benchmarks/NOTES.md
_MAX_STEPS = 10_000


def main() -> None:
    command, *arguments = sys.argv[1:]
    if command == "train":
        train(*map(Path, arguments))
    else:
        import worker

        worker.serve(SpacyTagger(Path(arguments[0])))


def train(train_file: Path, dev_file: Path, output: Path) -> None:
    """Trains with the config of `spacy init config --pipeline tagger --optimize efficiency`."""
    import spacy
    from spacy.cli.init_config import init_config
    from spacy.cli.train import train as spacy_train
    from spacy.tokens import Doc, DocBin
    from worker import read_conllu

    output.mkdir(parents=True, exist_ok=True)
    vocab = spacy.blank("en").vocab
    paths = {}
    for name, source in (("train", train_file), ("dev", dev_file)):
        docs = DocBin(attrs=["TAG"])
        for tokens, tags in read_conllu(source):
            docs.add(Doc(vocab, words=tokens, tags=tags))
        paths[f"paths.{name}"] = str(output / f"{name}.spacy")
        docs.to_disk(paths[f"paths.{name}"])
    config = output / "config.cfg"
    init_config(lang="en", pipeline=["tagger"], optimize="efficiency").to_disk(config)
    spacy_train(config, output, overrides=paths | {"training.max_steps": _MAX_STEPS, "training.eval_frequency": 500})


class SpacyTagger:
    """What worker.py asks of a contender."""

    def __init__(self, folder: Path) -> None:
        import spacy
        from spacy.tokens import Doc

        self._doc = Doc
        self._nlp = spacy.load(folder / "model-best")

    def tag(self, sentences: list[list[str]]) -> list[list[str]]:
        """Words in, tags out, many sentences."""
        docs = (self._doc(self._nlp.vocab, words=tokens) for tokens in sentences)
        return [[token.tag_ for token in doc] for doc in self._nlp.pipe(docs, batch_size=_BATCH_TEXTS)]

    def tag_one(self, tokens: list[str]) -> list[str]:
        """The same for one sentence."""
        return [token.tag_ for token in self._nlp(self._doc(self._nlp.vocab, words=tokens))]


if __name__ == "__main__":
    main()

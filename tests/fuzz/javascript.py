"""The same spoilt metadata blocks through the JavaScript client's reader, held against Python's."""

import atexit
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .classes import FuzzClass, Wrong
from .mutation import load_seeds, mutated

_HERE = Path(__file__).parent
TEXT = "The cat didn't see Mr. Lee's 3 fish (twice!) naïve 東京 a.b"
TOKENS = ["the", "cat", "Ann", "Xyzzy", "3", "東京", "."]
LENIENT = {"graph_form", "inputs", "outputs", "tokenizer", "golden", "card"}
"""Keys of which JavaScript takes what Python refuses, and no answer depends on it: a graph form that it does not know
and takes at its word, fields that an entry should not have, characters that end sentences, numbers of golden cases,
what a card says."""
VALUES = ("tags", "words", "column", "precision", "tokenizer", "inputs", "outputs", "decoder", "golden", "notes")


class JavaScript(FuzzClass):
    """A string map a case, through a Node process that answers all of a worker's."""

    name = "javascript"
    about = "the same through the JavaScript client's reader: what Python takes it takes, with the same values and ids"
    wanted = 100_000

    def __init__(self) -> None:
        self._node: subprocess.Popen[str] | None = None

    def absent(self) -> str:
        """Without Node."""
        return "" if shutil.which("node") else "no node on PATH"

    def prepare(self) -> None:
        """Reads the seeds; Node starts with the first case of each worker."""
        import lstm_deploy.encoding
        import lstm_deploy.metadata  # noqa: F401 - imported before the fork

        self.seeds = load_seeds()

    def case(self, index: int) -> dict[str, str]:
        """The map."""
        return mutated(self.drawn(index), self.seeds)

    def one(self, case: dict[str, str]) -> str:
        """Both readers' answers are the same."""
        from lstm_deploy.errors import LstmDeployError
        from lstm_deploy.metadata import ModelMetadata

        theirs = self._asked({"properties": list(case.items()), "text": TEXT, "tokens": TOKENS})
        try:
            ours = ModelMetadata.from_properties(case, source="model.onnx")
        except LstmDeployError as e:
            ours, key = None, re.search(r"metadata lstm_deploy\.(\w+)", str(e))
            if "refused" not in theirs and (key is None or key[1] not in LENIENT):
                raise Wrong(f"JavaScript takes what Python refuses: {e!s:.200}") from e
        if "refused" in theirs:
            if not theirs["refused"]:
                raise Wrong(f"an error that is not the client's: {theirs['name']}: {theirs['message']:.200}")
            if not theirs["printable"]:
                raise Wrong(f"an error that steers a terminal: {theirs['message']!r:.200}")
            if ours is not None:
                raise Wrong(f"Python takes what JavaScript refuses: {theirs['message']:.200}")
            return "refused"
        if ours is not None:
            self._compare(ours, theirs)
        return "answered"

    def _compare(self, ours: Any, theirs: dict[str, Any]) -> None:
        from lstm_deploy.encoding import Encoder, ragged_ids
        from lstm_deploy.errors import UnknownCharacterError, UnknownWordError

        written = {key.removeprefix("lstm_deploy."): value for key, value in ours.to_properties().items()}
        for key in VALUES if ours.vocabulary else set(VALUES) - {"words"}:  # which Python leaves out then
            value = written[key] if key in ("column", "precision") else json.loads(written[key])
            found = theirs["values"][key]
            if key == "tokenizer":  # which a reader may complete, and whose lists are sets
                value, found = ({k: sorted(v[k]) for k in ("keep", "suffixes", "split")} | {"kind": v["kind"]}
                                for v in (value, found))  # fmt: skip
                value, found = ({k: sorted(set(v)) for k, v in each.items()} for each in (value, found))
            elif key in ("decoder", "golden"):
                value, found = _plain(value, key), _plain(found, key)
            if value != found:
                raise Wrong(f"{key}: Python has {json.dumps(value):.150}, JavaScript {json.dumps(found):.150}")
        if ours.tokenizer.tokens(TEXT) != theirs["cuts"]:
            raise Wrong(f"Python cuts {ours.tokenizer.tokens(TEXT)}, JavaScript {theirs['cuts']}")
        encoder = Encoder(ours.vocabulary, ours.features, ours.characters)
        for token, found in zip(TOKENS, theirs["ids"], strict=True):
            try:
                ids = ragged_ids(encoder.encode([[token]]), 0)
                expected = [ids.get(kind, [None])[0] for kind in ("word_ids", "subword_ids", "char_ids")]
            except (UnknownWordError, UnknownCharacterError):
                expected = "refused"
            if expected != found:
                raise Wrong(f"of {token!r} Python makes {expected}, JavaScript {found}")

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._node is None:
            self._node = subprocess.Popen(
                ["node", str(_HERE / "metadata.mjs")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            atexit.register(self._node.kill)
        assert self._node.stdin
        assert self._node.stdout
        self._node.stdin.write(json.dumps(question) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        if not line:
            self._node = None
            raise Wrong("Node ended")
        return json.loads(line)


def _plain(value: Any, key: str) -> Any:
    """Without what either may leave out."""
    if key == "decoder":
        return {"kind": value.get("kind")}
    return [{k: case.get(k) for k in ("tokens", "tag_ids", "tags", "text")} for case in value]


CLASSES = (JavaScript(),)

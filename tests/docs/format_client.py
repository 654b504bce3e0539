"""A client written from FORMAT.md alone: it shares no code with lstm_deploy, so that the page is held to its word.

Needs a Python whose unicodedata is Unicode 14.0.
"""

import json
import unicodedata
import zlib

import numpy as np
import onnxruntime

JOINERS = "-'’./_&@:·"
ZWJ = "\u200d"


def kind_of(char):
    category = unicodedata.category(char)
    if category[0] == "Z" or "\t" <= char <= "\r" or char == "\x85":
        return "s"
    table = {"Lu": "u", "Lt": "u", "Ll": "l", "Lo": "o", "Lm": "o", "Nd": "d", "Nl": "n", "No": "n", "Cf": "f"}
    return table.get(category) or {"M": "m", "P": "p", "S": "y"}.get(category[0], "x")


def lower(text):
    return "".join(char if kind_of(char) == "x" else char.lower() for char in text)


def role(char):
    """a letter, 0 number, m mark, j the joiner, s space, else punctuation."""
    if char == ZWJ:
        return "j"
    return {"u": "a", "l": "a", "o": "a", "d": "0", "n": "0", "m": "m", "f": "m", "s": "s"}.get(kind_of(char), "p")


class Client:
    """One model file."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        raw = {
            key.removeprefix("lstm_deploy."): value
            for key, value in self.session.get_modelmeta().custom_metadata_map.items()
        }
        assert int(raw["format_version"]) == 2
        self.meta = {
            k: v if k in ("format_version", "graph_form", "precision", "column") else json.loads(v)
            for k, v in raw.items()
        }
        self.inputs = {spec["kind"]: spec for spec in self.meta["inputs"]}
        assert set(self.inputs) <= {"word_ids", "subword_ids", "lengths"}
        self.tolerance = {"fp32": 1e-5, "fp16": 1e-5, "int8": 0.15}[self.meta["precision"]]
        self.ids = {word: i for i, word in enumerate(self.meta["words"]) if word is not None}

    def tokens(self, text):
        found, chunk = [], ""
        for char in [*text, " "]:
            if role(char) != "s":
                chunk += char
            elif chunk:
                found += [chunk] if self.meta["tokenizer"]["kind"] == "whitespace" else self._cut_chunk(chunk)
                chunk = ""
        return found

    def _cut_chunk(self, chunk):
        before, behind = [], []
        while chunk and not self._whole(chunk):
            if role(chunk[0]) == "p":
                n = run_length(chunk, 0)
                before.append(chunk[:n])
                chunk = chunk[n:]
                continue
            kept = chunk.rstrip(chunk[-1])
            if role(chunk[-1]) == "p" and not kept.endswith(ZWJ):
                behind.append(chunk[len(kept) :])
                chunk = kept
                continue
            return before + self._cut(chunk) + behind[::-1]
        return before + ([chunk] if chunk else []) + behind[::-1]

    def _whole(self, chunk):
        spec = self.meta["tokenizer"]
        if chunk in spec["keep"] or lower(chunk).replace("’", "'") in spec["suffixes"]:
            return True
        if len(chunk) >= 4 and len(chunk) % 2 == 0:
            pairs = zip(chunk[::2], chunk[1::2], strict=True)
            if all(role(letter) == "a" and point == "." for letter, point in pairs):
                return True
        return role(chunk[-1]) != "p" and is_address(chunk)

    def _cut(self, chunk):
        spec, found, at = self.meta["tokenizer"], [], 0
        while at < len(chunk):
            end = at + 1
            if role(chunk[at]) in "a0":
                while end < len(chunk) and (role(chunk[end]) in "a0mj" or self._joins(chunk, end)):
                    end += 1
                found += self._cut_suffixes(chunk[at:end])
            elif role(chunk[at]) == "p":
                end = at + run_length(chunk, at)
                found.append(chunk[at:end])
            else:
                while end < len(chunk) and role(chunk[end]) in "mj":
                    end += 1
                found.append(chunk[at:end])
            at = end
        assert spec["kind"] == "words"
        return found

    def _joins(self, chunk, at):
        following = role(chunk[at + 1]) if at + 1 < len(chunk) else ""
        if chunk[at] in JOINERS and chunk[at] not in self.meta["tokenizer"]["split"] and following in ("a", "0"):
            return True
        return chunk[at] in ".,:" and role(chunk[at - 1]) == following == "0"

    def _cut_suffixes(self, word):
        spec, cut = self.meta["tokenizer"], []
        while word not in spec["keep"]:
            low = lower(word).replace("’", "'")
            ends = [s for s in spec["suffixes"] if low.endswith(s) and len(s) < len(low)]
            if not ends or len(low) != len(word):
                break
            n = max(map(len, ends))
            cut.append(word[-n:])
            word = word[:-n]
        return [word, *reversed(cut)]

    def arrays(self, sentences):
        shape = (len(sentences), max(map(len, sentences)))
        words = np.full(shape, self.inputs["word_ids"]["padding_id"], np.int32)
        arrays = {"word_ids": words, "lengths": np.array([len(s) for s in sentences], np.int32)}
        if "subword_ids" in self.inputs:
            templates = len(self.inputs["subword_ids"]["templates"])
            arrays["subword_ids"] = np.full((*shape, templates), self.inputs["subword_ids"]["padding_id"], np.int32)
        for row, tokens in enumerate(sentences):
            for column, token in enumerate(tokens):
                key = lower(token) if self.inputs["word_ids"]["case"] == "lower" else token
                words[row, column] = self.ids.get(key, self.inputs["word_ids"]["unknown_id"])
                if "subword_ids" in self.inputs:
                    arrays["subword_ids"][row, column] = self._subwords(token)
        return arrays

    def _subwords(self, token):
        spec = self.inputs["subword_ids"]
        assert spec["hash"] == "crc32"
        ids = []
        for name in spec["templates"]:
            if name == "shape":
                value = shape(token)
            elif name == "lower":
                value = lower(token)
            else:
                n = int(name[-1])
                value = lower(token)[:n] if name.startswith("prefix") else lower(token)[-n:]
            ids.append(zlib.crc32(f"{name}={value}".encode("utf-8", "surrogatepass")) % spec["rows"])
        return ids

    def run(self, sentences):
        """(tag ids, log-probabilities of all tags) of each sentence, all in one padded batch."""
        tag_ids, log_probs = self.session.run(["tag_ids", "log_probs"], self.arrays(sentences))
        return [(tag_ids[i, : len(s)].tolist(), log_probs[i, : len(s)].astype(float)) for i, s in enumerate(sentences)]

    def check(self, case, tag_ids, log_probs):
        """Holds an answer against a golden case."""
        expected = np.log(case["scores"])
        allowed = self.tolerance + self.tolerance * np.abs(expected)
        found = log_probs[np.arange(len(expected)), case["tag_ids"]]
        assert (np.abs(found - expected) <= allowed).all()
        differ = np.array(tag_ids) != case["tag_ids"]
        assert ((log_probs.max(-1) - found)[differ] <= allowed[differ]).all()


def is_address(chunk):
    scheme, found, _ = chunk.partition("://")
    if found and scheme and chunk[len(scheme) + 3 :] and all(role(c) == "a" for c in scheme):
        return True
    parts = chunk.split(".", 2)
    if (
        len(parts) == 3
        and len(parts[0]) == 3
        and parts[1]
        and parts[2]
        and all(role(c) == "a" for c in parts[0] + parts[1])
    ):
        return True
    name, _, host = chunk.partition("@")
    if not name or not host or not all(role(c) in "a0" or c in "._+&-" for c in name):
        return False
    labels = host.split(".")
    return len(labels) > 1 and all(label and all(role(c) in "a0" or c == "-" for c in label) for label in labels)


def run_length(chunk, at):
    end = at + 1
    while end < len(chunk) and chunk[end] == chunk[at]:
        end += 1
    while True:
        tied = end
        while tied < len(chunk) and role(chunk[tied]) in "mj":
            tied += 1
        if tied < len(chunk) and tied > end and role(chunk[tied]) == "p" and chunk[tied - 1] == ZWJ:
            end = tied + 1
            continue
        return tied - at


def shape(token):
    drawn, run = "", 0
    for char in token:
        symbol = {"u": "X", "l": "x", "o": "x", "m": "x", "d": "d", "n": "d"}.get(kind_of(char), char)
        run = run + 1 if drawn.endswith(symbol) and drawn else 1
        if run <= 4:
            drawn += symbol
    return drawn

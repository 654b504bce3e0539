"""A client written from FORMAT.md alone: it shares no code with lstm_deploy, so that the page is held to its word.

Needs a Python whose unicodedata is Unicode 14.0.
"""

import json
import unicodedata
import zlib
from itertools import pairwise

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
        assert int(raw["format_version"]) in (4, 5)
        self.meta = {
            k: v if k in ("format_version", "graph_form", "precision", "column") else json.loads(v)
            for k, v in raw.items()
        }
        self.states = [spec for spec in self.meta["inputs"] if spec["kind"] == "state"]
        self.inputs = {spec["kind"]: spec for spec in self.meta["inputs"] if spec["kind"] != "state"}
        assert set(self.inputs) <= {"word_ids", "subword_ids", "char_ids", "char_lengths", "lengths"}
        self.decoder = self.meta["decoder"]
        assert self.decoder["kind"] in ("argmax", "crf")
        self.scores = self.meta["outputs"][1]["name"]
        self.tolerance = {"fp32": 1e-5, "fp16": 1e-5, "rows8": 1e-5, "int8": 0.15}[self.meta["precision"]]
        self.ids = {word: i for i, word in enumerate(self.meta["words"]) if word is not None}

    def tokens(self, text):
        if self.meta["tokenizer"]["kind"] == "characters":
            return [token for token, _, _ in characters(text)]
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

    def sentences_by_rule(self, text):
        """Section 10, by rules: tokens of each sentence."""
        spec, found = self.meta["tokenizer"], []
        ends, closers = spec.get("ends", ".!?…"), spec.get("closers", "\"'”’)]»")
        for paragraph in paragraphs(text):
            tokens, starts, at = self.tokens(paragraph), [], 0
            for token in tokens:
                at = paragraph.index(token, at)
                starts.append(at)
                at += len(token)
            touches = [i > 0 and starts[i - 1] + len(tokens[i - 1]) == starts[i] for i in range(len(tokens))]
            sentence, i = [], 0
            while i < len(tokens):
                initial = bool(sentence) and len(sentence[-1]) == 1 and kind_of(sentence[-1]) in "ul"
                is_end = all(char in ends for char in tokens[i]) and not initial
                sentence.append(tokens[i])
                i += 1
                if not is_end:
                    continue
                while i < len(tokens) and touches[i] and len(tokens[i]) == 1 and tokens[i] in closers:
                    sentence.append(tokens[i])
                    i += 1
                if i < len(tokens) and not touches[i] and kind_of(tokens[i][0]) != "l":
                    found.append(sentence)
                    sentence = []
            if sentence:
                found.append(sentence)
        return found

    def segment(self, text):
        """Section 10, by a segmenter: words of each sentence."""
        assert self.meta["column"] == "segmentation"
        found = []
        for paragraph in paragraphs(text):
            chars = characters(paragraph)
            tag_ids, _ = self.run([[token for token, _, _ in chars]])[0]
            sentences, white = [], None
            for (token, start, end), tag_id in zip(chars, tag_ids, strict=True):
                tag = self.meta["tags"][tag_id]
                if token in (" ", "\n"):
                    white = tag
                    continue
                goes_on = tag not in ("sentence", "token") and (white is None or white == tag == "inside")
                if not sentences or tag == "sentence":
                    sentences.append([[start, end]])
                elif goes_on:
                    sentences[-1][-1][1] = end
                else:
                    sentences[-1].append([start, end])
                white = None
            for words in sentences:
                found.append(
                    ["".join(" " if c in " \n" else c for c, _, _ in characters(paragraph[a:b])) for a, b in words]
                )
        return found

    def arrays(self, sentences):
        shape = (len(sentences), max(map(len, sentences)))
        rows = [[self.row(token) for token in tokens] for tokens in sentences]
        width = max([len(row["char_ids"]) for tokens in rows for row in tokens if "char_ids" in row], default=1)
        sizes = {
            "word_ids": (),
            "subword_ids": (len(self.inputs.get("subword_ids", {}).get("templates", ())),),
            "char_ids": (width,),
            "char_lengths": (),
        }
        arrays = {"lengths": np.array([len(s) for s in sentences], np.int32)}
        for kind in self.inputs.keys() - {"lengths"}:
            array = np.full((*shape, *sizes[kind]), self.inputs[kind].get("padding_id", 0), np.int32)
            for i, tokens in enumerate(rows):
                for j, row in enumerate(tokens):
                    if kind == "char_ids":
                        array[i, j, : len(row[kind])] = row[kind]
                    else:
                        array[i, j] = row[kind]
            arrays[kind] = array
        return arrays

    def row(self, token):
        """Kind -> what one token is in it."""
        row = {}
        if "word_ids" in self.inputs:
            spec = self.inputs["word_ids"]
            found = self.ids.get(lower(token) if spec["case"] == "lower" else token, spec["unknown_id"])
            row["word_ids"] = self.known(found)
        if "subword_ids" in self.inputs:
            row["subword_ids"] = self._subwords(token)
        if "char_ids" in self.inputs:
            row["char_ids"] = self._characters(token)
            row["char_lengths"] = len(row["char_ids"])
        return row

    def known(self, found):
        if found is None:
            raise LookupError("no id, and no unknown id")
        return found

    def _characters(self, token):
        spec = self.inputs["char_ids"]
        ids = {char: i for i, char in enumerate(spec["characters"]) if char is not None}
        key = lower(token) if spec["case"] == "lower" else token
        if not key:
            return [spec["padding_id"] if spec["unknown_id"] is None else spec["unknown_id"]]
        return [self.known(ids.get(char, spec["unknown_id"])) for char in key]

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
        """(tag ids, scores of all tags) of each sentence, all in one padded batch."""
        return self.run_chunks(sentences, self.start(len(sentences)))[0]

    def start(self, rows):
        """The states that sentences start from."""
        first = {s["name"]: np.array(s["initial"] or [0] * s["size"], np.float32) for s in self.states}
        return {name: np.tile(values, (rows, 1)) for name, values in first.items()}

    def run_chunks(self, chunks, states):
        """The same for the next tokens of each sentence, and the states after them."""
        names = ["tag_ids", self.scores, *(s["next"] for s in self.states)]
        tag_ids, scores, *after = self.session.run(names, self.arrays(chunks) | states)
        return self._rows(chunks, tag_ids, scores), {s["name"]: a for s, a in zip(self.states, after, strict=True)}

    def _rows(self, sentences, tag_ids, scores):
        return [(tag_ids[i, : len(s)].tolist(), scores[i, : len(s)].astype(float)) for i, s in enumerate(sentences)]

    def check(self, case, tag_ids, scores):
        """Holds an answer against a golden case."""
        expected, token = np.log(case["scores"]), np.arange(len(scores))
        if self.decoder["kind"] == "argmax":
            allowed = self.tolerance + self.tolerance * np.abs(expected)
            found = scores[token, case["tag_ids"]]
            differ = np.array(tag_ids) != case["tag_ids"]
            assert ((scores.max(-1) - found)[differ] <= allowed[differ]).all()
        else:
            allowed = self.tolerance * (1 + np.abs(scores[token, case["tag_ids"]])).sum()
            found = np.log(self.marginals(scores)[token, case["tag_ids"]])
            if tag_ids != case["tag_ids"]:
                assert self.score(scores, tag_ids) - self.score(scores, case["tag_ids"]) <= allowed
        assert (np.abs(found - expected) <= allowed).all()

    def score(self, emissions, path):
        steps = sum(self.decoder["transitions"][a][b] for a, b in pairwise(path))
        ends = self.decoder["start"][path[0]] + self.decoder["end"][path[-1]]
        return ends + steps + sum(row[tag] for row, tag in zip(emissions, path, strict=True))

    def best_path(self, emissions):
        """Section 3's rule in single precision, token by token."""
        f = np.float32
        emissions, transitions = emissions.astype(f), np.array(self.decoder["transitions"], f)
        score, back = np.array(self.decoder["start"], f) + emissions[0], []
        for row in emissions[1:]:
            sums = [[score[i] + transitions[i, j] for i in range(len(score))] for j in range(len(score))]
            back.append([column.index(max(column)) for column in sums])
            score = np.array([max(column) for column in sums], f) + row
            score = score - max(score)
        path = [int(np.argmax(score + np.array(self.decoder["end"], f)))]
        for before in reversed(back):
            path.append(before[path[-1]])
        return path[::-1]

    def marginals(self, emissions):
        """Section 3's formulas, in double precision."""
        transitions, start, end = (np.array(self.decoder[k]) for k in ("transitions", "start", "end"))
        n, tags = emissions.shape
        a, b = np.empty((n, tags)), np.empty((n, tags))
        a[0], b[-1] = start + emissions[0], end
        for t in range(1, n):
            a[t] = emissions[t] + [log_sum_exp(a[t - 1] + transitions[:, j]) for j in range(tags)]
        for t in range(n - 2, -1, -1):
            b[t] = [log_sum_exp(transitions[i] + emissions[t + 1] + b[t + 1]) for i in range(tags)]
        return np.exp(a + b - log_sum_exp(a[-1] + end))


def characters(text):
    """(token, start, end) of each, by kind ``characters``."""
    found = []
    for at, char in enumerate(text):
        if kind_of(char) != "s":
            found.append((char, at, at + 1))
            continue
        token = "\n" if char in "\n\v\f\r\x85\u2028\u2029" else " "
        if found and found[-1][0] in (" ", "\n"):
            token = max(token, found[-1][0], key=" \n".index)
            found[-1] = (token, found[-1][1], at + 1)
        else:
            found.append((token, at, at + 1))
    return found


def paragraphs(text):
    """Section 10's: what stands between runs of white space with two line breaks or more."""
    found, start = [], 0
    for token, first, last in [*characters(text), ("\n", len(text), len(text))]:
        if token not in (" ", "\n"):
            continue
        run = text[first:last].replace("\r\n", "\n")
        if sum(char in "\n\v\f\r\x85\u2028\u2029" for char in run) > 1 or first in (0, len(text)) or last == len(text):
            found.append(text[start:first])
            start = last
    return [paragraph for paragraph in found if paragraph]


def log_sum_exp(values):
    top = values.max()
    return top + np.log(np.exp(values - top).sum())


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

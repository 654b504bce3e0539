"""All cases of the gallery."""

from . import around, characters, crf_by_hand, crf_package, layouts, one_sentence, packing, recurrences, refused
from .case import Case

CASES: list[Case] = [
    case
    for module in (one_sentence, crf_by_hand, crf_package, packing, characters, recurrences, layouts, around)
    for case in module.CASES
]
REFUSED: list[Case] = refused.REFUSED

# How many of the 34 classes of the survey are of each style.
SURVEY = {
    "one sentence": 11,
    "view(len,1,-1)": 7,
    "CRF by hand": 7,
    "pytorch-crf": 4,
    "packing": 9,
    "sorted by length": 3,
    "characters": 7,
    "words as strings": 2,
    "state in self": 3,
    "random state": 5,
    "state passed in": 1,
    "entry not forward": 5,
    "axes mixed up": 4,
    "GRU": 3,
    "stacked": 3,
    "attention": 2,
    "Conv1d": 1,
    "structured output": 4,
    "fixed batch": 2,
    "vectors in": 2,
}
# And what the issue names beyond the survey.
BEYOND = {
    "RNN": 1,
    "frozen vectors": 1,
    "one-hot": 1,
    "LSTMCell": 2,
    "affine cell": 3,
    "proj_size": 1,
    "no bias": 1,
    "learned state": 1,
    "float64": 1,
    "dropout": 1,
    "deep head": 1,
    "Sequential": 1,
    "LayerNorm": 1,
    "residual": 1,
    "tied": 1,
    "softmax": 1,
    "log-softmax": 1,
}

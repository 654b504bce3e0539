"""LSTM sequence taggers in production: one ONNX file, run with numpy and onnxruntime alone.

    >>> from lstm_deploy import Predictor                              # doctest: +SKIP
    >>> Predictor.load("exported/tagger.onnx").predict(["They", "ate"]).tags  # doctest: +SKIP
    ('NN', 'V')

The package root is the runtime; `lstm_deploy.training` and `lstm_deploy.export` need torch and
onnx (``pip install 'lstm-deploy[export]'``) and are loaded only by those who use them.
"""

from .decoding import TaggedSentence, TaggedText
from .errors import LstmDeployError
from .metadata import ModelMetadata
from .predictor import Predictor
from .segmenter import Segmenter
from .streaming import Stream, StreamingPredictor
from .tokenizer import Tokenizer
from .vocabulary import Vocabulary

__version__ = "0.1.0"
__all__ = [
    "LstmDeployError",
    "ModelMetadata",
    "Predictor",
    "Segmenter",
    "Stream",
    "StreamingPredictor",
    "TaggedSentence",
    "TaggedText",
    "Tokenizer",
    "Vocabulary",
    "__version__",
]

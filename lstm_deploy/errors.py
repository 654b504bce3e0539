"""Every error that lstm-deploy raises on purpose.

::

    LstmDeployError
    ├── MissingDependencyError (ImportError)   a package or an extra is not installed
    ├── InputError (ValueError)                a text, corpus or JSON file is not what it should be
    │   ├── RequestTooLargeError               a server was sent more than one request may hold
    │   ├── UnknownTagError                    a gold tag that the training data does not have
    │   ├── UnknownWordError                   a word that the model does not have, nor one to take for it
    │   └── UnknownCharacterError              likewise a character
    ├── OutputError (OSError)                  a result cannot be written
    ├── ModelFileError (ValueError)            a model file cannot be used
    │   ├── NotOnnxError                       it is not an ONNX file
    │   ├── UnsafeModelError                   it has what no tagger has: it is not given to onnxruntime
    │   ├── DigestError                        it is another file than the digest asked for
    │   ├── MissingMetadataError               it is ONNX, but not one that lstm-deploy wrote
    │   ├── FormatVersionError                 it is newer than this lstm-deploy
    │   └── MetadataError                      its metadata is broken or contradicts its graph
    ├── CheckpointError (ValueError)           a checkpoint folder cannot be used
    ├── DivergedError (ArithmeticError)        training has run out of numbers
    ├── ProviderError (RuntimeError)           the execution provider asked for does not load
    ├── OutOfMemoryError (MemoryError)         a batch does not fit into the memory of the machine or GPU
    ├── WorkerError (RuntimeError)             a process that shared the work has died
    ├── IdRangeError (IndexError)              ids or lengths outside what the model has
    ├── ParityError (ArithmeticError)          an exported file does not answer as PyTorch does
    └── AccuracyError (ArithmeticError)        rounding a model's weights costs too much accuracy

A message is one line: the fact, what was found and what was expected, the cure.
"""


class LstmDeployError(Exception):
    """Base of all errors raised on purpose by this package."""


class MissingDependencyError(LstmDeployError, ImportError):
    """A package that this step needs is not installed; the text says what to install."""


class InputError(LstmDeployError, ValueError):
    """An input file or text is malformed; the text names file, line, found and expected."""


class RequestTooLargeError(InputError):
    """A request to a server holds more than one may."""


class UnknownTagError(InputError):
    """A gold file holds a tag that is not among the model's tags."""


class UnknownWordError(InputError):
    """A word is not in the vocabulary of a model that has no unknown word."""


class UnknownCharacterError(InputError):
    """A character is not among those of a model that has no unknown character."""


class OutputError(LstmDeployError, OSError):
    """A result cannot be written where it was asked for."""


class ModelFileError(LstmDeployError, ValueError):
    """A model file cannot be used."""


class NotOnnxError(ModelFileError):
    """The file is not an ONNX model."""


class UnsafeModelError(ModelFileError):
    """The file has something that FORMAT.md (section 12) forbids, or exceeds its limits; onnxruntime never saw it."""


class DigestError(ModelFileError):
    """The file's SHA-256 is not the one that was asked for."""


class MissingMetadataError(ModelFileError):
    """The ONNX model carries no lstm-deploy metadata."""


class FormatVersionError(ModelFileError):
    """The file's format version is newer than this package reads."""


class MetadataError(ModelFileError):
    """The metadata is malformed, or says something else than the graph."""


class CheckpointError(LstmDeployError, ValueError):
    """A checkpoint folder is missing, incomplete or not the one expected."""


class DivergedError(LstmDeployError, ArithmeticError):
    """The training loss is no longer a number."""


class ProviderError(LstmDeployError, RuntimeError):
    """The execution provider that was asked for cannot be used."""


class OutOfMemoryError(LstmDeployError, MemoryError):
    """A batch does not fit into the memory of the machine, or of the GPU."""


class WorkerError(LstmDeployError, RuntimeError):
    """A process that shared the work died, again and again."""


class IdRangeError(LstmDeployError, IndexError):
    """Ids or lengths lie outside what the model was built for."""


class ParityError(LstmDeployError, ArithmeticError):
    """The exported file and PyTorch do not give the same answers."""


class AccuracyError(LstmDeployError, ArithmeticError):
    """Rounding the weights lowers a score by more than it may."""


class SmallerBatchesWarning(UserWarning):
    """Memory ran out on a batch; it was halved and run again, and later ones are smaller."""

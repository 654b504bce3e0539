"""Both committed models, opened once."""

import pytest
from hypothesis import Phase, settings
from model_files import SUBWORD, TUTORIAL

from lstm_deploy import Predictor


@pytest.fixture(scope="session")
def tutorial():
    return Predictor.load(TUTORIAL)


@pytest.fixture(scope="session")
def subword():
    return Predictor.load(SUBWORD)


settings.register_profile("shared machine", deadline=None)
# The same few examples each time, and the first that fails is enough: `make mutants` runs them once for each mutant.
settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    max_examples=10,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
settings.load_profile("shared machine")

"""Both committed models, opened once."""

import pytest
from hypothesis import settings
from model_files import SUBWORD, TUTORIAL

from lstm_deploy import Predictor


@pytest.fixture(scope="session")
def tutorial():
    return Predictor.load(TUTORIAL)


@pytest.fixture(scope="session")
def subword():
    return Predictor.load(SUBWORD)


settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

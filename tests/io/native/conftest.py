import pytest


@pytest.fixture
def path(tmp_path):
    """A file of a model, to be written."""
    return tmp_path / "model.safetensors"

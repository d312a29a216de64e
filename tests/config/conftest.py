"""A configuration file of the user's own."""

import pytest


@pytest.fixture
def file(tmp_path):
    """Writes text as a config file; returns its path as a flag's value."""

    def write(text):
        path = tmp_path / "own.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write

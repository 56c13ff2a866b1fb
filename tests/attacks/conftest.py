import pytest

from tests.attacks.fortress import fortified


@pytest.fixture(scope="module")
def fortress(tmp_path_factory, standin_folder):
    """Production with two web processes, to be attacked."""
    with fortified(tmp_path_factory.mktemp("fortress"), standin_folder) as running:
        yield running

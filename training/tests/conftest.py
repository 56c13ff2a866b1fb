import pytest


@pytest.fixture(scope="session")
def torch():
    """Loaded only where it is used: importing it takes each process of a parallel run a second."""
    from detections.inference.runtimes import import_ultralytics

    import_ultralytics()  # first, since it then loads weights safely
    import torch

    return torch

"""What the tests of the scanner share."""

import pytest
import torch
from torch.overrides import TorchFunctionMode


class _NothingFromTheHost(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.tensor, torch.as_tensor, torch.from_numpy):
            raise AssertionError("values are copied from the host")
        return func(*args, **kwargs or {})


@pytest.fixture
def nothing_from_the_host():
    """A context that refuses tensors made of numbers: on a GPU their copy would make the host wait."""
    return _NothingFromTheHost()

import pytest
import torch

from synthspine.train.runtime.precision import deterministic_kernels


def test_kernels_are_deterministic_inside_alone(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    before = torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert torch.are_deterministic_algorithms_enabled() == before


def test_nothing_changes_where_it_is_not_wanted():
    with deterministic_kernels(False):
        assert not torch.are_deterministic_algorithms_enabled()

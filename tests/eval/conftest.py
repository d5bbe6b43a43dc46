import pytest
import torch
from drawn_spines import draw_spine, save_untrained, spider_folder

from synthspine.gen.core.schemes import label_scheme

__all__ = ["save_untrained", "spider_folder"]


@pytest.fixture
def spine():
    return draw_spine


@pytest.fixture
def to_structures():
    def convert(codes):
        return label_scheme("4").encode(torch.from_numpy(codes)).numpy()

    return convert

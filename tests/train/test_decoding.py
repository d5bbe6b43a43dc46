import torch

from synthspine.gen import label_scheme
from synthspine.train.decoding import likeliest_classes, likeliest_structures, structure_table, to_structures

FOUR, FOURTEEN = label_scheme(4), label_scheme(14)


def _pixel(**shares: float) -> torch.Tensor:
    """Logarithms of a pixel's probabilities by class name, ``(1, 14, 1, 1)``."""
    probability = torch.zeros(14)
    for name, share in shares.items():
        probability[FOURTEEN.class_names.index(name)] = share
    return probability.log().view(1, 14, 1, 1)


def test_a_vertebra_of_doubtful_rank_is_still_a_vertebra():
    pixel = _pixel(background=0.4, L2=0.35, L1=0.25)
    assert pixel.argmax(dim=1).item() == 0
    assert FOURTEEN.class_names[likeliest_classes(pixel, FOURTEEN).item()] == "L2"
    assert likeliest_structures(pixel, FOURTEEN).item() == 1


def test_the_rank_is_that_of_the_likeliest_structure():
    # The likeliest class is a vertebra, the likeliest structure is disc.
    names = FOURTEEN.class_names
    pixel = _pixel(**{"L3": 0.4, names[7]: 0.25, names[8]: 0.3, "canal": 0.05})
    assert likeliest_classes(pixel, FOURTEEN).item() == 8
    assert likeliest_structures(pixel, FOURTEEN).item() == 2


def test_four_classes_are_their_own_structures():
    logits = torch.randn(3, 4, 8, 9, generator=torch.Generator().manual_seed(0))
    expected = logits.argmax(dim=1).to(torch.uint8)
    assert torch.equal(likeliest_classes(logits, FOUR), expected)
    assert torch.equal(likeliest_structures(logits, FOUR), expected)


def test_every_class_is_one_of_its_structure():
    logits = torch.randn(2, 14, 16, 16, generator=torch.Generator().manual_seed(1))
    classes = likeliest_classes(logits, FOURTEEN)
    assert torch.equal(to_structures(classes, FOURTEEN), likeliest_structures(logits, FOURTEEN))


def test_the_table_of_structures_is_copied_to_a_device_once():
    device = torch.device("cpu")
    with torch.inference_mode():
        table = structure_table(FOURTEEN, device)
    assert structure_table(FOURTEEN, device) is table
    assert not table.is_inference()

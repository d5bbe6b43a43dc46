"""The samples of fixed seeds are those that digests.txt records; digests.py says when to write it anew."""

import numpy as np
import pytest
from digests import (
    COMMAND,
    FILE,
    GROUPS,
    Phantom,
    compare,
    difference,
    differing,
    digest,
    products,
    read_digests,
    this_platform,
    write_digests,
)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return Phantom(tmp_path_factory.mktemp("phantom"))


@pytest.mark.parametrize("group", GROUPS)
def test_samples_are_those_of_the_recorded_digests(group, phantom):
    platform, digests = read_digests(FILE)
    if other := differing(platform, this_platform()):
        recorded, here = ({name: of.get(name) for name in other} for of in (platform, this_platform()))
        pytest.skip(f"{FILE.name} was written with {recorded}; here is {here}")
    recorded = {name: value for name, value in digests.items() if name.startswith(f"{group}/")}
    found = {name: digest(product) for name, product in products([group], phantom).items()}
    wrong = differing(recorded, found)
    assert not wrong, (
        f"other samples than {FILE.name} records: {', '.join(wrong)}; where this is intended, run {COMMAND} "
        "and say why in the commit message"
    )


def test_every_recorded_digest_belongs_to_a_group():
    _, digests = read_digests(FILE)
    assert {name.split("/")[0] for name in digests} == set(GROUPS)


def test_a_written_file_is_read_as_it_was(tmp_path):
    digests = {"2d/spine/images": digest(np.zeros(3)), "sets/labels/tars": digest(b"tar")}
    write_digests(tmp_path / "digests.txt", digests)
    assert read_digests(tmp_path / "digests.txt") == (this_platform(), digests)


def test_a_digest_depends_on_values_type_and_shape():
    array = np.arange(6, dtype=np.uint8)
    others = [array + 1, array.astype(np.int8), array.reshape(2, 3)]
    assert digest(array) == digest(array.copy())
    assert len({digest(array), *map(digest, others)}) == 4


def test_entries_that_changed_or_are_missing_are_named():
    assert differing({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}) == ["a", "c", "d"]


def test_a_difference_names_its_size_and_the_number_of_values():
    codes = np.array([[0, 255], [3, 4]], dtype=np.uint8)
    assert difference(codes, codes.copy()) == "equal"
    after = codes.copy()
    after[0] = 255, 254
    assert difference(codes, after) == "largest difference 255; 2 of 4 values differ"
    assert difference(codes, codes.astype(np.int16)) == "uint8 (2, 2) became int16 (2, 2)"


def test_a_comparison_covers_the_arrays_before_and_after(tmp_path):
    np.savez(tmp_path / "before.npz", **{"2d/a": np.zeros(2), "2d/b": np.ones(2), "3d/c": np.ones(2)})
    after = {"2d/a": np.array([0, 1e-6]), "2d/d": np.ones(1)}
    assert list(compare(tmp_path / "before.npz", after, ["2d"])) == [
        "2d/a: largest difference 1e-06; 1 of 2 values differ",
        "2d/b: only before",
        "2d/d: only after",
    ]

import json

import pytest

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.split import PARTS, Split, load_or_make_split

PATIENTS = [str(number) for number in range(1, 41)]


def sides(split):
    return {patient: name for name in PARTS for patient in split.part(name)}


def test_a_new_split_is_cut_70_20_10_and_written(tmp_path):
    split = load_or_make_split(tmp_path / "split.json", PATIENTS)
    assert [len(split.part(name)) for name in PARTS] == [28, 8, 4]
    written = json.loads((tmp_path / "split.json").read_text())
    assert {name: set(ids) for name, ids in written.items()} == {name: split.part(name) for name in PARTS}


def test_an_existing_file_is_used_and_not_touched(tmp_path):
    path = tmp_path / "split.json"
    first = load_or_make_split(path, PATIENTS, seed=1)
    before = path.stat().st_mtime_ns
    assert load_or_make_split(path, PATIENTS[:5], seed=2) == first
    assert path.stat().st_mtime_ns == before


def test_the_split_does_not_depend_on_the_order_but_on_the_seed(tmp_path):
    first = load_or_make_split(tmp_path / "a.json", PATIENTS, seed=1)
    assert load_or_make_split(tmp_path / "b.json", PATIENTS[::-1], seed=1) == first
    assert load_or_make_split(tmp_path / "c.json", PATIENTS, seed=2) != first


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_no_part_is_empty_from_three_patients_on(tmp_path, count):
    split = load_or_make_split(tmp_path / "split.json", PATIENTS[:count])
    assert all(split.part(name) for name in PARTS)


def test_new_patients_are_added_without_moving_others(tmp_path):
    path = tmp_path / "split.json"
    before = sides(load_or_make_split(path, PATIENTS[:20]))
    after = sides(load_or_make_split(path, PATIENTS))
    assert len(after) == 40
    assert sum(len(ids) for ids in json.loads(path.read_text()).values()) == 40
    assert {patient: after[patient] for patient in before} == before
    assert sides(load_or_make_split(path, PATIENTS)) == after


def test_the_part_of_a_new_patient_does_not_depend_on_other_new_patients(tmp_path):
    for name in ("a.json", "b.json"):
        load_or_make_split(tmp_path / name, PATIENTS[:20])
    together = sides(load_or_make_split(tmp_path / "a.json", PATIENTS))
    for patient in PATIENTS[20:]:
        load_or_make_split(tmp_path / "b.json", [patient])
    assert sides(load_or_make_split(tmp_path / "b.json", PATIENTS)) == together


def test_the_subset_column_of_spider_is_used(tmp_path):
    overview = tmp_path / "overview.csv"
    rows = [
        f"{p}_{c},F,{'validation' if int(p) % 4 == 0 else 'training'}" for p in PATIENTS for c in ("t1", "t2")
    ]
    overview.write_text("\n".join(["new_file_name,sex,subset", *rows]) + "\n")
    split = load_or_make_split(tmp_path / "split.json", PATIENTS, overview)
    assert split.validation == {p for p in PATIENTS if int(p) % 4 == 0}
    assert not split.test


def test_a_new_patient_follows_the_overview_even_in_an_existing_file(tmp_path):
    path, overview = tmp_path / "split.json", tmp_path / "overview.csv"
    before = sides(load_or_make_split(path, PATIENTS[:20]))
    other = {"train": "validation", "validation": "training", "test": "training"}
    load_or_make_split(tmp_path / "hashed.json", PATIENTS[:20])
    hashed = sides(load_or_make_split(tmp_path / "hashed.json", PATIENTS))
    rows = [f"{patient}_t1,{other[hashed[patient]]}" for patient in PATIENTS]
    overview.write_text("\n".join(["new_file_name,subset", *rows]) + "\n")
    after = sides(load_or_make_split(path, PATIENTS, overview))
    assert {patient: after[patient] for patient in before} == before
    assert all(after[patient] != hashed[patient] for patient in PATIENTS[20:])


def test_an_overview_without_the_column_is_not_used(tmp_path):
    overview = tmp_path / "overview.csv"
    overview.write_text("new_file_name,sex\n1_t1,F\n")
    split = load_or_make_split(tmp_path / "a.json", PATIENTS, overview)
    assert split == load_or_make_split(tmp_path / "b.json", PATIENTS)


def test_an_overview_that_contradicts_itself_is_named(tmp_path):
    overview = tmp_path / "overview.csv"
    overview.write_text("new_file_name;subset\n1_t1;training\n1_t2;validation\n")
    with pytest.raises(SpiderError, match=r"overview\.csv: patient 1 is in two subsets"):
        load_or_make_split(tmp_path / "split.json", ["1"], overview)


def test_a_patient_in_two_parts_is_named(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["1", "2"], "validation": [2], "test": []}')
    with pytest.raises(SpiderError, match=r"split\.json: not a split file: patient 2 is in two parts"):
        load_or_make_split(path, ["1"])


@pytest.mark.parametrize("text", ["[1, 2]", "not json", '{"train": 3}', '{"training": []}'])
def test_a_file_that_is_not_a_split_is_named(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(SpiderError, match=r"split\.json: not a split file"):
        load_or_make_split(path, ["1"])


def test_the_parts_of_a_split_are_disjoint():
    with pytest.raises(ValueError, match="two parts"):
        Split(train=frozenset({"1"}), validation=frozenset(), test=frozenset({"1"}))

import json
import os

import pytest

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.split import PARTS, Split, load_or_make_split, load_split

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


@pytest.fixture
def given(tmp_path):
    """A split file of a user, and a check that it stays as it is."""
    path = tmp_path / "mine.json"

    def write(**parts):
        path.write_text(json.dumps(parts))
        return path

    yield write
    if path.is_file():
        assert path.read_text() == json.dumps(json.loads(path.read_text()))
    assert [path.name for path in tmp_path.iterdir()] in ([], ["mine.json"])


def test_a_patient_that_a_given_file_does_not_name_is_in_no_part(given, capsys):
    path = given(train=["1", 2], validation=["3"])
    before = path.read_bytes()
    split = load_split(path, ["1", "2", "3", "4"])
    assert sides(split) == {"1": "train", "2": "train", "3": "validation"}
    said = f"{path}: no part names the patients 4 (1 of 4): they are in no set\n"
    assert capsys.readouterr().out == said
    with pytest.raises(SpiderError, match=r"mine\.json: no part names the patients 4 \(1 of 4\); name them"):
        load_split(path, ["1", "2", "3", "4"], strict=True)
    assert load_split(path, ["1", "2", "3"], strict=True) == split and not capsys.readouterr().out
    assert path.read_bytes() == before


def test_patients_of_the_phantom_need_no_name_in_a_given_file(given, capsys):
    path = given(train=["1"], validation=["2"])
    made = [str(100_001 + number) for number in range(40)]
    split = load_split(path, ["1", "2"], made=made, strict=True)
    assert set(sides(split)) == {"1", "2", *made} and not capsys.readouterr().out
    assert min(len(split.part(name)) for name in PARTS) > 1


@pytest.mark.parametrize(
    "other", ["sub-3", "003", "SUB03", "sub_3", "3 ", "patient 3", "P3", "3_t1", "3_T2.mha", "\uff13"]
)
def test_ids_in_another_spelling_are_listed_with_those_of_the_data(given, other):
    for parts in ({"train": [other]}, {"train": ["1", "3"], "test": [other]}):
        with pytest.raises(SpiderError, match=r"mine\.json: spells patients in another way") as error:
            load_split(given(**parts), ["1", "2", "3"])
        assert f'"{other}" for "3"' in str(error.value)


def test_ids_of_the_data_may_look_alike(given):
    path = given(train=["3", "siteA-1"], validation=["003", "siteB-1", "17"], test=["p-9"])
    assert len(sides(load_split(path, ["3", "003", "siteA-1", "siteB-1", "siteC-1"]))) == 6


def test_a_given_file_that_names_nobody_or_does_not_exist_is_an_error(given, tmp_path):
    with pytest.raises(SpiderError, match=r"names none of the patients of the data \(1, 2\), but 7, 8"):
        load_split(given(train=["7"], test=["8"]), ["1", "2"])
    with pytest.raises(SpiderError, match=r"nowhere\.json: no such file"):
        load_split(tmp_path / "nowhere.json", ["1"])
    assert not (tmp_path / "nowhere.json").exists()


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"train": [1.5]}', '{"train": [true]}', '{"train": [NaN]}', "", "train: [1]"]
)
def test_a_given_file_that_is_no_split_is_named(tmp_path, text):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(SpiderError, match=r"mine\.json: not a split file"):
        load_split(tmp_path / "mine.json", ["1"])


def test_a_given_file_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"train": ["1"]}', encoding="utf-8-sig")
    assert load_split(path, ["1"]).train == {"1"}
    path.write_text('{"train": ["1"]}', encoding="utf-16")
    with pytest.raises(SpiderError, match=r"mine\.json: not a split file"):
        load_split(path, ["1"])


def test_a_fifo_in_place_of_a_file_is_named(tmp_path):
    for name in ("mine.json", "overview.csv"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=r"mine\.json: cannot be read \(is not a regular file"):
        load_split(tmp_path / "mine.json", ["1"])
    with pytest.raises(SpiderError, match=r"overview\.csv: is not a regular file"):
        load_or_make_split(tmp_path / "split.json", ["1"], tmp_path / "overview.csv")


def test_patients_that_are_added_to_the_file_of_the_project_are_said(tmp_path, capsys):
    path = tmp_path / "split.json"
    load_or_make_split(path, ["1", "2", "3"])
    split = load_or_make_split(path, ["1", "2", "3", "4"])
    assert capsys.readouterr().out == f"{path}: new patients: 4 in {sides(split)['4']}\n"
    with pytest.raises(SpiderError, match=r'spells patients .*"4" for "004"'):
        load_or_make_split(path, ["004"])


HEADER, ROWS = "new_file_name,subset", ["1_t1,training", "2_t1,validation", "3_t1,test"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("\n".join([HEADER, *ROWS]).replace(",", "\t").encode(), "commas or semicolons"),
        ("\n".join([HEADER, *ROWS]).replace(",", "|").encode(), "commas or semicolons"),
        (HEADER.encode(), "no row below"),
        (f"{HEADER}\n".encode(), "no row below"),
        (b"", "no row below"),
        ("\n".join([f"{HEADER},ort", "1_t1,training,München"]).encode("cp1252"), "not text in UTF-8"),
        ("\n".join([HEADER, *ROWS]).encode("utf-16"), "not text in UTF-8"),
        ("\n".join([HEADER, *ROWS]).encode("utf-16-le"), "not text in UTF-8"),
        ("\n".join([HEADER, "1_t1," + "x" * 200_000]).encode(), "not a table"),
        ("\n".join([HEADER, "sub-1_t1,training", "002_t1,test"]).encode(), '"002" for "2", "sub-1" for "1"'),
        ("\n".join([HEADER, "7_t1,training"]).encode(), "names none of the patients 1, 2, 3"),
        ("\n".join([HEADER, "1_t1,holdout"]).encode(), "subset 'holdout' is not one of"),
    ],
)
def test_an_overview_that_gives_no_split_is_named_and_no_other_split_is_made(tmp_path, content, reason):
    (tmp_path / "overview.csv").write_bytes(content)
    with pytest.raises(SpiderError, match=r"overview\.csv: ") as error:
        load_or_make_split(tmp_path / "split.json", ["1", "2", "3"], tmp_path / "overview.csv")
    assert reason in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "split.json").exists()


@pytest.mark.parametrize("header", ["new_file_name;Subset", "File , SUBSET "])
def test_the_column_of_subsets_is_found_in_any_case(tmp_path, header):
    text = "\n".join([header, *ROWS]) if "," in header else "\n".join([header, *ROWS]).replace(",", ";")
    (tmp_path / "overview.csv").write_text(text)
    split = load_or_make_split(tmp_path / "split.json", ["1", "2", "3"], tmp_path / "overview.csv")
    assert sides(split) == {"1": "train", "2": "validation", "3": "test"}


def test_a_part_that_is_given_twice_is_refused(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["1"], "train": ["2"], "validation": ["3"]}')
    with pytest.raises(SpiderError, match=r'split\.json: not a split file: "train" is given twice'):
        load_split(path, ["1", "2", "3"])

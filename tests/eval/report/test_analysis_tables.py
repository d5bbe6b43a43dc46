import re
from pathlib import Path

import pytest
from fake_outcome import fake_outcome

from synthspine.eval.report.analysis_tables import START, AnalysisError, refresh
from synthspine.eval.report.definitions import TABLES
from synthspine.eval.results.outcome import OutcomeError

FEW = ("contrast",)
REPORT = Path(__file__).parents[3] / "ANALYSIS_REPORT.md"
TEXT = (
    "# Title\n\n<!-- table:gap -->\nformer gap\n<!-- /table -->\n\nProse.\n\n"
    "<!-- table:shift{mark} -->\nformer shift\n<!-- /table -->\nend\n"
)
REAL = TEXT.format(mark="")


@pytest.fixture
def document(tmp_path):
    def write(text=REAL):
        path = tmp_path / "text.md"
        path.write_text(text)
        return path

    return write


def test_tables_are_written_anew_and_prose_stays(document):
    path = document()
    lines = refresh(path, fake_outcome(patients=6, studies=FEW))
    text = path.read_text()
    assert lines == [f"{path}: table gap was written", f"{path}: table shift was written"]
    assert "former" not in text
    assert text.startswith("# Title\n\n<!-- table:gap -->\n| Set | Structure |")
    assert "\n<!-- /table -->\n\nProse.\n\n<!-- table:shift -->\n| Change |" in text
    assert text.endswith("<!-- /table -->\nend\n")


def test_table_says_what_it_was_made_from(document):
    path = document()
    refresh(path, fake_outcome(patients=6, studies=FEW))
    text = path.read_text()
    assert text.count("Checkpoints: A 0a0a0a0a0a0a, B 1b1b1b1b1b1b.") == 1
    assert text.index("Checkpoints: A") < text.index("table:shift") < text.index("from the same as the first")
    assert "T1 c2c2c2c2c2c2, 6 patients" in path.read_text()


WARNING = "Warning: the two differ; the rendered images are not of the kind that A learned from."


@pytest.mark.parametrize(
    ("learned", "sentence", "warns"),
    [
        ("f5" * 32, "A learned from f5f5f5f5f5f5, the set synthetic was rendered by e4e4e4e4e4e4.", True),
        ("e4" * 32, "A learned from e4e4e4e4e4e4, the set synthetic was rendered by e4e4e4e4e4e4.", False),
        (
            None,
            "A learned from an unknown one, the set synthetic was rendered by e4e4e4e4e4e4. Unknown: ",
            False,
        ),
    ],
)
def test_table_says_which_generators_and_warns_where_they_differ(document, learned, sentence, warns):
    outcome = fake_outcome(patients=6, studies=FEW)
    outcome["models"]["A"]["generator_hash"] = learned
    path = document()
    refresh(path, outcome)
    assert sentence in path.read_text()
    assert (WARNING in path.read_text()) is warns


def test_generators_are_left_out_where_none_is_involved(document):
    path = document("<!-- table:headline -->\n<!-- /table -->\n")
    refresh(path, fake_outcome(patients=6, studies=FEW, models=("B",), sets=("t1", "t2")))
    assert "Generators" not in path.read_text()


@pytest.mark.parametrize("name", ["shift", "primary", "corruption", "physical"])
def test_tables_of_the_text_can_be_written(document, name):
    path = document(f"<!-- table:{name} -->\nformer\n<!-- /table -->\n")
    refresh(path, fake_outcome(patients=6))
    assert "former" not in path.read_text() and "| n |" in path.read_text()
    assert f"<!-- table:{name} -->" in REPORT.read_text()


def test_writing_twice_changes_nothing(document):
    path = document()
    refresh(path, fake_outcome(patients=6, studies=FEW))
    once = path.read_text()
    refresh(path, fake_outcome(patients=6, studies=FEW))
    assert path.read_text() == once


def test_phantom_figures_replace_no_real_ones(document):
    path = document()
    with pytest.raises(AnalysisError, match="figures of the phantom; they replace no table of real ones"):
        refresh(path, fake_outcome(patients=6, studies=FEW, phantom=True))
    assert path.read_text() == REAL


@pytest.mark.parametrize("phantom", [True, False])
def test_marked_table_takes_phantom_figures_and_only_those(document, phantom):
    path = document(TEXT.format(mark=" phantom"))
    lines = refresh(path, fake_outcome(patients=6, studies=FEW, phantom=phantom))
    text = path.read_text()
    assert ("former gap" in text) is phantom
    assert ("former shift" in text) is not phantom
    assert ("Smoke figures from the phantom" in text) is phantom
    assert sum("was left as it is" in line for line in lines) == 1


@pytest.mark.parametrize("part", ["validation", "test"])
def test_tables_of_test_patients_are_marked_and_take_no_others(document, part):
    path = document(TEXT.format(mark=" test"))
    lines = refresh(path, fake_outcome(patients=6, studies=FEW, part=part))
    text = path.read_text()
    assert ("former gap" in text) is (part == "test") and ("former shift" in text) is not (part == "test")
    assert f"by `make eval` on {part} patients." in text
    assert sum(f"the figures are of {part} patients" in line for line in lines) == 1


def test_a_table_may_have_both_marks(document):
    path = document(TEXT.format(mark=" test phantom"))
    refresh(path, fake_outcome(patients=6, studies=FEW, part="test", phantom=True))
    assert "former gap" in path.read_text() and "former shift" not in path.read_text()


def test_table_without_figures_is_left_alone(document):
    path = document()
    lines = refresh(path, fake_outcome(patients=6, studies=FEW, models=("A",)))
    assert "former gap" in path.read_text()
    assert "table gap was left as it is: nothing of it was measured" in lines[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table:gap -->\nno end\n", "text.md:1: <!-- table:gap --> is not closed by <!-- /table -->"),
        ("<!-- table:gap -->\n<!-- table:shift -->\n<!-- /table -->\n", "text.md:1: .* is not closed"),
        (
            "\n<!-- table:nothing -->\n<!-- /table -->\n",
            "text.md:2: no table is called nothing; the tables are headline",
        ),
        ("<!-- table:gap fantom -->\n<!-- /table -->\n", "'fantom' is not 'phantom'"),
        ("no table\n", "it has no table; mark its place by"),
    ],
)
def test_wrong_markers_are_reported_and_the_file_stays(document, text, message):
    path = document(text)
    with pytest.raises(AnalysisError, match=message):
        refresh(path, fake_outcome(patients=6, studies=FEW))
    assert path.read_text() == text


def test_foreign_outcome_is_refused(document):
    with pytest.raises(OutcomeError, match="format 7 is not 3"):
        refresh(document(), {"format": 7})


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"nowhere\.md"):
        refresh(tmp_path / "nowhere.md", fake_outcome(patients=6, studies=FEW))


def test_the_projects_own_text_has_tables_that_exist_and_are_closed(tmp_path):
    copy = tmp_path / "copy.md"
    copy.write_text(REPORT.read_text())
    names = [m["name"] for m in map(START.fullmatch, REPORT.read_text().splitlines()) if m]
    assert names and set(names) <= TABLES.keys()
    assert len(refresh(copy, fake_outcome(patients=6))) == len(names)
    outside = re.compile(r"(<!-- table:\S+ -->\n).*?(<!-- /table -->)", re.DOTALL)
    assert outside.sub(r"\1\2", copy.read_text()) == outside.sub(r"\1\2", REPORT.read_text())

import pytest

from synthspine.train.code_version import code_version

SOURCE = """\"\"\"What it is.\"\"\"
SCALE = 2  # of something


def doubled(x):
    \"\"\"Twice.\"\"\"
    return SCALE * x
"""


@pytest.fixture
def version(tmp_path):
    """Digest of a project with some text in one module of train."""

    def digest(text=SOURCE, name="train/one.py", others=()):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for place, content in ((name, text), *others):
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return code_version(folder)

    return digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  # of something", ""),
        ("What it is.", "What it does."),
        ('    """Twice."""\n', ""),
        ("\n\n\n", "\n\n"),
    ],
)
def test_comments_texts_and_layout_are_no_other_code(version, before, after):
    assert before in SOURCE
    assert version(SOURCE.replace(before, after)) == version()


@pytest.mark.parametrize(
    ("before", "after"), [("= 2", "= 3"), ("doubled", "twice"), ("SCALE * x", "x * SCALE")]
)
def test_another_statement_is_other_code(version, before, after):
    assert version(SOURCE.replace(before, after)) != version()


def test_new_and_renamed_modules_are_other_code_and_other_packages_are_not(version):
    assert version(name="train/two.py") != version()
    assert version(others=[("gen/new.py", "x = 1\n")]) != version()
    assert version(others=[("eval/new.py", "x = 1\n")]) == version()


def test_the_version_of_the_project_is_the_same_when_asked_again():
    assert len(code_version()) == 64
    assert code_version() == code_version.__wrapped__()

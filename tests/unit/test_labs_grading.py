"""The whole loop with real nbgrader: release, hand in, autograde, export, in a course folder made for the test."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from lab_notebooks import LABS, SOURCE, metadata, plant, points, read
from nbgrader.api import Gradebook

# lab: exercise, what is right in its solution, what is handed in instead, the test that it fails
WRONG = {
    "lab1_degradation": (
        "damage",
        "labs.add_noise(small, noise, seed)\n    return resize(jpeg(noisy, quality), size)",
        "jpeg(small, quality)\n    return resize(labs.add_noise(noisy, noise, seed), size)",
        "test_damage",
    ),
    # fits what the visible check asks for, and nothing else
    "lab2_mmrb": ("my_mmrb", "max(2, channels // 4)", "{16: 4, 24: 6}[channels]", "test_mmrb"),
    "lab5_self_supervision": (
        "teacher_loss",
        "with torch.no_grad()",
        "with torch.enable_grad()",
        "test_teacher_loss",
    ),
}


def nbgrader(course: Path, *arguments: str) -> None:
    # nbgrader starts alembic by name
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course, env=os.environ | {"PATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def hand_in(course: Path, student: str, lab: str, notebook: nbformat.NotebookNode) -> None:
    folder = course / "submitted" / student / lab
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{lab}.ipynb")


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A course: all labs released, handed in by three students, graded and exported."""
    course = tmp_path_factory.mktemp("course")
    shutil.copytree(SOURCE, course / "source", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(SOURCE.parent / "nbgrader_config.py", course)
    nbgrader(course, "generate_assignment", "--assignment=*", "--force")
    for lab in LABS:
        hand_in(course, "solved", lab, read(lab))
        hand_in(course, "untouched", lab, nbformat.read(course / "release" / lab / f"{lab}.ipynb", as_version=4))
    for lab, (grade_id, right, wrong, _) in WRONG.items():
        notebook = read(lab)
        plant(notebook, grade_id, right, wrong)
        hand_in(course, "wrong", lab, notebook)
    nbgrader(course, "autograde", "--assignment=*")
    nbgrader(course, "export")
    return course


@pytest.fixture(scope="module")
def exported(course) -> dict[tuple[str, str], tuple[float, float]]:
    """{(student, lab): (score, maximum)} as the exported CSV file says."""
    with (course / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["student_id"], row["assignment"]): (float(row["score"]), float(row["max_score"])) for row in rows}


def test_the_csv_has_every_student_in_every_lab(exported):
    assert exported.keys() == {(student, lab) for student in ("solved", "untouched", "wrong") for lab in LABS}


@pytest.mark.parametrize("lab", LABS)
def test_the_solved_source_scores_full_marks(exported, lab):
    assert exported["solved", lab] == (20, 20)


@pytest.mark.parametrize("lab", LABS)
def test_the_untouched_release_scores_nothing(exported, lab):
    assert exported["untouched", lab] == (0, 20)


@pytest.mark.parametrize("lab", WRONG)
def test_a_wrong_answer_loses_its_own_points_and_no_others(course, exported, lab):
    lost = WRONG[lab][-1]
    assert exported["wrong", lab] == (20 - points(lab)[lost], 20)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        grades = gradebook.find_submission_notebook(lab, lab, "wrong").grades
        scores = {grade.name: grade.score for grade in grades}
    assert scores == {name: 0 if name == lost else full for name, full in points(lab).items()}


@pytest.mark.parametrize("lab", LABS)
def test_the_release_holds_no_answers(course, lab):
    release = nbformat.read(course / "release" / lab / f"{lab}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in release.cells)
    assert not any(marker in text for marker in ("BEGIN SOLUTION", "HIDDEN TESTS"))
    answers = [cell.source for cell in release.cells if metadata(cell).get("solution")]
    assert answers and all("raise NotImplementedError()" in answer for answer in answers)
    assert len(release.cells) == len(read(lab).cells)

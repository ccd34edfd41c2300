import pytest
from results_tree import cell

import documents
from isoclock.records.document import read, write
from isoclock.records.record import StudentRecord
from isoclock.report.collect import collect
from isoclock.report.summary import summarise
from isoclock.report.tables import to_markdown
from isoclock.report.teacher_cost import teacher_cost


def charged(tree):
    study = collect(tree.root, tree.cells)
    titles, rows = teacher_cost(study, summarise(study.rows))
    return titles, {row[0]: row[3:] for row in rows}


@pytest.fixture
def taught(tree):
    """Four students of a teacher that trained for an hour, and one without a teacher."""
    tree.teacher()
    for seed in (0, 1):
        for method in ("kd", "cwd"):
            tree.scored(cell(method, seed=seed))
    tree.scored(cell("none"))
    path = tree.layout.student_files(cell("none")).record
    record = read(path, StudentRecord, "student")
    write(path, record.model_copy(update={"digests": record.digests.model_copy(update={"teacher": None})}))
    return tree


def test_a_teacher_is_charged_to_one_student_or_shared(taught):
    record = documents.teacher_record("streets", "pspnet-r18", clock={"train_s": 3600.0})
    write(taught.layout.teacher_files("streets", "pspnet-r18").record, record)
    titles, rows = charged(taught)
    assert titles[3:] == ["student alone", "with the teacher", "with 1/4 of it"]
    alone = collect(taught.root, taught.cells).rows[0].spent_s
    assert rows["kd"] == [f"{alone:.1f} s", f"{(alone + 3600) / 3600:.2f} h", f"{alone + 900:.0f} s"]
    assert len(set(rows["none"])) == 1, "none has no teacher"
    study = collect(taught.root, taught.cells)
    assert "### With the teacher charged" in to_markdown(study, summarise(study.rows), [])


def test_without_its_train_time_there_is_no_such_table(taught):
    assert charged(taught)[1] == {}

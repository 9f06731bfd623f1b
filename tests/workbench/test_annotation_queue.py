"""The annotation queue: what is sent stays once, in order, until it is taken out."""

from __future__ import annotations

import threading

import pytest

from executors.errors import InputError
from workbench.annotation_queue import AnnotationQueue
from workbench.store import Store

SAMPLE = {"sample_id": "e/1", "benchmark": "grounded on x", "evaluation": "sft/grounded.elements", "reason": "wrong"}


@pytest.fixture
def queue(tmp_path) -> AnnotationQueue:
    return AnnotationQueue(Store(tmp_path))


def test_a_sample_keeps_all_that_was_said_of_it(queue, tmp_path):
    assert queue.add(**SAMPLE, person="ada")
    (row,) = AnnotationQueue(Store(tmp_path)).list()  # as another process reads it
    assert {name: getattr(row, name) for name in SAMPLE} == SAMPLE
    assert row.person == "ada" and row.created.endswith("+00:00")


def test_a_sample_of_a_benchmark_waits_once(queue):
    assert queue.add(**SAMPLE)
    assert not queue.add(**{**SAMPLE, "evaluation": "other/grounded.elements", "reason": "again"})
    assert queue.add(**{**SAMPLE, "benchmark": "osatlas on x"})
    assert queue.count() == 2
    assert queue.list()[0].reason == "wrong"
    assert queue.waiting_ids("grounded on x") == {"e/1"}
    assert queue.waiting_ids("nothing") == set()


def test_rows_come_in_the_order_they_were_sent_page_by_page(queue):
    for n in range(5):
        queue.add(**{**SAMPLE, "sample_id": f"e/{n}"})
    assert [row.sample_id for row in queue.list(limit=2, offset=2)] == ["e/2", "e/3"]


def test_what_is_taken_out_is_gone_and_may_come_again(queue):
    queue.add(**SAMPLE)
    number = queue.list()[0].number
    assert queue.remove(number) and not queue.remove(number)
    assert queue.list() == [] and queue.add(**SAMPLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sample_id", ""), ("benchmark", ""), ("evaluation", ""), ("sample_id", "x" * 401), ("reason", "x" * 401)],
)
def test_what_cannot_be_a_row_is_refused(queue, field, value):
    with pytest.raises(InputError, match=f"field '{field}'"):
        queue.add(**{**SAMPLE, field: value})
    assert queue.count() == 0


def test_two_writers_at_once_leave_one_row(tmp_path):
    queues = [AnnotationQueue(Store(tmp_path)) for _ in range(2)]
    added: list[bool] = []
    threads = [threading.Thread(target=lambda q=q: added.extend(q.add(**SAMPLE) for _ in range(5))) for q in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [False] * 9 + [True]

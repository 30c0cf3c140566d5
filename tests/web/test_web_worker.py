"""The order of what is done on the side."""

import threading

from segjax.web.worker import Worker


def test_what_is_urgent_comes_first_and_each_in_its_order() -> None:
    worker, go_on, done = Worker("test"), threading.Event(), []
    worker.submit(go_on.wait)
    for name in "abc":
        worker.submit(done.append, name, urgent=name == "c")
    last = worker.submit(done.append, "d", urgent=False)
    assert not worker.ended(0)
    go_on.set()
    last.result(10)
    assert done == ["c", "a", "b", "d"]
    failed = worker.submit(lambda: 1 / 0)
    assert isinstance(failed.exception(10), ZeroDivisionError)
    worker.close()
    assert worker.ended(10)

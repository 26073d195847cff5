"""Circuit breakers in the store, which several hosts may write at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from eventctl import config
from eventctl.store.breakers import close_breaker, open_breaker, open_breakers
from eventctl.store.connect import open_store
from tests.support.databases import conformance
from tests.support.project import Project

ROUNDS = 50


@conformance
def test_two_hosts_open_one_breaker_at_once(project: Project) -> None:
    """Both find none: the second one finds out, begins again, and keeps when it was opened."""
    project.write('[handlers]\npay = "handlers:pay"\n')
    of_this_store = config.load(project.config)
    with (
        open_store(of_this_store) as one,
        open_store(of_this_store) as other,
        ThreadPoolExecutor() as threads,
    ):
        for _ in range(ROUNDS):
            close_breaker(one, "pay")
            both = [threads.submit(open_breaker, store, "pay", "down") for store in (one, other)]
            for each in both:
                each.result()
            assert open_breakers(one) == ["pay"]

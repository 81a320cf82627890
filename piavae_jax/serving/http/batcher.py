"""Requests that arrive together are scored together, by one thread."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from piavae_jax.serving.http.engine import Engine, Job
from piavae_jax.serving.http.metrics import Metrics

T = TypeVar("T")


class Overloaded(Exception):
    """Too many requests wait for the model."""


class _Waiting(NamedTuple):
    job: Job
    answer: asyncio.Future[list[dict[str, Any]]]
    since: float


class Batcher:
    """The one door to an engine.

    The first job of a batch waits `Limits.batch_seconds` for others; while a batch is with the model, the next one
    gathers. Everything else that needs the model, `call`, takes its turn between batches.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        """Start; needs a running event loop."""
        self.engine, self._metrics = engine, metrics
        self._jobs: deque[_Waiting] = deque()
        self._calls = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loop = asyncio.create_task(self._run())

    async def submit(self, job: Job) -> list[dict[str, Any]]:
        """The lists of a job, `Engine.answer`.

        Raises:
          Overloaded: too many requests wait.
          UserError: the model's scores are not finite.
        """
        self._require_room()
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Waiting(job, answer, time.perf_counter()))
        self._metrics.waiting.inc()
        self._arrived.set()
        return await answer

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the engine in its thread.

        Raises:
          Overloaded: too many requests wait.
        """
        self._require_room()
        self._calls += 1
        self._metrics.waiting.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        finally:
            self._calls -= 1
            self._metrics.waiting.dec()

    async def close(self) -> None:
        """Answer what waits, then stop."""
        self._closing = True
        self._arrived.set()
        await self._loop
        await asyncio.to_thread(self._thread.shutdown)

    def _require_room(self) -> None:
        if len(self._jobs) + self._calls >= self.engine.limits.waiting:
            self._metrics.refused.inc()
            raise Overloaded

    async def _run(self) -> None:
        while self._jobs or not self._closing:
            if not self._jobs:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await self._gather()
            await self._answer(self._take())

    async def _gather(self) -> None:
        """Wait until the batch is full or its first job has waited long enough."""
        deadline = self._jobs[0].since + self.engine.limits.batch_seconds
        while not self._closing and sum(len(waiting.job.rows) for waiting in self._jobs) < self.engine.limits.users:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), max(0.0, deadline - time.perf_counter()))
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """Jobs in order of arrival, as many as a batch holds; at least one."""
        taken: list[_Waiting] = []
        users = 0
        while self._jobs and (not taken or users + len(self._jobs[0].job.rows) <= self.engine.limits.users):
            waiting = self._jobs.popleft()
            self._metrics.waiting.dec()
            if not waiting.answer.done():  # the request was cancelled
                taken.append(waiting)
                users += len(waiting.job.rows)
        return taken

    async def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        started = time.perf_counter()
        self._metrics.batch_users.observe(sum(len(waiting.job.rows) for waiting in batch))
        for waiting in batch:
            self._metrics.wait_seconds.observe(started - waiting.since)
        jobs = [waiting.job for waiting in batch]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.answer, jobs)
        except Exception as error:  # whatever it is, each request must hear of it and the next batch must run
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        self._metrics.batch_seconds.observe(time.perf_counter() - started)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

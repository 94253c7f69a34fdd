"""How code gets into a worker process: by path, or by value from a main script; what cannot is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncinfer import model
from asyncinfer.errors import InvalidModel
from asyncinfer_process import ProcessExecutor
from tests.backends import process_models as models
from tests.backends.process_stage import LIMITS, error_of, result_of, stage


@pytest.mark.parametrize("code", [models.double, models.doubled, models.wrapped, models.Doubler])
async def test_code_is_imported_by_its_path(code: object) -> None:
    async with stage() as one:
        one.executor.check(one.runner(code))

        assert await one.result(code, number=21) == 42


async def test_a_batch_class_is_imported_by_its_path() -> None:
    async with stage() as one:
        outcomes = await one.executor.run(one.call(models.Doublers, {"number": 1}, {"number": 2}))

    assert [result_of(outcome) for outcome in outcomes] == [2, 4]


async def test_what_a_model_is_retried_on_travels_with_it() -> None:
    async with stage() as one:
        retried, final = await one.outcome(models.picky, kind="Picky"), await one.outcome(models.picky, kind="other")

    assert (error_of(retried).retryable, error_of(final).retryable) == (True, False)


async def test_the_parents_search_path_and_folder_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/somewhere/else"])
    async with stage() as one:
        folder, *path = await one.result(models.where_am_i)

    assert folder == str(Path.cwd())
    assert path == [entry or folder for entry in sys.path]


SCRIPT = """
    import asyncio, sys
    if sys.argv[1:]:
        sys.modules[sys.argv[1]] = None
    from asyncinfer import JobManager, RetryPolicy, model

    FACTOR = 2

    class Unsure(Exception):
        pass

    @model(executor="process", retry=RetryPolicy(max_attempts=2, initial_delay=0, retry_on=(Unsure,)))
    def double(number: int) -> int:
        from asyncinfer import current_job
        if current_job().attempt == 1:
            raise Unsure
        return FACTOR * number

    async def main():
        async with JobManager("memory://", models=[double]) as manager:
            print(await (await manager.submit(double, 21)))

    asyncio.run(main())
"""


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_code_of_the_main_script_travels_by_value(tmp_path: Path) -> None:
    assert run_script(tmp_path).stdout == "42\n"


def test_without_cloudpickle_code_of_the_main_script_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ended = run_script(tmp_path, "cloudpickle")

    assert ended.returncode == 1
    assert "InvalidModel: model double: a worker process cannot import 'double'" in ended.stderr
    assert "pip install 'asyncinfer[process]'" in ended.stderr


def refusal(code: Callable[[int], int]) -> str:
    runner = model(code, name="m", executor="process").runner(LIMITS)
    with pytest.raises(InvalidModel) as caught:
        ProcessExecutor().check(runner)
    return str(caught.value)


def test_a_function_inside_a_function_is_refused() -> None:
    def inner(number: int) -> int:
        return number

    assert "is defined inside a function; move it to module level" in refusal(inner)


def test_a_bound_method_is_refused() -> None:
    assert "is a method of an object" in refusal(models.Methods().predict)


def test_a_path_that_leads_to_another_object_is_refused() -> None:
    assert "process_models:shadowed is another object than the model's code" in refusal(models.shadow)


def test_a_path_that_leads_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(models, "double")

    assert "process_models:double is another object" in refusal(models.shadowed)


def test_code_that_cannot_be_pickled_is_refused() -> None:
    assert "cannot be pickled" in refusal(models.unpicklable)

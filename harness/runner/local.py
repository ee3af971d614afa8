"""One task after another, without Ray: each in a child process, or in this very process for a debugger."""

from __future__ import annotations

from functools import partial

from harness.runner.driver import Driver
from harness.runner.isolate import run_isolated
from harness.runner.signals import stops_on_signal


def run_local(driver: Driver, in_process: bool = False) -> None:
    """Run everything the driver hands out.

    Args:
        driver: hands out tasks and takes their results.
        in_process: run them in this process; limits of time and memory do not hold there.
    """
    with stops_on_signal(driver.stopping):
        while (task := driver.next_task()) is not None:
            tell = partial(driver.take, task)
            if in_process:
                from harness.runner.worker import run_task

                result = run_task(task, tell, driver.stopping.is_set)
                if result.state == "ok":
                    task.files.release()
            else:
                result = run_isolated(task, tell, driver.stopping.is_set)
            tell(result)
    driver.close()

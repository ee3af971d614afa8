"""One unit after another, without Ray: each in a child process, or in this very process for a debugger."""

from __future__ import annotations

from functools import partial

from harness.runner.driver import Driver
from harness.runner.isolate import run_isolated
from harness.runner.signals import stops_on_signal


def run_local(driver: Driver, in_process: bool = False) -> None:
    """Run everything the driver hands out.

    Args:
        driver: hands out units and takes their records.
        in_process: run them in this process; limits of time and memory do not hold there.
    """
    with stops_on_signal(driver.stopping):
        while (unit := driver.next_unit()) is not None:
            tell = partial(driver.take, unit)
            if in_process:
                from harness.runner.worker import run_unit

                record = run_unit(unit, tell, driver.stopping.is_set)
                if record.state == "ok":
                    unit.files.release()
            else:
                record = run_isolated(unit, tell, driver.stopping.is_set)
            tell({"kind": "record", "record": record})
    driver.close()

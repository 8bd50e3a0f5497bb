"""Owns the measurement of a page in a real browser: how long its main thread is busy while a long decision is opened and read to its end.

    python -m bench.browser [--runs 20] [--steps 300]

Prints, over the runs, the longest task of the main thread (the browser reports those of 50 ms and more), how many there were, the first
content and the shift of the layout. The target is no task over 100 ms. Times of a browser on a noisy machine drift: medians are printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from typing import Any, Final

from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser import cases
from tests.browser.visiting import log_in
from tests.service import Service
from tests.story.chromium import PATH

WATCH: Final = """window.seen = {tasks: [], shift: 0, paint: 0};
const watch = (type, each) => new PerformanceObserver((list) => list.getEntries().forEach(each)).observe({type, buffered: true});
watch("longtask", (task) => seen.tasks.push(task.duration));
watch("layout-shift", (one) => { if (!one.hadRecentInput) seen.shift += one.value; });
watch("paint", (one) => { if (one.name === "first-contentful-paint") seen.paint = one.startTime; });"""
TO_THE_END: Final = """async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let still = 0; still < 5; ) {
    const before = scrollY;
    scrollBy(0, innerHeight * 0.9);
    await pause(60);
    still = scrollY === before ? still + 1 : 0;
  }
  await pause(300);
  return {...seen, steps: document.querySelectorAll(".row[id^=step-]").length};
}"""


def visit(context: BrowserContext, path: str) -> dict[str, Any]:
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(path, wait_until="load")
    found: dict[str, Any] = page.evaluate(TO_THE_END)
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300, choices=cases.SIZES)
    options = parser.parse_args()
    service = Service()
    try:
        service.start()
        cases.load(service)
        service.settle()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            context = browser.new_context(base_url=service.first_run["url"], viewport={"width": 1440, "height": 900})
            log_in(context, service)
            runs = [visit(context, f"/sessions/{cases.key_of(service, options.steps)}") for _ in range(options.runs)]
            version = browser.version
            browser.close()
    finally:
        service.remove()
    longest = [max(run["tasks"], default=0.0) for run in runs]
    told = {
        "steps": runs[0]["steps"],
        "runs": len(runs),
        "longest_task_ms": {"median": statistics.median(longest), "most": max(longest)},
        "tasks_of_50_ms": {"median": statistics.median(len(run["tasks"]) for run in runs), "most": max(len(run["tasks"]) for run in runs)},
        "runs_with_a_task_over_100_ms": sum(one > 100 for one in longest),
        "first_content_ms": statistics.median(run["paint"] for run in runs),
        "layout_shift": max(run["shift"] for run in runs),
        "browser": version,
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()

"""How long the Explorer takes to compute everything anew, measured in a browser.

python -m benchmarks.explorer [--samples 60] [--validation 40] [--runs 50]

Needs playwright and Chromium (CHROMIUM: its path; by default the one on the path). A recomputation
is all methods, usefulness, both planes, table and strip, without the browser's own painting:
"full" searches for BDS anew, "warm" follows the previous weights, as while a point is dragged.
These are times of the clock, the only ones a page can take: measure on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "explorer.html"

MEASURE = """([mode, N, m, warm, runs]) => {
  document.querySelector(`[data-mode=${mode}]`).click();
  Object.assign(explorer.state, { N, m });
  const times = [];
  for (let k = 0; k < runs; k++) {
    explorer.state.train[0].x[1] += k % 2 ? 0.05 : -0.05;
    const start = performance.now();
    explorer.recompute(warm);
    times.push(performance.now() - start);
  }
  return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Milliseconds of one recomputation.")
    parser.add_argument("--samples", type=int, default=60, help="training samples, 2 to 60")
    parser.add_argument("--validation", type=int, default=40, help="validation samples, 1 to 40")
    parser.add_argument("--runs", type=int, default=50, help="recomputations for each line")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(PAGE.as_uri())
        for mode in ("ridge", "logistic"):
            for warm in (False, True):
                asked = [mode, args.samples, args.validation, warm, args.runs]
                times = sorted(page.evaluate(MEASURE, asked))
                print(
                    f"{mode}, {'warm' if warm else 'full'}: N={args.samples}, m={args.validation}: "
                    f"median {times[len(times) // 2]:.1f} ms, shortest {times[0]:.1f} ms, "
                    f"longest {times[-1]:.1f} ms"
                )
        browser.close()


if __name__ == "__main__":
    main()

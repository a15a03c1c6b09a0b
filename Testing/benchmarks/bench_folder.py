"""How many scans a minute `paranasal predict FOLDER` scores at `--jobs 2` against `--jobs 1`.

    python Testing/benchmarks/bench_folder.py [FOLDER] [--scans 24] [--rounds 1] [--check]

Both are measured in turn, with all threads that each takes by itself; seconds are those of whole
calls, with their start-up. On a machine that does other work the load is as telling as the seconds:
both are printed. Without FOLDER the scans of the shared site are taken. The target holds for free
cores; `--check` makes a missed one an exit status of 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_predict import ROOT, machine

SITE = Path(os.environ.get("PARANASAL_TEST_DATA", ROOT.parent / "shared" / "data")) / "site"
TARGET = 1.7
JOBS = (1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SITE)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="exit status 1 if the target is missed"
    )
    args = parser.parse_args()
    if not args.folder.is_dir():
        sys.exit("No folder of scans to measure: give one on the command line.")
    print(f"machine   {machine()}\nfolder    {args.folder.name}, {args.scans} scans\n")
    seconds: dict[int, list[float]] = {jobs: [] for jobs in JOBS}
    for _ in range(args.rounds):
        for jobs in JOBS:
            load = os.getloadavg()[0]
            took, busy = whole_call(args.folder, args.scans, jobs)
            seconds[jobs].append(took)
            words = f"{took:7.1f} s, {busy / args.scans:5.2f} s of CPU a scan, load {load:4.1f}"
            print(f"--jobs {jobs}  {words} before, {os.getloadavg()[0]:4.1f} after", flush=True)
    one, two = (statistics.median(seconds[jobs]) for jobs in JOBS)
    print(f"\n--jobs 2 against --jobs 1: {one / two:.2f} times (target {TARGET} on free cores)")
    return 1 if args.check and one / two < TARGET else 0


def whole_call(folder: Path, scans: int, jobs: int) -> tuple[float, float]:
    """Seconds of one call for the first scans of a folder, and of the CPU, children included."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "ParanasalSSLLib.cli.main", "predict", str(folder)]
        words += ["-o", f"{out}/out", "--jobs", str(jobs), "--device", "cpu", "--json-progress"]
        words += [part for n in range(1, scans + 1) for part in ("--series", str(n))]
        began, before = time.perf_counter(), os.times()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        took, after = time.perf_counter() - began, os.times()
    events = [json.loads(line) for line in done.stdout.splitlines()]
    if sum(event["event"] == "scan_done" for event in events) < scans:
        sys.exit(f"not all scans were scored:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    busy = sum(after[2:4]) - sum(before[2:4])
    return took, busy


if __name__ == "__main__":
    sys.exit(main())

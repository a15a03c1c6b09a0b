"""Seconds until the Slicer panel is open, on a scene that holds one scan (target: under 0.3).

    .venv/bin/python Testing/benchmarks/bench_panel.py [SCAN]

The panel is the module's own .ui file and Widget class, run by Qt outside Slicer on Slicer's MRML
libraries (see Testing/Slicer/headless). Default scan: the simulated sample head.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
ROUNDS = 5


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Slicer")]
    import headless

    slicer = headless.install()
    module = headless.load_module(ROOT / "ParanasalSSL" / "ParanasalSSL.py")
    scan = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    node = slicer.util.loadVolume(str(scan))
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        panel = headless.open_module(module)
        seconds.append(time.perf_counter() - started)
        panel.cleanup()
    shape = " x ".join(map(str, node.GetImageData().GetDimensions()))
    heavy = sorted({"torch", "monai", "nibabel", "matplotlib"} & set(sys.modules))
    print(f"scan of {shape} voxels, {os.cpu_count()} cores")
    print(f"panel open after {statistics.median(seconds):.2f} s (median of {ROUNDS})")
    print(f"heavy packages loaded by it: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()

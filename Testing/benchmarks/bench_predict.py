"""How long `paranasal predict` takes and how much memory: stage by stage, first and further scans.

    python Testing/benchmarks/bench_predict.py [SCAN] [--repeats 3] [--device cpu] [--check]
        [--torch] [--against CHECKOUT]

`--torch` also runs the networks by PyTorch on the CPU, and `--against` another state of the project,
in turns with this one, and only that. Both give the processor's seconds too, which other work on the
machine changes little.

Each figure comes from a process of its own, as a user starts one: start-up time, peak memory and
the first scan are not coloured by what ran before. Without SCAN the FLAIR of the shared test data
is taken, else the sample that ships with the project. `--check` makes missed targets an exit
status of 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED_SCAN = (
    Path(os.environ.get("PARANASAL_TEST_DATA", ROOT.parent / "shared" / "data"))
    / "donors"
    / "flair_3d_1mm.nii.gz"
)
SAMPLE_FOLDER = ROOT / "ParanasalSSLLib" / "data" / "sample"

FIRST_SCAN_TARGET_S = 3.0  # whole call of one scan, with start-up, 2 cores
FURTHER_SCAN_TARGET_S = 1.4  # each further scan of the same call
MEMORY_TARGET_GB = 0.45


def main() -> int:
    args = _parse()
    scan = args.scan or default_scan()
    print(f"machine   {machine()}\nscan      {scan.name} ({scan.stat().st_size / 1e6:.1f} MB)\n")
    if args.against:
        print_comparison(scan, args.repeats, {"before": Kind(args.against), "now": Kind()})
        return 0
    stages = in_own_process("stages", scan, args.device)
    print_stages(stages)
    calls = [whole_call(scan, 1, args.device) for _ in range(args.repeats)]
    several = whole_call(scan, 1 + args.repeats, args.device)
    targets = [
        Target("help (`paranasal --help`)", help_seconds(), None, "s"),
        Target(
            "one scan with start-up", statistics.median(c.seconds for c in calls),
            FIRST_SCAN_TARGET_S, "s",
        ),
        Target(
            "each further scan", statistics.median(several.scan_seconds[1:]),
            FURTHER_SCAN_TARGET_S, "s",
        ),
        Target("peak memory", max(c.memory_gb for c in calls), MEMORY_TARGET_GB, "GB"),
        Target("peak memory, several scans", several.memory_gb, MEMORY_TARGET_GB, "GB"),
    ]  # fmt: skip
    print("\n" + f"{'whole call':<30}{'measured':>10}{'target':>10}")
    for target in targets:
        print(target.line())
    if args.torch:
        with tempfile.TemporaryDirectory() as folder:
            kinds = {"ONNX Runtime": Kind(), "PyTorch": Kind(model=without_onnx(Path(folder)))}
            print_comparison(scan, args.repeats, kinds)
    missed = [target for target in targets if target.missed]
    return 1 if missed and args.check else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--torch", action="store_true", help="compare with PyTorch on the CPU")
    parser.add_argument("--against", type=Path, help="the folder of another state of the project")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a target is missed")
    parser.add_argument("--stages", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stages:
        print(json.dumps(measure_stages(args.scan, args.device)))
        sys.exit(0)
    return args


def default_scan() -> Path:
    """The shared FLAIR, or a sample head of the project."""
    if SHARED_SCAN.is_file():
        return SHARED_SCAN
    samples = sorted(SAMPLE_FOLDER.glob("*.nii.gz"))
    if not samples:
        sys.exit("No scan to measure: give one on the command line.")
    return samples[0]


def machine() -> str:
    """CPU model, usable cores, memory and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Target:
    name: str
    measured: float
    limit: float | None
    unit: str

    @property
    def missed(self) -> bool:
        return self.limit is not None and self.measured > self.limit

    def line(self) -> str:
        limit = f"< {self.limit:g} {self.unit}" if self.limit is not None else "-"
        mark = "  MISSED" if self.missed else ""
        return f"{self.name:<30}{self.measured:>7.2f} {self.unit:<2}{limit:>10}{mark}"


# ------------------------------------------------------------------------------------- stages


def in_own_process(mode: str, scan: Path, device: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(scan), f"--{mode}", "--device", device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return content


def measure_stages(scan: Path, device: str) -> dict[str, Any]:
    """Seconds and peak memory so far after each stage, one after the other in one thread.

    `predict` itself loads the model beside the first registration: its whole is less than this sum.
    """
    rows: list[dict[str, Any]] = []
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        rows.append({"stage": name, "seconds": now - clock, "peak_gb": _peak_gb()})
        clock = time.perf_counter()

    from ParanasalSSLLib.boxes.registration import find_boxes
    from ParanasalSSLLib.crop import cut_crop
    from ParanasalSSLLib.results import maps
    from ParanasalSSLLib.results.layout import ScanFiles
    from ParanasalSSLLib.results.record import ScanRecord
    from ParanasalSSLLib.scans.read import read_volume

    lap("import (SimpleITK, scipy, ...)")
    from ParanasalSSLLib.model.bundle import load_bundle, shipped_bundle_path
    from ParanasalSSLLib.predict import FoundSinuses, score_sinuses
    from ParanasalSSLLib.results.html import write_html_report
    from ParanasalSSLLib.results.pictures import draw_pictures, write_key_images

    lap("import (networks, results)")
    bundle = load_bundle(shipped_bundle_path(), device)
    lap("load model")
    volume = read_volume(scan)
    lap("read")
    found = find_boxes(volume)
    lap("register")
    crops = [cut_crop(volume, box, bundle.card.crop) for box in found.boxes.values()]
    lap("crop (both sinuses)")
    bundle.analyse(crops)
    lap("residual, sinus networks")
    result = score_sinuses(FoundSinuses(volume, found), bundle)
    clock = time.perf_counter()  # scored again only to have a result
    with tempfile.TemporaryDirectory() as folder:
        files = ScanFiles(Path(folder), "sub-0001")
        region = maps.PastedRegion.of(result)
        lap("paste into the scan's grid")
        maps.write_residual_map(region, volume, files.residual_map)
        maps.write_segmentation(region, files.segmentation)
        lap("write map and segmentation")
        record = ScanRecord.of(result, bundle.card, "sub-0001")
        pictures = draw_pictures(result)
        write_key_images(pictures, files)
        write_html_report(pictures, record, files.report_html)
        lap("write pictures and HTML report")
    return {"rows": rows}


def print_stages(stages: dict[str, Any]) -> None:
    print(f"{'stage (one after the other)':<30}{'seconds':>10}{'peak so far':>13}")
    for row in stages["rows"]:
        print(f"{row['stage']:<30}{row['seconds']:>10.2f}{row['peak_gb']:>10.2f} GB")
    total = sum(row["seconds"] for row in stages["rows"])
    print(f"{'sum':<30}{total:>10.2f}")


def _peak_gb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)  # bytes on macOS, else kB


# --------------------------------------------------------------------------------- whole calls


@dataclass(frozen=True)
class Call:
    """seconds: with start-up; cpu_seconds: of the processor, all threads together."""

    seconds: float
    scan_seconds: list[float]
    memory_gb: float
    cpu_seconds: float


@dataclass(frozen=True)
class Kind:
    """What is run: the checkout, and its model (None: the shipped one)."""

    checkout: Path = ROOT
    model: Path | None = None


_RUN_AND_TELL_PEAK = """
import resource, sys
from ParanasalSSLLib.cli.main import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = used.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
print(peak, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(status)
"""


def whole_call(scan: Path, times: int, device: str, kind: Kind = Kind()) -> Call:
    """Run `paranasal predict` on the scan, `times` times in one call."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-c",
            _RUN_AND_TELL_PEAK,
            "predict",
            *[str(scan.resolve())] * times,
        ]
        command += ["-o", out, "--device", device, "--json-progress"]
        command += ["--model", str(kind.model)] if kind.model else []
        paths = [str(kind.checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        started = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=out
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"predict failed:\n{done.stdout[-2000:]}\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    scans = [event["seconds"] for event in events if event["event"] == "scan_done"]
    peak, cpu_seconds = map(float, done.stderr.split()[-2:])
    return Call(seconds, scans, peak, cpu_seconds)


def print_comparison(scan: Path, repeats: int, kinds: dict[str, Kind]) -> None:
    """Each kind in turns: medians of one scan, and of each further one."""
    calls: dict[str, list[tuple[Call, Call]]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, kind in kinds.items():
            once, thrice = (whole_call(scan, n, "cpu", kind) for n in (1, 3))
            calls[name].append((once, thrice))
    print(f"\n{'in turns':<16}{'one scan':>10}{'CPU':>8}{'further':>10}{'CPU':>8}{'peak':>12}")
    for name, pairs in calls.items():
        figures = [
            [once.seconds for once, _ in pairs],
            [once.cpu_seconds for once, _ in pairs],
            [statistics.median(thrice.scan_seconds[1:]) for _, thrice in pairs],
            [(thrice.cpu_seconds - once.cpu_seconds) / 2 for once, thrice in pairs],
            [max(once.memory_gb, thrice.memory_gb) for once, thrice in pairs],
        ]
        one, one_cpu, more, more_cpu, peak = map(statistics.median, figures)
        times = f"{one:>8.2f} s{one_cpu:>6.2f} s{more:>8.2f} s{more_cpu:>6.2f} s"
        print(f"{name:<16}{times}{peak:>9.2f} GB")


def without_onnx(folder: Path) -> Path:
    """A copy of the shipped bundle that only PyTorch can run."""
    from ParanasalSSLLib.model.bundle import shipped_bundle_path

    for path in shipped_bundle_path().iterdir():
        if path.suffix != ".onnx":
            (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps(card | {"onnx_sha256": {}}), encoding="utf-8")
    return folder


def help_seconds() -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "ParanasalSSLLib.cli.main", "--help"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())

"""Kills a study at random moments until it is done, and counts what was lost: nothing may be.

    python Testing/soak/kill_study.py [--scans 200] [--kills 20] [--seed 0]

`paranasal predict-study` scores stand-in scans by a light stand-in of the scoring (`light_scoring.py`);
its whole process group is killed (SIGKILL) after a random time, again and again. After each kill every
result that is there must be whole and of its own scan; at the end all must be there, and no scan may
have been scored again that had ended.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMAND = (sys.executable, "-m", "ParanasalSSLLib.cli.main", "predict-study")


@dataclass
class Soak:
    """One run. written: when each result was first seen whole, by its id."""

    folder: Path
    scans: int
    random: random.Random
    written: dict[str, int] = field(default_factory=dict)
    again: int = 0
    half: int = 0

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def prepare(self) -> None:
        raw, modules = self.folder / "raw", self.folder / "modules"
        modules.mkdir()
        shutil.copy(HERE / "light_scoring.py", modules / "sitecustomize.py")
        write_template(modules / "report.json")
        for number in range(self.scans):
            path = raw / f"patient {number}" / "t1.nii.gz"
            path.parent.mkdir(parents=True)
            path.write_text(f"scan {number}")

    def start(self) -> subprocess.Popen[bytes]:
        words = [*COMMAND, str(self.folder / "raw"), "-o", str(self.out)]
        paths = [self.folder / "modules", ROOT, ROOT / "Training"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        return subprocess.Popen(
            [*words, "--scans-a-step", "10"],
            env=environment,
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill_after(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether the process was still at work, and was killed with all that it had started."""
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True

    def check(self) -> None:
        """Count what is half, and what was written again though it had ended."""
        ended = {path.stem for path in self.folder.glob("out.work/outcomes/*.json")}
        for folder in self.out.glob("sub-*"):
            report = folder / f"{folder.name}_report.json"
            try:
                self.half += json.loads(report.read_text())["scan"] != folder.name
            except (OSError, ValueError):
                self.half += 1
                continue
            when = report.stat().st_mtime_ns
            if folder.name in ended:
                self.again += self.written.setdefault(folder.name, when) != when

    def figures(self, kills: int, seconds: float) -> dict[str, object]:
        with (self.out / "results.csv").open(newline="") as file:
            listed = {row["id"] for row in csv.DictReader(file)}
        sums = {
            json.loads(path.read_text())["image"]["sha256"]
            for path in self.out.glob("sub-*/*_report.json")
        }
        wanted = {hashlib.sha256(f"scan {n}".encode()).hexdigest() for n in range(self.scans)}
        return {
            "scans": self.scans,
            "kills": kills,
            "results": len(list(self.out.glob("sub-*/*_report.json"))),
            "scans without a result": len(wanted - sums),
            "in the table": len(listed),
            "half results": self.half,
            "scored again though ended": self.again,
            "left over": len(list(self.out.glob(".sub-*"))),
            "seconds": round(seconds),
            "load": os.getloadavg()[0],
        }


def write_template(path: Path) -> None:
    """A report as the overview reads it, of no scan in particular."""
    from ParanasalSSLLib.boxes.quality import Quality
    from ParanasalSSLLib.results.record import ImageRecord, ModelRecord, ScanRecord, write_report
    from ParanasalSSLLib.results.sinus_record import BoxRecord, SinusRecord
    from ParanasalSSLLib.sinuses import Side

    box = BoxRecord((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0),) * 3, 64.0, "registration")
    sinus = SinusRecord("sinus", 0.2, "clear", 0.5, 1.5, 0.01, box)
    model = ModelRecord("stand-in", "1", "0" * 64, True, 0.5, ("A stand-in.",))
    image = ImageRecord("NIfTI", None, (2, 2, 2), (1.0, 1.0, 1.0))
    sinuses = dict.fromkeys(Side, sinus)
    write_report(ScanRecord("x", None, "0", model, image, Quality("ok"), sinuses), path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started, kills = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="paranasal-soak-") as folder:
        soak = Soak(Path(folder), args.scans, random.Random(args.seed))
        soak.prepare()
        while True:
            longest = 10.0 + 30.0 * kills / max(1, args.kills)
            seconds = soak.random.uniform(1.0, longest) if kills < args.kills else 3600.0
            process = soak.start()
            killed = soak.kill_after(process, seconds)
            soak.check()
            if not killed:
                break
            kills += 1
        figures = soak.figures(kills, time.monotonic() - started)
        log = (soak.folder / "log").read_text(errors="replace")[-2000:]
    print("\n".join(f"{name:<28}{value}" for name, value in figures.items()))
    names = ("scans without a result", "half results", "scored again though ended", "left over")
    lost = sum(int(str(figures[name])) for name in names)
    if lost or process.returncode:
        print(log)
    return 1 if lost or process.returncode else 0


if __name__ == "__main__":
    sys.exit(main())

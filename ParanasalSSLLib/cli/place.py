"""Finds the boxes of one scan for a program that shows them: `python -m ParanasalSSLLib.cli.place`.

Its two arguments are the file of the scan and the file for the boxes. See `beside`: the panel uses it
before anything is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ParanasalSSLLib.cli.beside import Tell, run_beside
from ParanasalSSLLib.cli.events import StageBegun, Summary
from ParanasalSSLLib.progress import Progress, Stage


def place(scan: Path, boxes: Path, tell: Tell) -> Summary:
    """Write the boxes of the scan."""
    tell(_begun(Stage.READ))
    from ParanasalSSLLib.boxes.placement import write_placement
    from ParanasalSSLLib.boxes.registration import find_boxes
    from ParanasalSSLLib.scans.read import read_volume

    volume = read_volume(scan)
    tell(_begun(Stage.REGISTER))
    write_placement(find_boxes(volume), boxes)
    return Summary(done=1, out=str(boxes))


def _begun(stage: Stage) -> StageBegun:
    return StageBegun(stage=stage.value, fraction=Progress.at(stage).fraction)


if __name__ == "__main__":
    sys.exit(run_beside(lambda tell: place(Path(sys.argv[1]), Path(sys.argv[2]), tell)))

"""Finds the boxes of one scan for a program that shows them: `python -m ParanasalSSLLib.cli.place`.

Its two arguments are the file of the scan and the file for the boxes. It speaks `events` and ends with
its input, as `paranasal predict --json-progress --end-with-input` does, but needs no package that
Slicer does not ship, so that the panel can use it before anything is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ParanasalSSLLib.cli.events import CallFailed, Event, StageBegun, Summary, to_json
from ParanasalSSLLib.cli.explain import explain
from ParanasalSSLLib.cli.stopping import STOPPED, stop_with_input
from ParanasalSSLLib.progress import Progress, Stage


def main(words: Sequence[str]) -> int:
    """Place the boxes; returns the exit status."""
    scan, boxes = map(Path, words)
    stop_with_input()
    try:
        _place(scan, boxes)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        _tell(CallFailed(type(error).__name__, explain(error)))
        return 1
    _tell(Summary(done=1, out=str(boxes)))
    return 0


def _place(scan: Path, boxes: Path) -> None:
    _tell_stage(Stage.READ)
    from ParanasalSSLLib.boxes.placement import write_placement
    from ParanasalSSLLib.boxes.registration import find_boxes
    from ParanasalSSLLib.scans.read import read_volume

    volume = read_volume(scan)
    _tell_stage(Stage.REGISTER)
    write_placement(find_boxes(volume), boxes)


def _tell_stage(stage: Stage) -> None:
    _tell(StageBegun(stage=stage.value, fraction=Progress.at(stage).fraction))


def _tell(event: Event) -> None:
    print(to_json(event), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

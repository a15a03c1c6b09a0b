"""`paranasal predict` in this process, with stand-ins for networks and registration."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.cli.score import Scorer
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side

FOREVER = ExitStack()


def small_png(image: Image.Image) -> bytes:
    """A picture that costs no time."""
    stream = io.BytesIO()
    image.resize((8, 8)).save(stream, format="PNG")
    return stream.getvalue()


@contextmanager
def stand_ins() -> Iterator[None]:
    """Inside, scans are scored without registration and networks."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "Lib"))
    from conftest import Toolbox

    toolbox = Toolbox()

    def find_boxes(volume: Volume) -> Placement:
        middle = volume.to_world((np.array(volume.shape) - 1) / 2)
        beside = {Side.LEFT: np.array([-8.0, 0, 0]), Side.RIGHT: np.array([8.0, 0, 0])}
        boxes = {side: SinusBox(side, middle + offset) for side, offset in beside.items()}
        return Placement(boxes, toolbox.quality())

    with (
        patch.object(predict, "find_boxes", find_boxes),
        patch.object(pictures, "png", small_png),
        patch.object(cli_predict, "load_model", lambda _model, _device: toolbox.bundle),
    ):
        yield


def make_with_stand_ins(*given: Any) -> Scorer:
    """`make_scorer` in a process of its own, which has the stand-ins until it ends."""
    FOREVER.enter_context(stand_ins())
    return cli_predict.make_scorer(*given)


@contextmanager
def stand_in_command(jobs: int = 1) -> Iterator[Callable[[Path, Path], tuple[int, str]]]:
    def run(scan: Path, out: Path) -> tuple[int, str]:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = main(["predict", str(scan), "-o", str(out), "--jobs", str(jobs)])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue()

    make = make_with_stand_ins if jobs > 1 else cli_predict.make_scorer
    with stand_ins(), patch.object(cli_predict, "make_scorer", make):
        yield run

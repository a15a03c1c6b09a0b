"""`paranasal predict` in this process, with stand-ins for networks and registration."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from ParanasalSSLLib import predict
from ParanasalSSLLib.boxes.box import SinusBox
from ParanasalSSLLib.boxes.placement import Placement
from ParanasalSSLLib.cli import predict as cli_predict
from ParanasalSSLLib.cli.main import main
from ParanasalSSLLib.results import pictures
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Side


def small_png(image: Image.Image) -> bytes:
    """A picture that costs no time."""
    stream = io.BytesIO()
    image.resize((8, 8)).save(stream, format="PNG")
    return stream.getvalue()


@contextmanager
def stand_in_command() -> Iterator[Callable[[Path, Path], tuple[int, str]]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "Lib"))
    from conftest import Toolbox

    toolbox = Toolbox()

    def find_boxes(volume: Volume) -> Placement:
        middle = volume.to_world((np.array(volume.shape) - 1) / 2)
        beside = {Side.LEFT: np.array([-8.0, 0, 0]), Side.RIGHT: np.array([8.0, 0, 0])}
        boxes = {side: SinusBox(side, middle + offset) for side, offset in beside.items()}
        return Placement(boxes, toolbox.quality())

    def run(scan: Path, out: Path) -> tuple[int, str]:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = main(["predict", str(scan), "-o", str(out)])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue()

    with (
        patch.object(predict, "find_boxes", find_boxes),
        patch.object(pictures, "png", small_png),
        patch.object(cli_predict, "load_model", lambda _model, _device: toolbox.bundle),
    ):
        yield run

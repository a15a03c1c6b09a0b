"""What all scans of a call need: the model, and boxes that the user gives."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ParanasalSSLLib.boxes.placement import Placement
    from ParanasalSSLLib.model.bundle import Bundle

LOADING_ENDS_S = 10  # how long a call that is stopped waits for a model that is being loaded


class CallFailedError(Exception):
    """What all scans need (model, device, boxes) is not there."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Needs:
    """What all scans of a call need; the model is on its way."""

    loader: BundleLoader
    placement: Placement | None = None


class BundleLoader:
    """Loads the model beside the reading and registration of the first scan.

    Importing torch takes about as long as the registration, which runs outside Python's
    global lock.
    """

    def __init__(self, load: Callable[[], Bundle]) -> None:
        # What the main thread needs meanwhile is imported first: two threads that import the same
        # packages in different orders may see them half-made, and one that Ctrl-C interrupts while it
        # waits for Python's import lock may keep it, so that the other never ends.
        import nibabel  # noqa: F401

        import ParanasalSSLLib.results.write  # noqa: F401

        self._load = load
        self._bundle: Bundle | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="bundle", daemon=True)
        self._thread.start()
        # Torch does not like to be ended within its own import; but nothing may hold a stopped call up.
        atexit.register(self._thread.join, LOADING_ENDS_S)

    def bundle(self) -> Bundle:
        """Wait for the model. An error of it is no fault of the scan's."""
        self._thread.join()
        if self._error is not None:
            raise CallFailedError(self._error)
        assert self._bundle is not None
        return self._bundle

    def _work(self) -> None:
        try:
            self._bundle = self._load()
        except Exception as error:
            self._error = error


def check_model(model: Path | None, device: str) -> None:
    """A wrong model or device is told before a registration has been waited for."""
    from ParanasalSSLLib.devices import resolve_device
    from ParanasalSSLLib.model.bundle_folder import check_bundle

    if model is not None:
        check_bundle(model)
    if device not in ("auto", "cpu"):
        resolve_device(device)


def read_boxes(paths: list[Path]) -> Placement:
    """The boxes in one or two files."""
    from ParanasalSSLLib.boxes.placement import read_placement

    return read_placement(*paths)


def require_dicom() -> None:
    """Raise `MissingPackage` where DICOM files cannot be written."""
    from ParanasalSSLLib.results.dicom import require_highdicom

    require_highdicom()

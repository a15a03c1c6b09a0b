"""Slicer module: finds anomalies of the maxillary sinuses in head MRI.

Slicer reads this file at its start: what the module is, its sample data, its test. The panel and the
logic are in `ParanasalSSLPanel`, the method in the library `ParanasalSSLLib`, which knows nothing of
Slicer; both are found and loaded when they are needed, not when this file is read.

It stays readable by Python 3.9, that of Slicer 5.8: an older Slicer shows a sentence, no traceback.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

try:
    from slicer.i18n import tr as _
except ImportError:  # Slicer 5.2 is of one language
    _ = str

HERE = Path(__file__).resolve().parent
OLDEST_SLICER = (5, 12)
IS_SUPPORTED = (int(slicer.app.majorVersion), int(slicer.app.minorVersion)) >= OLDEST_SLICER
TOO_OLD = _(
    "ParanasalSSL needs Slicer {version} or newer: download it from https://slicer.org."
).format(version=".".join(map(str, OLDEST_SLICER)))


def _findLibrary() -> None:
    """Let the library that came with this file win over an installed one of another version.

    It lies beside this file in a built extension, and one folder higher in a clone of the
    repository; where it is in neither place, pip has installed it.
    """
    for folder in (HERE, HERE.parent):
        if (folder / "ParanasalSSLLib" / "__init__.py").is_file():
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            return


class ParanasalSSLWidget(ScriptedLoadableModuleWidget):
    """The panel, loaded when the module is first opened; in an older Slicer a sentence in its place."""

    def __new__(cls, parent: Any = None) -> Any:
        if not IS_SUPPORTED:
            return super().__new__(cls)
        from ParanasalSSLPanel.panel import ParanasalSSLWidget as Panel

        return Panel(parent)

    def setup(self) -> None:
        """Say in the panel's place which Slicer is needed."""
        ScriptedLoadableModuleWidget.setup(self)
        label = qt.QLabel(TOO_OLD)
        label.wordWrap = True
        self.layout.addWidget(label)


class ParanasalSSL(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("ParanasalSSL")
        parent.categories = ["Otolaryngology"]
        parent.dependencies = ["Colors", "Markups", "Segmentations", "SubjectHierarchy"]
        parent.dependencies += ["Tables", "Volumes"]
        parent.contributors = ["The ParanasalSSL developers"]
        about = _(
            "Finds anomalies (thickened mucosa, polyps, cysts, filled sinuses) of the maxillary "
            "sinuses in head MRI: places a box around each sinus, scores it, and shows where it "
            "differs from a healthy one. Research use only, no diagnosis."
        )
        parent.helpText = about if IS_SUPPORTED else TOO_OLD
        parent.acknowledgementText = _(
            "The method follows Bhattacharya et al., Self-supervised learning for classifying "
            "paranasal anomalies in the maxillary sinus (2024)."
        )
        if IS_SUPPORTED:
            _findLibrary()
            slicer.app.connect("startupCompleted()", _registerSampleData)
        else:
            logging.error(TOO_OLD)


def _registerSampleData() -> None:
    from ParanasalSSLPanel.sampleData import registerSampleData

    registerSampleData()


class ParanasalSSLTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test": the way through the scene, with a stand-in for the model."""

    def runTest(self) -> None:
        """Run what Slicer's *Reload and Test* runs."""
        slicer.mrmlScene.Clear()
        self.test_findings_lie_beside_the_scan()

    def test_findings_lie_beside_the_scan(self) -> None:
        """Boxes, map and table of a made-up scan are where they belong."""
        from ParanasalSSLPanel.selfcheck import checkTheWay

        checkTheWay(self)
        self.delayDisplay("Test passed")

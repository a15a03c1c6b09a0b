"""Enough of the Slicer application to run the module's own code on Slicer's real MRML libraries.

What is real: the module's .ui file and its Widget class, run by Qt (PySide6, without a display);
everything that PyPI's `slicer-core` ships, i.e. the scene, all nodes, the volumes, segmentations,
markups, subject hierarchy and terminology logics, reading and writing of their files and of .mrb
scenes, and `slicer.util`.

What is stood in for, since it exists only inside the application: `slicer.app` and the dispatch of
file types (`application.py`); the base classes of scripted modules, translations and package
installation (`scripting.py`); parameter nodes and their connection to widgets (`parameters.py`);
PythonQt, through which Slicer's Python speaks to Qt (`pythonqt.py`); the widgets of CTK and Slicer,
which keep the names, properties and signals of the originals, their looks only roughly
(`ctk_widgets.py`, `mrml_widgets.py`).

So a test that passes here was run on Slicer's libraries, not in Slicer, and a picture shows our
panel, not Slicer's: no slice or 3D views, no module list, no style of Slicer's.

    slicer = headless.install()            # once per process
    module = headless.load_module(path)    # as the application does for a scripted module
    widget = headless.open_module(module)  # its panel, as when a user goes to the module
    headless.click(widget.ui.runButton)
    headless.wait_until(lambda: ..., 10)   # lets Qt work
    headless.picture(widget.parent, "panel.png")
"""

from __future__ import annotations

from headless.application import install, load_module, open_module
from headless.pythonqt import unknown_attributes
from headless.user import choose, click, picture, wait_until

__all__ = [
    "choose",
    "click",
    "install",
    "load_module",
    "open_module",
    "picture",
    "unknown_attributes",
    "wait_until",
]

"""Enough of the Slicer application to run the module's own code on Slicer's real MRML libraries.

What is real: everything that PyPI's `slicer-core` ships, i.e. the scene, all nodes, the volumes,
segmentations, markups, subject hierarchy and terminology logics, reading and writing of their files
and of .mrb scenes, and `slicer.util`.

What is stood in for, since it exists only inside the application: `slicer.app` and the dispatch of
file types (`application.py`); the base classes of scripted modules, parameter nodes, translations
and package installation (`scripting.py`); the panel's widgets, which hold values and call back, but
draw nothing (`panel.py`). So a test that passes here was run on Slicer's libraries, not in Slicer.

    slicer = headless.install()            # once per process
    module = headless.load_module(path)    # as the application does for a scripted module
"""

from __future__ import annotations

from headless.application import install, load_module

__all__ = ["install", "load_module"]

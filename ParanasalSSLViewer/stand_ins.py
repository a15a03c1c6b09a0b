"""What the module's scene code asks of the Slicer application, where there is only its libraries."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def install(app: Any) -> None:
    """Let the scene code find scene and logics. app: trame-slicer's `SlicerApp`."""
    import slicer

    _register(slicer, "i18n", tr=lambda text: text, translate=lambda context, text: text)
    slicer.mrmlScene = app.scene
    slicer.app = SimpleNamespace(
        temporaryPath=tempfile.gettempdir(),
        layoutManager=lambda: None,
        applicationLogic=lambda: app.app_logic,
        mrmlScene=lambda: app.scene,
        pauseRender=lambda: None,
        resumeRender=lambda: None,
        coreIOManager=lambda: SimpleNamespace(saveNodes=_save_scene),
    )
    slicer.modules = SimpleNamespace(
        segmentations=SimpleNamespace(logic=lambda: app.segmentations_logic)
    )
    # Slicer's own module of colours would do this.
    app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    importlib.import_module("slicer.util")
    _find_scene_code()


def _save_scene(kind: str, properties: dict[str, Any], messages: Any) -> bool:
    """As the application saves a scene; kind: that of a scene as one file."""
    import slicer

    return bool(slicer.mrmlScene.WriteToMRB(properties["fileName"], None, messages))


def _find_scene_code() -> None:
    """In a clone it lies in the Slicer module's folder; installed, it is a package of its own."""
    folder = Path(__file__).resolve().parents[1] / "ParanasalSSL"
    if (folder / "ParanasalSSLPanel").is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))


def _register(slicer: ModuleType, name: str, **content: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    module.__dict__.update(content)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)

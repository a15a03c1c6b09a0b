"""Stand-ins for the Python packages of the application: base classes of scripted modules,
`slicer.i18n`, `slicer.packaging`, and `slicer.parameterNodeWrapper` (`parameters.py`).

They keep the names and the behaviour that module code relies on, in the fewest lines.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

from headless import parameters


def install(slicer: ModuleType) -> None:
    """Register the stand-ins as `slicer.<name>`."""
    _register(
        slicer,
        "ScriptedLoadableModule",
        ScriptedLoadableModule=ScriptedLoadableModule,
        ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic=ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest=ScriptedLoadableModuleTest,
    )
    _register(slicer, "i18n", tr=lambda text: text, translate=lambda context, text: text)
    _register(
        slicer, "packaging", load_requirements=load_requirements, pip_ensure=lambda *a, **k: None
    )
    _register(
        slicer,
        "parameterNodeWrapper",
        parameterNodeWrapper=parameters.parameterNodeWrapper,
        WithinRange=parameters.WithinRange,
    )


def _register(slicer: ModuleType, name: str, **content: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    module.__dict__.update(content)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)


# ------------------------------------------------------------------- slicer.ScriptedLoadableModule


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:
        import slicer

        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / name)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        import slicer

        kind = "vtkMRMLScriptedModuleNode"
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, kind)
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass(kind)
            node.UnRegister(None)  # CreateNodeByClass returns an owned reference
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def runTest(self) -> None:
        raise NotImplementedError

    def delayDisplay(self, message: str, *args: Any) -> None:
        pass


# ------------------------------------------------------------------------------ slicer.packaging


def load_requirements(path: str) -> list[str]:
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]

"""The stand-ins themselves: what module code written for PythonQt and Slicer may rely on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

UI = """<ui version="4.0"><class>Top</class><widget class="qMRMLWidget" name="Top">
<layout class="QVBoxLayout" name="rows">
 <item><widget class="qMRMLNodeComboBox" name="selector">
  <property name="nodeTypes">
   <stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>
  </property>
  <property name="noneEnabled"><bool>true</bool></property>
 </widget></item>
 <item><widget class="ctkPathLineEdit" name="folder">
  <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Writable</set></property>
 </widget></item>
 <item><widget class="ctkCollapsibleButton" name="section">
  <property name="collapsed"><bool>true</bool></property>
  <layout class="QVBoxLayout" name="inside">
   <item><widget class="QLabel" name="label"/></item>
  </layout>
 </widget></item>
</layout></widget>
<customwidgets>
 <customwidget><class>qMRMLWidget</class><extends>QWidget</extends></customwidget>
 <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
 <customwidget><class>ctkPathLineEdit</class><extends>QWidget</extends></customwidget>
 <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends>
  <container>1</container></customwidget>
</customwidgets>
<connections><connection>
 <sender>Top</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
</connection></connections></ui>
"""


@pytest.fixture
def ui(slicer: Any, tmp_path: Path) -> Iterator[Any]:
    """The widgets of a small .ui file."""
    path = tmp_path / "top.ui"
    path.write_text(UI, encoding="utf-8")
    top = slicer.util.loadUI(str(path))
    widgets = slicer.util.childWidgetVariables(top)
    top.show()
    yield widgets
    top.close()


def test_properties_are_attributes_and_methods_stay(slicer: Any) -> None:
    import qt

    label = qt.QLabel("a")
    label.text = "b"
    assert label.text == "b"
    label.setText("c")
    assert label.text == "c" and label.isEnabled() and label.enabled
    label.objectName = "words"
    assert label.name == "words" and label.className() == "QLabel"
    assert callable(qt.QTimer.singleShot)


def test_signals_are_connected_by_their_signature(slicer: Any) -> None:
    import qt

    button = qt.QPushButton()
    heard: list[Any] = []
    button.connect("clicked()", lambda: heard.append("click"))
    button.connect("clicked(bool)", heard.append)
    button.click()
    assert heard == ["click", False]
    button.disconnect("clicked(bool)", heard.append)
    button.click()
    assert heard == ["click", False, "click"]
    with pytest.raises(ValueError, match="QPushButton has no signal pressedHard"):
        button.connect("pressedHard(bool)", heard.append)


def test_an_unknown_attribute_is_found(ui: Any) -> None:
    import headless

    ui.label.colour = "red"
    assert headless.unknown_attributes(ui) == ["label.colour"]


def test_errors_in_slots_and_observers_are_heard_of(slicer: Any, faults: list[Any]) -> None:
    import qt

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    button = qt.QPushButton()
    button.connect("clicked()", broken)
    button.click()
    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, broken)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    slicer.mrmlScene.RemoveObserver(tag)
    assert [type(fault) for fault in faults] == [ZeroDivisionError] * 2
    faults.clear()


def test_a_node_selector_follows_the_scene_that_it_is_given(slicer: Any, ui: Any) -> None:
    scene = slicer.mrmlScene
    heard: list[Any] = []
    ui.selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    first = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "First")
    assert ui.selector.nodeCount() == 0
    ui.Top.setMRMLScene(scene)
    scene.AddNewNodeByClass("vtkMRMLTextNode")
    assert ui.selector.nodes() == [first] and ui.selector.currentNode() is None
    ui.selector.setCurrentNode(first)
    assert ui.selector.currentNodeID == first.GetID()
    first.SetName("Renamed")
    assert "Renamed" in shownBy(ui.selector)
    scene.RemoveNode(first)
    assert heard == [first, None] and shownBy(ui.selector) == ["None", "Create new ScalarVolume"]


def shownBy(selector: Any) -> list[str]:
    import qt

    box = selector.findChild(qt.QComboBox)
    return [box.itemText(index) for index in range(box.count)]


def test_a_node_selector_adds_nodes(slicer: Any, ui: Any) -> None:
    import qt

    ui.Top.setMRMLScene(slicer.mrmlScene)
    box = ui.selector.findChild(qt.QComboBox)
    box.setCurrentIndex(box.findText("Create new ScalarVolume"))
    node = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    assert ui.selector.currentNode() is node and box.currentText == node.GetName()


def test_a_folder_is_browsed_for_where_the_ui_file_wants_one(
    ui: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headless
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *given: "/chosen")
    heard: list[str] = []
    ui.folder.connect("currentPathChanged(QString)", heard.append)
    headless.click(ui.folder.findChild(qt.QToolButton))
    assert ui.folder.currentPath == "/chosen" and heard == ["/chosen"]


def test_a_section_folds_its_content_away(ui: Any) -> None:
    import headless
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    assert ui.section.collapsed and not ui.label.visible
    with pytest.raises(AssertionError, match="label is not to be seen"):
        headless.click(ui.label)
    QTest.mouseClick(ui.section, Qt.LeftButton, Qt.NoModifier, QPoint(20, 5))
    assert not ui.section.collapsed and ui.label.visible


def test_parameters_are_bound_to_their_widgets(slicer: Any) -> None:
    import ctk
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        words: str = "some"
        share: Annotated[float, WithinRange(0, 1)] = 0.5
        scan: slicer.vtkMRMLScalarVolumeNode

    slider, selector = ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    scan = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters = Parameters(node)
    tag = parameters.connectParametersToGui({"share": slider, "scan": selector})
    assert (slider.value, slider.maximum) == (0.5, 1)

    slider.setValue(0.25)
    selector.setCurrentNode(scan)
    parameters.words = "new"
    again = Parameters(node)
    assert (again.words, again.share) == ("new", 0.25)
    assert again.scan is scan

    again.share = 0.75
    again.scan = None
    assert slider.value == 0.75 and selector.currentNode() is None
    parameters.disconnectGui(tag)
    slider.setValue(0.5)
    assert again.share == 0.75


def test_parameters_refuse_wrong_values(slicer: Any) -> None:
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        share: Annotated[float, WithinRange(0, 1)] = 0.5

    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(ValueError, match="not within"):
        parameters.share = 2.0
    with pytest.raises(TypeError, match="takes a float"):
        parameters.share = "much"


def test_a_widget_that_cannot_show_its_parameter_is_an_error(slicer: Any) -> None:
    import qt
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        count: float

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    with pytest.raises(RuntimeError, match="QLabel cannot show count"):
        Parameters(node).connectParametersToGui({"count": qt.QLabel()})


def test_waiting_lets_processes_and_timers_work(slicer: Any) -> None:
    import headless
    import qt

    process, ended = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ended.append(code))
    process.start("sh", ["-c", "exit 3"])
    qt.QTimer.singleShot(1, lambda: ended.append("timer"))
    headless.wait_until(lambda: len(ended) == 2, 20)
    assert set(ended) == {3, "timer"}
    with pytest.raises(TimeoutError):
        headless.wait_until(lambda: False, 0.01)

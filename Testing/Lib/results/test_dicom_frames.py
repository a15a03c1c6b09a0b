"""DICOM SEG and SR of enhanced multi-frame MR: they refer to its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_objects import (
    Written,
    assert_identity_of,
    assert_same_places,
    assert_valid,
    by_dcmqi,
    dicom_points,
    groups,
    highdicom_points,
    itk_points,
    thick_head,
)
from enhanced import EnhancedFrame, frames_of, shuffled, write_enhanced
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedMRImageStorage

from ParanasalSSLLib.errors import UnreadableScan
from ParanasalSSLLib.scans.read import read_volume
from ParanasalSSLLib.scans.source_series import read_source_series
from ParanasalSSLLib.scans.volume import Volume
from ParanasalSSLLib.sinuses import Part, Side


def in_files(frames: list[EnhancedFrame], folder: Path, files: int) -> Path:
    size = -(-len(frames) // files)
    for number in range(files):
        part = frames[number * size : (number + 1) * size]
        write_enhanced(part, folder / f"{number}.dcm")
    return folder


@pytest.mark.parametrize("skip", [(), (10,)], ids=["whole", "a marked plane is missing"])
@pytest.mark.parametrize("files", [1, 3])
def test_frames_of_an_oblique_scan(
    toolbox: Any, tmp_path: Path, skip: tuple[int, ...], files: int
) -> None:
    head = thick_head(toolbox, tilt=toolbox.turned(15, 0) @ toolbox.turned(-9, 2))
    head = Volume(np.rint(head.data), head.affine)
    folder = in_files(shuffled(frames_of(head, skip)), tmp_path / "series", files)
    written = Written(toolbox.result(read_volume(folder)), toolbox.card, folder, tmp_path / "out")
    segmentation = written.segmentation
    itk = by_dcmqi(written.files.dicom_segmentation, tmp_path / "dcmqi")
    for side in Side:
        expected = written.nrrd_points(side)
        assert_same_places(dicom_points(segmentation, side), expected, 0.01)
        assert_same_places(highdicom_points(written.files.dicom_segmentation, side), expected, 0.01)
        assert_same_places(itk_points(itk[side, Part.OPACITY]), expected, 0.01)
    for path in written.paths:
        assert_valid(path)
    sources = {data.SOPInstanceUID: data for data in map(dcmread, sorted(folder.iterdir()))}
    assert_identity_of(next(iter(sources.values())), segmentation, written.report)
    assert_frames_lie_where_they_are_said_to(segmentation, sources, filled=len(skip) * len(Side))
    [series] = segmentation.ReferencedSeriesSequence
    referenced = [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence]
    assert sorted(referenced) == sorted(sources)
    kinds = {i.ReferencedSOPClassUID for i in series.ReferencedInstanceSequence}
    assert kinds == {EnhancedMRImageStorage}
    assert_library_names_all_frames(written.report, sources)
    assert groups(written.report).keys() == set(Side)


def assert_frames_lie_where_they_are_said_to(
    segmentation: Dataset, sources: dict[str, Dataset], filled: int
) -> None:
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        items = frame.DerivationImageSequence[0].SourceImageSequence
        positions = [
            sources[item.ReferencedSOPInstanceUID]
            .PerFrameFunctionalGroupsSequence[item.ReferencedFrameNumber - 1]
            .PlanePositionSequence[0]
            .ImagePositionPatient
            for item in items
        ]
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(np.mean(np.array(positions, float), axis=0), position, atol=1e-3)
        filled -= len(items) == 2
    assert filled == 0


def assert_library_names_all_frames(report: Dataset, sources: dict[str, Dataset]) -> None:
    [library] = [
        item
        for item in report.ContentSequence
        if item.get("ConceptNameCodeSequence")
        and item.ConceptNameCodeSequence[0].CodeValue == "111028"
    ]
    named = {}
    for item in library.ContentSequence[0].ContentSequence:
        if item.ValueType == "IMAGE":
            [reference] = item.ReferencedSOPSequence
            numbers = np.atleast_1d(reference.ReferencedFrameNumber).astype(int).tolist()
            named[reference.ReferencedSOPInstanceUID] = numbers
    expected = {uid: [*range(1, int(data.NumberOfFrames) + 1)] for uid, data in sources.items()}
    assert named == expected


def test_one_stack_beside_a_survey_refers_to_its_frames_alone(toolbox: Any, tmp_path: Path) -> None:
    head = thick_head(toolbox)
    survey = Volume(head.data[:, :, :3], head.affine)
    path = write_enhanced(
        [*frames_of(survey, stack="2"), *frames_of(head)], tmp_path / "study" / "enhanced.dcm"
    )
    written = Written(toolbox.result(read_volume(path)), toolbox.card, path, tmp_path / "out")
    numbers = [
        item.ReferencedFrameNumber
        for frame in written.segmentation.PerFrameFunctionalGroupsSequence
        for item in frame.DerivationImageSequence[0].SourceImageSequence
    ]
    assert min(numbers) > 3
    assert max(read_source_series(path).frames) == head.shape[2] + 3  # type: ignore[type-var]


def test_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"x" * 500)
    with pytest.raises(UnreadableScan, match="no DICOM"):
        read_source_series(tmp_path / "scan.dcm")

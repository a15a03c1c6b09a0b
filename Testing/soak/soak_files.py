"""Hostile files of one image each: NIfTI, NRRD, MetaImage."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from soak_scans import Case, Rng, cut, damage, head

from ParanasalSSLLib.scans.itk import to_sitk
from ParanasalSSLLib.scans.volume import Volume

NIFTI_TYPES = ("<i2", ">i2", "<i4", "<u2", "<f4", ">f4", "<f8")


def nifti(scan: Volume, rng: Rng) -> nib.Nifti1Image:
    """As any of the programs may write it."""
    kind = nib.Nifti1Image if rng.random() < 0.8 else nib.Nifti2Image
    dtype = np.dtype(str(rng.choice(NIFTI_TYPES)))
    data = scan.data.astype(dtype)
    if rng.random() < 0.2:
        data = data[..., None]
    header = kind.header_class(endianness="<" if dtype.str[0] != ">" else ">")
    image = kind(data, None, header)
    image.set_data_dtype(dtype)
    sform, qform = (0, 1), (1, 0)
    codes = [sform, qform, (1, 1), (2, 1), (1, 4), (3, 2)]
    q, s = codes[int(rng.integers(len(codes)))]
    image.set_qform(scan.affine if q else None, q)
    image.set_sform(scan.affine if s else None, s)
    if rng.random() < 0.5:
        image.header.set_xyzt_units("mm")
    return image


def save_nifti(image: nib.Nifti1Image, folder: Path, rng: Rng) -> Path:
    """Under its own ending, or under the other one."""
    zipped = rng.random() < 0.5
    path = folder / ("scan.nii.gz" if zipped else "scan.nii")
    nib.save(image, path)
    if rng.random() < 0.15:
        content = path.read_bytes()
        content = gzip.decompress(content) if zipped else gzip.compress(content)
        path.write_bytes(content)
    return path


def good_nifti(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    return Case("NIfTI", save_nifti(nifti(scan, rng), folder, rng), "read", scan)


def nifti_in_other_units(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    unit, factor = [("meter", 1e-3), ("micron", 1e3)][int(rng.integers(2))]
    affine = scan.affine.copy()
    affine[:3] *= factor
    image = nib.Nifti1Image(scan.data, affine)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units(unit)
    return Case(f"NIfTI in {unit}s", save_nifti(image, folder, rng), "any", scan)


def contradicting_nifti(folder: Path, rng: Rng) -> Case:
    """sform and qform disagree about left and right."""
    scan = head(rng)
    image = nifti(scan, rng)
    mirrored = np.diag([-1.0, 1, 1, 1]) @ scan.affine
    one, other = (scan.affine, mirrored) if rng.random() < 0.5 else (mirrored, scan.affine)
    image.set_sform(one, int(rng.integers(1, 5)))
    image.set_qform(other, int(rng.integers(1, 5)))
    return Case("NIfTI that contradicts itself", save_nifti(image, folder, rng), "any", None, True)


def odd_nifti(folder: Path, rng: Rng) -> Case:
    """Headers and voxels that no head has."""
    scan = head(rng)
    image = nib.Nifti1Image(scan.data.copy(), scan.affine)
    data = np.asarray(image.dataobj)
    changes: dict[str, Callable[[], object]] = {
        "no orientation": lambda: (image.set_sform(None, 0), image.set_qform(None, 0)),
        "NaN voxels": lambda: data.__setitem__((0, 0), np.nan),
        "infinite voxels": lambda: data.__setitem__((0, 0), np.inf),
        "one value": lambda: data.fill(7),
        "two values": lambda: np.greater(data, 2000, out=data),
        "voxels of 1000 mm": lambda: image.set_sform(np.diag([1e3, 1e3, 1e3, 1]), 1),
        "voxels of nothing": lambda: image.set_sform(np.zeros((4, 4)), 1),
        "sheared": lambda: image.set_sform(scan.affine @ (np.eye(4) + 0.1 * np.eye(4, k=1)), 1),
    }
    name = str(rng.choice(list(changes)))
    changes[name]()
    return Case(f"NIfTI: {name}", save_nifti(image, folder, rng), "refuse")


def other_dimensions(folder: Path, rng: Rng) -> Case:
    shapes = [(12, 12), (12, 12, 1), (12, 12, 12, 4), (12, 12, 12, 1, 3), (1, 1, 1), (12, 3, 12)]
    shape = shapes[int(rng.integers(len(shapes)))]
    image = nib.Nifti1Image(rng.integers(0, 4000, shape).astype(np.int16), np.diag([8, 8, 8, 1.0]))
    return Case(f"NIfTI of shape {shape}", save_nifti(image, folder, rng), "refuse")


def itk_image(scan: Volume, rng: Rng, folder: Path, suffixes: tuple[str, ...]) -> Path:
    image = to_sitk(scan)
    kinds = (sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkInt32)
    image = sitk.Cast(image, kinds[int(rng.integers(len(kinds)))])
    path = folder / f"scan{rng.choice(suffixes)}"
    sitk.WriteImage(image, str(path), bool(rng.random() < 0.5))
    return path


def good_nrrd(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    return Case("NRRD", itk_image(scan, rng, folder, (".nrrd", ".nhdr")), "read", scan)


def good_metaimage(folder: Path, rng: Rng) -> Case:
    scan = head(rng)
    return Case("MetaImage", itk_image(scan, rng, folder, (".mha", ".mhd")), "read", scan)


def nrrd_in_another_space(folder: Path, rng: Rng) -> Case:
    """The same scan, in the words of RAS or LAS."""
    scan = head(rng)
    path = itk_image(scan, rng, folder, (".nhdr",))
    space, signs = [
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
    ][int(rng.integers(3))]

    def vector(text: str) -> str:
        numbers = [float(n) * s for n, s in zip(text.strip("()").split(","), signs, strict=True)]
        return "(" + ",".join(f"{n!r}" for n in numbers) + ")"

    lines = []
    for line in path.read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "space":
            line = f"space: {space}"
        elif name in ("space directions", "space origin"):
            line = f"{name}: {' '.join(map(vector, value.split()))}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")
    return Case(f"NRRD in {space}", path, "read", scan)


def silent_nrrd(folder: Path, rng: Rng) -> Case:
    """The header does not say, or in words that say nothing of a patient."""
    path = itk_image(head(rng), rng, folder, (".nhdr",))
    text = path.read_text()
    old = "space: left-posterior-superior"
    new = [
        "space: 3D-right-handed",
        "space: scanner-xyz",
        "space: 3D-left-handed",
        "space dimension: 3",
    ]
    assert old in text
    path.write_text(text.replace(old, str(rng.choice(new))))
    return Case("NRRD that does not say its sides", path, "refuse")


def silent_metaimage(folder: Path, rng: Rng) -> Case:
    path = itk_image(head(rng), rng, folder, (".mhd",))
    gone = str(rng.choice(["TransformMatrix", "ElementSpacing"]))
    lines = [line for line in path.read_text().splitlines() if not line.startswith(gone)]
    path.write_text("\n".join(lines) + "\n")
    return Case(f"MetaImage without {gone}", path, "refuse")


def edited_header(folder: Path, rng: Rng) -> Case:
    """A line of a text header is lost, doubled, emptied or filled with nonsense."""
    path = itk_image(head(rng), rng, folder, (".nhdr", ".mhd"))
    lines = path.read_text().splitlines()
    place = int(rng.integers(len(lines)))
    name = lines[place].replace("=", ":").split(":")[0]
    mark = "=" if path.suffix == ".mhd" else ":"
    nonsense = ["", "1e999 nan -1", "0 0 0", "999999999999 1 1", "none", "\x00\xff", "-1 -1 -1"]
    new: list[list[str]] = [
        [],
        [lines[place]] * 2,
        [f"{name}{mark} {nonsense[int(rng.integers(len(nonsense)))]}"],
    ]
    lines[place : place + 1] = new[int(rng.integers(3))]
    path.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return Case("text header, edited", path, "any")


def damaged_file(folder: Path, rng: Rng) -> Case:
    makers = (good_nifti, good_nrrd, good_metaimage)
    path = makers[int(rng.integers(3))](folder, rng).path
    (cut if rng.random() < 0.5 else damage)(path, rng)
    return Case(f"damaged {path.suffix}", path, "any")


def junk(folder: Path, rng: Rng) -> Case:
    suffixes = (
        ".nii",
        ".nii.gz",
        ".nrrd",
        ".mha",
        ".mhd",
        ".nhdr",
        ".dcm",
        ".zip",
        "",
        ".txt",
        ".img",
    )
    path = (
        folder
        / f"{rng.choice(['scan', 'a b', 'Ünï', '山田', '-x', '.hidden'])}{rng.choice(suffixes)}"
    )
    starts = (
        b"",
        b"NRRD0004\n",
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"ObjectType = Image\n",
        b"\x5c\x01\x00\x00",
    )
    start = starts[int(rng.integers(len(starts)))]
    path.write_bytes(start + rng.bytes(int(rng.integers(0, 800))))
    return Case(f"junk called {path.suffix}", path, "refuse")


FILES = (
    *(good_nifti, nifti_in_other_units, contradicting_nifti, odd_nifti, other_dimensions),
    *(good_nrrd, nrrd_in_another_space, silent_nrrd, good_metaimage, silent_metaimage),
    *(edited_header, damaged_file, junk),
)

"""Settings of the simulated cohort. Free of heavy imports: the command line's help reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ParanasalSSLLib.errors import BadConfig

CONTRASTS = {"flair", "t1", "t2", "pd", "fat_suppressed"}  # see `contrast.py`
PAPER_PATIENTS, PAPER_UNLABELLED = 1067, 1559  # Bhattacharya 2024, 2.1


@dataclass(frozen=True)
class GeometryRange:
    """Spread of the random geometry; defaults follow the air centres of 38 open scans."""

    shift_sd_mm: tuple[float, float, float] = (2.7, 3.2, 3.6)
    """Standard deviation of the box's error of place along its three axes, mm."""
    rotation_sd_deg: float = 4.0
    """Standard deviation of the head's rotation about each axis, degrees."""
    log_scale_sd: float = 0.08
    """Standard deviation of the logarithm of the head's size along each axis."""
    elastic_mm: tuple[float, float] = (0.5, 3.0)
    """Smallest and largest amplitude of the elastic deformation, mm."""
    hypoplastic_fraction: float = 0.08
    """Fraction of small sinuses (0.58 to 0.78 of the usual size), 0 to 1."""
    pneumatised_fraction: float = 0.08
    """Fraction of large sinuses (1.15 to 1.3 of the usual size), 0 to 1."""
    donor_lining_mm: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest mean depth of healthy mucosa painted onto the walls of donors, mm; 0 0
    paints none and draws no random number. Procedural sinuses have up to 1.3 mm.
    """
    fat_pad_fraction: float = 0.0
    """Fraction of procedural sinuses with a wedge of fat behind the outer wall, 0 to 1; 0 draws no
    random number.
    """
    fat_pad_mm: tuple[float, float] = (4.0, 14.0)
    """Smallest and largest depth of that fat, mm."""


@dataclass(frozen=True)
class LesionRange:
    """Volumes are drawn log-uniformly and never exceed `largest_fraction` of the lumen.

    The options below `largest_fraction` do nothing, and draw no random number, at their defaults.
    """

    thickening_ml: tuple[float, float] = (0.5, 7.0)
    """Smallest and largest volume of a mucosal thickening, ml."""
    polyp_ml: tuple[float, float] = (0.25, 8.0)
    """Smallest and largest volume of a polyp, ml."""
    cyst_ml: tuple[float, float] = (0.2, 8.0)
    """Smallest and largest volume of a cyst, ml."""
    full_fraction: tuple[float, float] = (0.82, 1.0)
    """Smallest and largest fraction of the lumen that a full opacification fills, 0 to 1."""
    largest_fraction: float = 0.8
    """Largest fraction of the lumen that any other lesion fills, above 0 to 1."""
    thickening_mm: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest least depth of a thickening, mm, since a band as thin as a healthy
    lining is no anomaly; 0 0: only its volume counts.
    """
    thickening_slices: float = 0.0
    """Least depth of a thickening as a fraction of the slices' thickness, 0 or more."""
    fraction_tissue_bright: float = 0.0
    """Fraction of the lesions that are as bright as tissue around the sinus, 0 to 1."""
    tissue_quantile: tuple[float, float] = (0.4, 0.95)
    """Lowest and highest quantile of that tissue's brightness, 0 to 1."""
    least_seen_ml: float = 0.0
    """Least volume inside the image, ml, that makes an anomaly of a lesion, 0 or more."""


@dataclass(frozen=True)
class ArtefactRange:
    """How often each artefact occurs and how strong it is."""

    fraction_ghost: float = 0.0
    """Probability of ghosts of moving tissue, 0 (never) to 1."""
    ghost: tuple[float, float] = (0.04, 0.25)
    """Weakest and strongest ghost as a fraction of the moving tissue's signal."""
    fraction_chemical_shift: float = 0.0
    """Probability of a chemical shift of fat, 0 (never) to 1."""
    chemical_shift_mm: tuple[float, float] = (0.5, 3.0)
    """Smallest and largest chemical shift along the frequency axis, either way, mm."""
    fraction_susceptibility: float = 0.0
    """Probability of changed signal of the walls next to air, 0 (never) to 1."""
    susceptibility_mm: tuple[float, float] = (1.0, 3.0)
    """Smallest and largest depth to which the walls are changed, mm."""
    susceptibility: tuple[float, float] = (0.3, 0.9)
    """Smallest and largest fraction of the signal that is lost or piled up, 0 to 1."""


@dataclass(frozen=True)
class StackRange:
    """What is drawn for the `fraction` of patients whose slices are stacked like a scanner's.

    Without them, slices are spaced evenly over the cube, as thick as their spacing. `slice_mm` of
    `AcquisitionRange` is the spacing here.
    """

    fraction: float = 0.0
    """Probability that a patient's slices are stacked like a scanner's, 0 (never) to 1."""
    gap: tuple[float, float] = (-0.15, 0.4)
    """Smallest and largest gap as a fraction of the slices' thickness; below 0 slices overlap."""
    softness: tuple[float, float] = (0.03, 0.3)
    """Smallest and largest width of the slice profile's edges as a fraction of the thickness."""
    fraction_interleaved: float = 0.5
    """Probability that odd and even slices of a 2D scan are two packages, 0 to 1."""
    interleave_gain: tuple[float, float] = (0.03, 0.10)
    """Smallest and largest difference of brightness of odd and even slices, either way."""
    fraction_moved: float = 0.35
    """Probability that the patient moved between the two packages, 0 to 1."""
    moved_mm: tuple[float, float] = (0.5, 1.5)
    """Smallest and largest such movement in the slices' plane, mm."""
    fraction_ringing: float = 0.35
    """Probability that the slice direction of a 3D scan is a truncated spectrum, 0 to 1."""
    fraction_end: float = 0.25
    """Probability that the stack ends inside the cube, 0 to 1."""
    end_mm: tuple[float, float] = (1.0, 22.0)
    """Smallest and largest part of the cube beyond the last slice, mm."""
    end_dimming: tuple[float, float] = (0.0, 0.7)
    """Smallest and largest logarithm of the signal lost towards that end (coil, shim)."""
    fraction_cubic: float = 0.25
    """Probability of a cubic resampling across slices before the crop is cut, 0 to 1."""
    fraction_sharp: float = 0.6
    """Probability of the fine detail of clinical pixels (0.4 to 0.9 mm), which deformed donors of 1
    mm lack; 0 to 1.
    """
    sharpening: tuple[float, float] = (0.3, 2.5)
    """Weakest and strongest sharpening, as a multiple of what a mean over 3 mm takes away."""
    texture: tuple[float, float] = (0.0, 0.1)
    """Weakest and strongest texture from pixel to pixel, as a fraction of the tissue's signal."""


@dataclass(frozen=True)
class ContrastRange:
    """Which contrasts there are."""

    fractions: dict[str, float] = field(
        default_factory=lambda: {
            "flair": 0.45,
            "t1": 0.2,
            "t2": 0.17,
            "pd": 0.08,
            "fat_suppressed": 0.1,
        }
    )
    """Fraction of the patients with each contrast, by name: flair, t1, t2, pd or fat_suppressed."""
    spread: float = 0.22
    """Standard deviation of the logarithm of each tissue's brightness from patient to patient."""
    fraction_plain: float = 0.0
    """Fraction of the donors' sinuses that keep the contrast of their scan, but for a gamma of 0.9 to
    1.1; the others get a random one. 0 draws no random number.
    """

    def __post_init__(self) -> None:
        unknown = set(self.fractions) - CONTRASTS
        if unknown or not self.fractions or min(self.fractions.values()) < 0:
            raise BadConfig(f"contrast.fractions are of {', '.join(sorted(CONTRASTS))}, 0 or more.")
        if not sum(self.fractions.values()):
            raise BadConfig("contrast.fractions: one of them is above 0.")


@dataclass(frozen=True)
class AcquisitionRange:
    """What is drawn of a scanner's settings. Signal: the brightest tissue is 1.

    `stack` and `artefacts` do nothing, and draw no random number, until their fractions are above 0.
    """

    fraction_3d: float = 0.4
    """Probability of a 3D scan, 0 to 1."""
    slice_mm: tuple[float, float] = (2.0, 7.0)
    """Thinnest and thickest slice of 2D scans, mm."""
    slice_3d_mm: tuple[float, float] = (0.8, 1.5)
    """Thinnest and thickest slice of 3D scans, mm."""
    slice_axes: tuple[float, float, float] = (0.25, 0.2, 0.55)
    """Fraction of the scans with sagittal, coronal and axial slices; together 1."""
    obliquity_sd_deg: float = 12.0
    """Standard deviation of the slices' tilt about each axis, degrees; 3D scans have 0.3 of it."""
    in_plane_mm: tuple[float, float] = (0.5, 1.5)
    """Smallest and largest pixel in the slices' plane, mm."""
    noise: tuple[float, float] = (0.005, 0.09)
    """Smallest and largest standard deviation of the noise, above 0, as a fraction of the signal.
    """
    bias: tuple[float, float] = (0.0, 0.35)
    """Smallest and largest amplitude of the logarithm of the coil's bias field."""
    fraction_ghost: float = 0.3
    """Probability of a ghost of the whole image, 0 to 1."""
    ghost: tuple[float, float] = (0.02, 0.12)
    """Weakest and strongest ghost as a fraction of the signal."""
    fraction_ringing: float = 0.35
    """Probability of Gibbs ringing along the phase axis, 0 to 1."""
    fraction_cut: float = 0.12
    """Probability that the image ends inside the cube, in front or below, 0 to 1."""
    deepest_cut_mm: float = 22.0
    """Largest part of the cube outside the image, mm, above 2."""
    stack: StackRange = field(default_factory=StackRange)
    """Slices that are stacked like a scanner's."""
    artefacts: ArtefactRange = field(default_factory=ArtefactRange)
    """Artefacts at the borders of air."""

    def __post_init__(self) -> None:
        if min(self.slice_axes) < 0 or abs(sum(self.slice_axes) - 1) > 1e-6:
            raise BadConfig("acquisition.slice_axes are three fractions of 0 or more, together 1.")


@dataclass(frozen=True)
class SimulateConfig:
    """What `paranasal simulate` makes. Defaults: the paper's numbers of patients, no donors."""

    patients: int = PAPER_PATIENTS
    """Labelled patients, 10 or more; each has a left and a right sinus."""
    unlabelled: int = PAPER_UNLABELLED
    """Unlabelled patients, 0 or more."""
    test_fraction: float = 0.30
    """Fraction of the labelled patients in the test set, above 0 (the paper's Table 1)."""
    validation_fraction: float = 0.14
    """Fraction of the labelled patients that validate, 0 or more; below 1 with test_fraction."""
    seed: int = 0
    """Seed of the whole cohort, a whole number of 0 or more."""
    donors: Path | None = None
    """Folder of healthy whole-head scans whose sinuses are deformed (unset: procedural anatomy
    only).
    """
    donor_fraction: float = 0.6
    """Fraction of the patients whose anatomy comes from donors, 0 to 1."""
    processes: int = 2
    """Processes that simulate at the same time, 1 or more; the result does not depend on it."""
    geometry: GeometryRange = field(default_factory=GeometryRange)
    """Spread of size, place and shape of the sinuses."""
    lesions: LesionRange = field(default_factory=LesionRange)
    """Spread of volume and brightness of the lesions."""
    contrast: ContrastRange = field(default_factory=ContrastRange)
    """Contrasts of the scans."""
    acquisition: AcquisitionRange = field(default_factory=AcquisitionRange)
    """Spread of the scanners' settings and artefacts."""


@dataclass(frozen=True)
class HeadConfig:
    """`paranasal simulate-head`: one simulated whole head."""

    left: str = "normal"
    """Left sinus: normal, thickening, polyp, cyst or full."""
    right: str = "normal"
    """Right sinus: normal, thickening, polyp, cyst or full."""
    lesion_ml: float = 4.0
    """Volume of each lesion, ml; limited by the sinus's air."""
    spacing_mm: float = 1.5
    """Edge of the image's voxels, mm, above 0."""
    noise: float = 0.025
    """Standard deviation of the noise, 0 or more; the brightest tissue is about 1."""
    seed: int = 0
    """Seed of the head, a whole number of 0 or more."""


@dataclass(frozen=True)
class SheetConfig:
    """`paranasal sheet`: which crops of which store are drawn."""

    store: Path
    """Crop store."""
    crops: int = 40
    """How many crops, in a random choice, 1 or more."""
    columns: int = 5
    """Crops side by side, each with three planes, 1 or more."""
    seed: int = 0
    """Seed of the choice, a whole number of 0 or more."""

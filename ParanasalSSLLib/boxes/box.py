"""The box around one maxillary sinus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ParanasalSSLLib.errors import BadBoxes
from ParanasalSSLLib.geometry import Grid, angle_deg
from ParanasalSSLLib.sinuses import Side

EDGE_MM = 64.0
SAME_PLACE_MM = 0.01  # boxes closer than this are the same; files hold three decimals
SAME_TURN = 1e-3  # in the entries of the rotation


@dataclass(frozen=True, eq=False)
class SinusBox:
    """A cube around one maxillary sinus, turned with the head.

    Attributes:
        side: the patient's side.
        center_ras_mm: (3,) centre, RAS mm.
        rotation: (3, 3) proper rotation; its columns are the box's own axes in RAS: x towards the
            head's right, y anterior, z superior.
        edge_mm: length of an edge.
        origin: "registration", or "hand" once a user has placed or moved it.

    Raises:
        BadBoxes: non-finite numbers, or a rotation that is none (sheared, mirrored).
    """

    side: Side
    center_ras_mm: np.ndarray
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    edge_mm: float = EDGE_MM
    origin: str = "registration"

    def __post_init__(self) -> None:
        center = np.array(self.center_ras_mm, dtype=np.float64)
        rotation = np.array(self.rotation, dtype=np.float64)
        name = f"The {self.side} box"
        if center.shape != (3,) or rotation.shape != (3, 3):
            raise BadBoxes(f"{name} needs a centre of 3 numbers and a 3 x 3 rotation.")
        if not (np.isfinite(center).all() and np.isfinite(rotation).all()):
            raise BadBoxes(f"{name} holds numbers that are not finite.")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
            raise BadBoxes(f"{name} is sheared: its axes must be at right angles and of length 1.")
        if np.linalg.det(rotation) < 0:
            raise BadBoxes(f"{name} is mirrored: its axes must be right-handed.")
        if not 16 <= self.edge_mm <= 128:
            raise BadBoxes(f"{name} has an edge of {self.edge_mm} mm; 64 mm is expected.")
        object.__setattr__(self, "center_ras_mm", center)
        object.__setattr__(self, "rotation", rotation)

    @property
    def box_to_ras(self) -> np.ndarray:
        """(4, 4) rigid transform: box frame (mm, origin in the box's centre) -> RAS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.center_ras_mm
        return matrix

    def grid(self, voxels: int) -> Grid:
        """The box divided into voxels, so many along each edge."""
        steps = self.edge_mm / voxels * self.rotation
        return Grid.around(self.center_ras_mm, steps, (voxels, voxels, voxels))

    def corners_ras_mm(self) -> np.ndarray:
        """(8, 3) corners in RAS mm."""
        return self.grid(1).corners(0.5)

    def turn_deg(self, other: SinusBox) -> float:
        """Angle (0..180) by which it is turned against the other box."""
        return angle_deg(self.rotation.T @ other.rotation)

    def is_at(self, other: SinusBox) -> bool:
        """Whether the other box lies at the same place, turned in the same way."""
        shift = np.linalg.norm(self.center_ras_mm - other.center_ras_mm)
        turned = abs(self.rotation - other.rotation).max()
        return bool(shift < SAME_PLACE_MM and turned < SAME_TURN)


def refuse_swapped_sides(boxes: Mapping[Side, SinusBox], name: str) -> None:
    """Raise `BadBoxes` when the left box does not lie on the left of the right one."""
    left, right = boxes[Side.LEFT], boxes[Side.RIGHT]
    to_right = (left.rotation[:, 0] + right.rotation[:, 0]) / 2
    if np.dot(right.center_ras_mm - left.center_ras_mm, to_right) <= 0:
        raise BadBoxes(
            f"{name}: the left box lies on the patient's right of the right box, by the boxes' own "
            "axes. Swap their names if these are wrong: left and right are the patient's, not the "
            "viewer's. If they are right, turn the boxes: their x axes point to the head's right."
        )

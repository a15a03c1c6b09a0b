"""The entry of the module in Slicer's module Sample Data."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from ParanasalSSLLib.files import sha256
from ParanasalSSLPanel.process import libraryFolder

# Its coronal slice through the cyst, the patient's left on the right.
THUMBNAIL = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "SimulatedHead.png"


def registerSampleData() -> None:
    """The simulated head that the library brings, as an entry of the module Sample Data."""
    import SampleData

    head = libraryFolder() / "ParanasalSSLLib" / "data" / "sample" / "simulated_head.nii.gz"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="ParanasalSSL",
        sampleName=_("Simulated head, cyst on the left"),
        thumbnailFileName=str(THUMBNAIL),
        uris=head.as_uri(),
        fileNames=head.name,
        checksums=f"SHA256:{sha256(head)}",
        nodeNames=_("Simulated head"),
    )

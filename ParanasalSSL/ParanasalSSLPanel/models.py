"""The models that a user can choose: the shipped one, and bundles that were added."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from ParanasalSSLLib.errors import BadBundle
from ParanasalSSLLib.model.bundle import shipped_bundle_path
from ParanasalSSLLib.model.bundle_folder import BundleSummary, check_bundle, describe_bundle

SETTING = "ParanasalSSL/models"
SHIPPED = ""  # "folder" and identity of the model that comes with the library


def addedModels() -> list[str]:
    """Folders of bundles that were added on this computer, as far as they are still there."""
    stored = qt.QSettings().value(SETTING) or []
    folders = [stored] if isinstance(stored, str) else list(stored)
    return [folder for folder in folders if Path(folder).is_dir()]


def addModel(folder: str) -> BundleSummary:
    """Check a bundle, and remember it on this computer. Raises `BadBundle`."""
    summary = describe_bundle(folder)
    check_bundle(folder)
    kept = [known for known in addedModels() if known != folder]
    qt.QSettings().setValue(SETTING, [*kept, folder])
    return summary


def summaryOf(folder: str) -> BundleSummary:
    """What the model in a folder (`SHIPPED`: the library's own) is. Raises `BadBundle`."""
    return describe_bundle(folder or shipped_bundle_path())


def titleOf(folder: str) -> str:
    """One line for a list."""
    try:
        summary = summaryOf(folder)
    except BadBundle:
        return _("{name} (damaged)").format(name=Path(folder).name)
    how = _("shipped") if folder == SHIPPED else Path(folder).name
    return f"{summary.name} {summary.version} ({how})"


def identityOf(folder: str) -> str:
    """The same on every computer: the weights' SHA-256, `SHIPPED`, or "" for a damaged bundle."""
    try:
        return summaryOf(folder).weights_sha256 if folder != SHIPPED else SHIPPED
    except BadBundle:
        return SHIPPED


def cardOf(folder: str) -> str:
    """The model card as Markdown. Raises `BadBundle`."""
    summary = summaryOf(folder)
    simulated = _("Learnt from simulated diseases.") if summary.simulated else ""
    facts = f"# {summary.name} {summary.version}\n\n{summary.intended_use} {simulated}\n\n"
    return summary.model_card or facts + _("Licence: {name}").format(name=summary.licence)


def folderOf(model: str) -> Path | None:
    """As `Settings.model` wants it."""
    return Path(model) if model else None

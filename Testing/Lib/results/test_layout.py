from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ParanasalSSLLib.results.layout import ScanFiles


def test_file_names_carry_the_scans_id() -> None:
    files = ScanFiles.in_output("out", "sub-7")
    assert files.report_json == Path("out/sub-7/sub-7_report.json")
    assert all(path.name.startswith("sub-7_") for path in files.beside_report.values())


def test_needs_no_package() -> None:
    program = (
        "import sys; import ParanasalSSLLib.results.layout, ParanasalSSLLib.results.older; "
        "print({'numpy', 'torch', 'nibabel', 'jinja2'} & set(sys.modules))"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == "set()"

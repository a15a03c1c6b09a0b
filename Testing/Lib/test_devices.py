from __future__ import annotations

import pytest
import torch

from ParanasalSSLLib.devices import resolve_device
from ParanasalSSLLib.errors import DeviceUnavailable


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_absent_device_is_refused_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cuda is not present"):
        resolve_device("cuda")
    with pytest.raises(DeviceUnavailable, match="Unknown device"):
        resolve_device("toaster")

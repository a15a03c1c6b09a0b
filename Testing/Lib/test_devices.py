from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys

import pytest
import torch

from ParanasalSSLLib import devices
from ParanasalSSLLib.devices import cpu_threads, present_devices, resolve_device
from ParanasalSSLLib.errors import DeviceUnavailable, MissingPackage


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU's driver, which alone makes torch worth asking."""
    monkeypatch.setattr(devices, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_a_gpu_where_there_is_one(driver: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_absent_device_is_refused_and_not_replaced(
    driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cuda is not present"):
        resolve_device("cuda")
    with pytest.raises(DeviceUnavailable, match="Unknown device"):
        resolve_device("toaster")


def test_without_a_driver_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_gpu_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert present_devices() == ["cpu"]


def test_a_gpu_without_pytorch_is_told_how_to_get_it(
    driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(MissingPackage, match=r"The device cuda needs PyTorch.*\[gpu\]"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("version", "enough"), [("2.5.0", True), ("2.13.0+cpu", True), ("2.4.1", False), ("3.0", True)]
)
def test_an_old_pytorch_is_none(
    version: str, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert devices.has_torch() is enough


def test_threads_are_those_that_the_user_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert cpu_threads() >= 1


_COUNT_HEAPS = """
import ctypes, sys, threading
from ParanasalSSLLib.devices import share_one_heap
libc = ctypes.CDLL(None)
if sys.argv[1] == "shared":
    share_one_heap()
threads = [threading.Thread(target=libc.malloc, args=(1000,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not platform.libc_ver()[0], reason="needs glibc"
)
def test_threads_share_one_heap() -> None:
    def heaps(kind: str) -> int:
        command = [sys.executable, "-c", _COUNT_HEAPS, kind]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return told.count("<heap nr=")

    assert heaps("own") > 1 and heaps("shared") == 1

"""Every option of every method says what it means (those of commands: Testing/Lib/cli)."""

from __future__ import annotations

import dataclasses
from importlib import import_module

import pytest
from paranasal_training.methods import method_names

from ParanasalSSLLib.cli.options import field_sentences


@pytest.mark.parametrize("name", method_names())
def test_every_option_has_a_sentence(name: str) -> None:
    options = import_module(f"paranasal_training.methods.{name}").Options
    sentences = field_sentences(options)
    for field in dataclasses.fields(options):
        assert sentences.get(field.name, "").endswith(".")

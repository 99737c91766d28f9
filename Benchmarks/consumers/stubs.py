"""Modules that stand in for what a stack's loader imports and does not need here."""

import importlib.util
import sys
import types


def package(name, path="/nonexistent"):
    """A package whose modules are looked for in `path` and whose own code does not run."""
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module


def module(name, **members):
    """A module of the given members."""
    stub = types.ModuleType(name)
    stub.__dict__.update(members)
    sys.modules[name] = stub


def load(name, path):
    """A module from a file of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded

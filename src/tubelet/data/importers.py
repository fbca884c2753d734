"""The data sets that Tubelet reads, by the name the command line knows them."""

from collections.abc import Callable, Mapping

from tubelet.data.ava import import_ava
from tubelet.data.manifest import Manifest

IMPORTERS: Mapping[str, Callable[..., Manifest]] = {
    "ava": import_ava,
}
"""Source to function: published annotation files and a folder of videos to a manifest.

Every function takes ``out`` and ``media_root`` and writes what it left out to the manifest's ``counts``.
"""

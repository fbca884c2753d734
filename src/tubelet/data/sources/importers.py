"""The data sets that Tubelet reads, by the name the command line knows them."""

from collections.abc import Callable, Mapping

from tubelet.data.manifest import Manifest
from tubelet.data.sources.ava import import_ava
from tubelet.data.sources.ava_kinetics import import_ava_kinetics
from tubelet.data.sources.class_folders import import_class_folders
from tubelet.data.sources.coco_video import import_coco_video
from tubelet.data.sources.cvat import import_cvat
from tubelet.data.sources.epic_kitchens import import_epic55, import_epic100
from tubelet.data.sources.hmdb51 import import_hmdb51
from tubelet.data.sources.jhmdb import import_jhmdb
from tubelet.data.sources.kinetics import import_kinetics
from tubelet.data.sources.moments import import_moments, import_multi_moments
from tubelet.data.sources.multisports import import_multisports
from tubelet.data.sources.path_lists import import_path_lists
from tubelet.data.sources.something_something import import_something_v1, import_something_v2
from tubelet.data.sources.sports1m import import_sports1m
from tubelet.data.sources.ucf24 import import_ucf24
from tubelet.data.sources.ucf101 import import_ucf101
from tubelet.data.sources.video_table import import_video_table

IMPORTERS: Mapping[str, Callable[..., Manifest]] = {
    "ava": import_ava,
    "ava-kinetics": import_ava_kinetics,
    "class-folders": import_class_folders,
    "coco-video": import_coco_video,
    "cvat": import_cvat,
    "epic55": import_epic55,
    "epic100": import_epic100,
    "hmdb51": import_hmdb51,
    "jhmdb": import_jhmdb,
    "kinetics": import_kinetics,
    "moments": import_moments,
    "multi-moments": import_multi_moments,
    "multisports": import_multisports,
    "path-lists": import_path_lists,
    "something-v1": import_something_v1,
    "something-v2": import_something_v2,
    "sports1m": import_sports1m,
    "table": import_video_table,
    "ucf24": import_ucf24,
    "ucf101": import_ucf101,
}
"""Source to function: published annotation files and a folder of videos to a manifest.

Every function takes ``out`` and ``media_root`` and writes what it left out to the manifest's ``counts``.
"""

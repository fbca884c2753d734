"""Write the label spaces that come with Tubelet (``src/tubelet/data/assets``) from the published lists.

    python scripts/pack_label_spaces.py --mmaction2 tools_data --sports1m labels.txt --ava ava_v2.2

``--mmaction2``: folder with MMAction2's ``label_map`` files, renamed as in ``LISTS``; ``--sports1m``: the data set's
``labels.txt``; ``--ava``: folder with AVA's two action lists. Licences: ``src/tubelet/data/assets/LICENSES.md``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from tubelet.data.sources.ava_lists import TABLE_9, read_label_map
from tubelet.data.sources.something_something import NOT_DIRECTIONS
from tubelet.labels import LabelSpace, buckets_by_count, swap_sides

ASSETS = Path(__file__).parents[1] / "src" / "tubelet" / "data" / "assets"
LISTS = {
    "hmdb51": "mmaction2_hmdb51_label_map.txt",
    "kinetics400": "mmaction2_kinetics_label_map_k400.txt",
    "kinetics600": "mmaction2_kinetics_label_map_k600.txt",
    "kinetics700": "mmaction2_kinetics_label_map_k700.txt",
    "moments_in_time": "mmaction2_mit_label_map.txt",
    "multi_moments": "mmaction2_mmit_label_map.txt",
    "something_v1": "mmaction2_sthv1_label_map.txt",
    "something_v2": "mmaction2_sthv2_label_map.txt",
    "ucf101": "mmaction2_ucf101_label_map.txt",
}
FIRST_ID = {"ucf101": 1}
"""Published ids count from 0 elsewhere."""


def main() -> None:
    """Write one JSON file for each label space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mmaction2", type=Path, required=True)
    parser.add_argument("--sports1m", type=Path, required=True)
    parser.add_argument("--ava", type=Path, required=True)
    arguments = parser.parse_args()
    paths = {name: arguments.mmaction2 / file for name, file in LISTS.items()} | {"sports1m": arguments.sports1m}
    for name, path in paths.items():
        names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
        first = FIRST_ID.get(name, 0)
        ids = tuple(range(first, first + len(names))) if first else ()
        mirrored = swap_sides(names, where=name, unchanged=NOT_DIRECTIONS) if name.startswith("something") else ()
        space = LabelSpace(name=name, names=names, ids=ids, mirrored=mirrored)
        write(space)
    for space in ava_spaces(arguments.ava):
        write(space)


def ava_spaces(folder: Path) -> tuple[LabelSpace, LabelSpace]:
    """Return all 80 actions with their groups, and the 60 evaluated ones with paper A's split as well."""
    every = read_label_map(folder / "ava_action_list_v2.2.pbtxt", name="ava_80")
    chosen = read_label_map(folder / "ava_action_list_v2.2_for_activitynet_2019.pbtxt", name="ava_60")
    group = dict(zip(every.ids, every.groups, strict=True))
    groups = tuple(group[label_id] for label_id in chosen.ids)
    buckets = buckets_by_count([TABLE_9[label_id] for label_id in chosen.ids])
    return every, replace(chosen, groups=groups, buckets=buckets)


def write(space: LabelSpace) -> None:
    """Write one label space."""
    (ASSETS / f"{space.name}.json").write_text(json.dumps(space.to_json(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

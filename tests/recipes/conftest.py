"""What the tests of the papers' rows share."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tubelet.data.manifest import DETECTED_TABLE
from tubelet.recipes.miniature import SETS_A, TARGETS_B
from tubelet.recipes.rows_a import AVA, AVA_KINETICS, ROWS_A
from tubelet.recipes.rows_b import ROWS_B
from tubelet.records import read_json, write_json


@pytest.fixture(scope="session")
def row_manifests(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifests of every name that a row of either paper has, as small as can be."""
    out = tmp_path_factory.mktemp("rows")
    names = {name for stage in ROWS_A.values() for sets in stage.stages for name in sets}
    names |= {*SETS_A, *TARGETS_B.values(), *(name for ours in SETS_A.values() for name in ours)}
    names |= {name for row in ROWS_B.values() for name in (row.source, row.target) if name}
    for name in names:
        boxed = name in (AVA, AVA_KINETICS, "localise", "single_keyframe")
        source = squares / "manifests" / ("localise" if boxed else "kinetics")
        shutil.copytree(source, out / name)
        about = out / name / "manifest.json"
        root = (source / read_json(about)["media_root"]).resolve()
        write_json(about, read_json(about) | {"name": name, "media_root": str(root)})
        if name in (AVA, AVA_KINETICS):
            boxes = pq.read_table(out / name / "boxes.parquet").to_pylist()
            found = [box | {"origin": "detected", "score": 0.95, "labels": []} for box in boxes]
            schema = pq.read_schema(out / name / "boxes.parquet")
            pq.write_table(pa.Table.from_pylist(found, schema=schema), out / name / DETECTED_TABLE)
    return out

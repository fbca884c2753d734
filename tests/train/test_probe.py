"""The probe on a backbone that was never trained: its features are arbitrary, but they tell colours apart."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_calls import call

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.data.manifest import read_manifest
from tubelet.evals.predictions import read_predictions
from tubelet.evals.views import Views
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.saved import HeadMeta, model_meta, read_tensors, save_tensors
from tubelet.models.vivit import ViViTConfig
from tubelet.records import write_json
from tubelet.train import features as features_module
from tubelet.train.features import extract_features, open_backbone
from tubelet.train.probe import run_probe
from tubelet.types import InputError, Preprocess
from tubelet.video.normalise import normalise

CPU = torch.device("cpu")
PREPROCESS = Preprocess(size=32, num_frames=4, frame_stride=2, fps=12.5)
BACKBONE = ViViTConfig(size=32, num_frames=4, dim=24, spatial_layers=1, temporal_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    heads = {"other": HeadMeta(kind="classify", label_space=LabelSpace(name="o", names=("a", "b")), score="softmax")}
    model = VideoModel(BACKBONE, {name: head.config for name, head in heads.items()})
    save_tensors(folder / "model.safetensors", model.state_dict())
    extra = {"finished": True, "step": 1, "num_steps": 1, "metrics": {}}
    write_json(
        folder / "meta.json", model_meta(recipe="r", backbone=BACKBONE, preprocess=PREPROCESS, heads=heads, extra=extra)
    )
    return folder


def colours(squares: Path, split: str = "train") -> ClipDataset:
    return ClipDataset(read_manifest(squares / "manifests/kinetics"), split, preprocess=PREPROCESS, augment=None)


def test_features_are_what_the_head_reads(squares: Path, run_folder: Path, tmp_path: Path) -> None:
    backbone, data = open_backbone(str(run_folder), CPU), colours(squares)
    found = extract_features(
        backbone, data, Views(num_views=2), tmp_path, manifest=squares / "manifests/kinetics",
        dtype="float32", batch_size=5, num_workers=0, shard_examples=4,
    )  # fmt: skip
    assert (found.num_views, found.num_examples, found.dim) == (2, 12, 24)
    for view in range(2):
        (batch,) = evaluation_batches(data, "t", 12, view=view, num_views=2)
        with torch.no_grad(), features_module.default_autocast(CPU):
            grid = backbone.model.backbone(normalise(batch.video, PREPROCESS))
        stored = torch.cat([values for _, values in found.shards(view)])
        torch.testing.assert_close(stored, grid.float().mean(dim=(1, 2, 3)), atol=1e-2, rtol=1e-2)
        assert [place.start for place, _ in found.shards(view)] == [0, 4, 8]


def test_stopped_features_go_on_and_other_inputs_have_other_folders(
    squares: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, data = open_backbone(str(run_folder), CPU), colours(squares)
    how = {"manifest": squares / "manifests/kinetics", "batch_size": 3, "num_workers": 0, "shard_examples": 4}
    computed: list[int] = []

    def counted(*arguments: object, **options: object) -> Iterator[object]:
        for batch in evaluation_batches(*arguments, **options):
            computed.append(len(batch.sample_ids))
            if sum(computed) == 9 and len(computed) == 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(features_module, "evaluation_batches", counted)
    with pytest.raises(KeyboardInterrupt):
        extract_features(backbone, data, Views(), tmp_path / "a", **how)
    stopped = extract_features(backbone, data, Views(), tmp_path / "a", **how)
    assert sum(computed) == 9 + 8  # one shard of four was whole
    num = len(computed)
    extract_features(backbone, data, Views(), tmp_path / "a", **how)
    assert len(computed) == num
    whole = extract_features(backbone, data, Views(), tmp_path / "b", **how)
    for (_, a), (_, b) in zip(stopped.shards(0), whole.shards(0), strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)
        assert a.dtype == torch.bfloat16
    assert stopped.folder.name == whole.folder.name
    others = [
        extract_features(backbone, data, Views(num_views=2), tmp_path / "a", **how),
        extract_features(backbone, data, Views(), tmp_path / "a", dtype="float32", **how),
        extract_features(replace(backbone, sha256="0"), data, Views(), tmp_path / "a", **how),
        extract_features(backbone, colours(squares, "val"), Views(), tmp_path / "a", **how),
    ]
    assert len({stopped.folder, *(other.folder for other in others)}) == 5
    (stopped.folder / "view000-000000004.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"view000-000000004\.safetensors: not a whole safetensors file"):
        list(stopped.shards(0))


def test_from_the_command_line(
    squares: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["probe", run_folder, "--manifest", squares / "manifests/kinetics", "--out", tmp_path / "p"]
    arguments += ["--num-views", 2, "--num-workers", 0, "--strengths", 0.1, 0.001]
    assert call(monkeypatch, *arguments, "--predictions", tmp_path / "stored", "--json", tmp_path / "n.json") == 0
    out = capsys.readouterr().out
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers == json.loads((tmp_path / "p/probe.json").read_text())
    assert numbers["kinetics/views"] == "2 x centre"
    probe = numbers["kinetics/probe"]
    assert [tried["l2"] for tried in probe["tried"]] == [0.1, 0.001]
    assert probe["at_edge"] is True
    assert f"regularisation {probe['final']['l2']:g} (C " in out
    assert "the best lies at the edge of the grid: a better one may lie outside of 0.1, 0.001" in out
    assert probe["final"]["converged"] is True
    stored = read_predictions(tmp_path / "stored")
    right = (stored.scores.argmax(axis=1) == stored.targets.argmax(axis=1)).mean()
    assert numbers["kinetics/val/top1"] == right
    np.testing.assert_allclose(stored.scores.sum(axis=1), 1, atol=1e-5)
    assert stored.origin["weights_sha256"] == open_backbone(str(run_folder), CPU).sha256
    assert call(monkeypatch, "score", tmp_path / "stored") == 0
    assert f"kinetics/top1 {100 * right:.2f}" in capsys.readouterr().out
    # Again: nothing is trained, another split has the same classifier; another search is refused.
    before = read_tensors(tmp_path / "p/classifier.safetensors")
    assert call(monkeypatch, *arguments, "--split", "test") == 0
    assert torch.equal(read_tensors(tmp_path / "p/classifier.safetensors")["weight"], before["weight"])
    assert call(monkeypatch, *arguments, "--seed", 3) == 2
    assert "holds another probe, which differs in seed: 0 there, 3 here" in capsys.readouterr().err


def test_several_labels_are_scored_by_map(squares: Path, run_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    source = read_manifest(squares / "manifests/kinetics")
    rows = source.clips.to_pylist()
    from tubelet.data.manifest_writer import write_manifest

    write_manifest(
        folder, name="both", kind="classify", multi_label=True, label_space=source.label_space,
        media_root=source.media_root, licence="", source="",
        clips=[row | {"labels": sorted({row["labels"][0], (row["labels"][0] + 1) % 3})} for row in rows],
    )  # fmt: skip
    found = run_probe(str(run_folder), folder, tmp_path / "p", num_views=1, num_workers=0, strengths=(0.01,))
    assert found.search.metric == "mAP"
    assert list(found.result.metrics) == ["both/val/mAP"]
    assert found.result.metrics["both/val/mAP"] > 0.7  # chance is 2/3
    assert found.result.targets.sum(axis=1).tolist() == [2.0] * len(found.result.targets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--manifest": "localise"}, "a set of kind 'localise'; a probe classifies whole clips"),
        ({"--manifest": "nowhere"}, "manifest.json: not found"),
        ({"model": "ig65m_r2plus1d_43_8"}, "did you mean"),
        ({"--strengths": "0"}, "expected at least one, all above 0"),
        ({"--split": "train"}, "split 'train' cannot be both trained on and reported"),
        ({"--num-views": "0"}, "num_views=0: expected at least 1"),
    ],
)
def test_mistakes_are_one_line(
    changes: dict[str, str],
    message: str,
    squares: Path,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"model": str(run_folder), "--manifest": "kinetics", "--out": str(tmp_path / "p")} | changes
    model = given.pop("model")
    given["--manifest"] = str(squares / "manifests" / given["--manifest"])
    assert call(monkeypatch, "probe", model, *(word for pair in given.items() for word in pair)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1

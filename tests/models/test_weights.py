"""The table of weights, and the commands on files of the published layouts with random values."""

import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import FE, FOLDER, PICTURE, enter_small_weights, script, small_input
from rich.console import Console

from tubelet.cli.dispatch import run
from tubelet.data.sources.annotation_files import packaged_label_space
from tubelet.describe import describe_thing
from tubelet.models.convert import LAYOUTS, convert_file
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.saved import load_model
from tubelet.models.vivit import ViViTConfig
from tubelet.models.weights import WEIGHTS, PublishedHead, Weights, find_weights
from tubelet.train.start import initialise
from tubelet.types import InputError

RESNETS = script("resnets")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_small_weights(monkeypatch)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_entry_says_what_it_must_and_fills_its_network(name: str) -> None:
    entry = WEIGHTS[name]
    assert entry.url.startswith("https://")
    assert entry.file_name
    assert entry.licence
    assert entry.source.startswith("https://")
    assert (entry.preprocess.size, entry.preprocess.num_frames) == (entry.backbone.size, entry.backbone.num_frames)
    for head in entry.heads:
        if head.label_space:
            assert len(packaged_label_space(head.label_space)) == head.num_classes
    with torch.device("meta"):
        wanted = set(VideoModel(entry.backbone, {}).state_dict())
    targets = [rule.target for rule in LAYOUTS[entry.layout].rules(entry.backbone)]
    assert len(targets) == len(set(targets))
    assert set(targets) == wanted


def test_hashes_are_whole_or_those_in_the_file_names() -> None:
    """torch.hub's rule: the last part of a file's name begins its SHA-256. Git LFS publishes all 64 digits."""
    named = {name: re.search(r"-([0-9a-f]{8})\.pth$", entry.url) for name, entry in WEIGHTS.items()}
    assert sum(match is not None for match in named.values()) == 11
    for name, match in named.items():
        known = find_weights(name).sha256
        assert known == match[1] if match else re.fullmatch(r"([0-9a-f]{64})?", known)


def test_published_facts() -> None:
    """Classes of the IG-65M heads (ig65m-pytorch's README), VMZ's mean and std (its C++ defaults over 255)."""
    assert [WEIGHTS[f"ig65m_r2plus1d_34_{n}"].heads[0].num_classes for n in (8, 32)] == [487, 359]
    vmz = WEIGHTS["vmz_ig65m_k400_r2plus1d_152_32"].preprocess
    np.testing.assert_allclose(np.array(vmz.mean) * 255, [110.201, 100.64, 95.9966], atol=5e-3)
    np.testing.assert_allclose(np.array(vmz.std) * 255, [58.1489, 56.4701, 55.3324], atol=5e-3)
    large = WEIGHTS["scenic_k600_vivit_l_fe"].backbone
    assert isinstance(large, ViViTConfig)
    assert (large.spatial_layers, large.temporal_layers, large.dim, large.num_heads) == (24, 24, 1024, 16)


def test_the_page_names_every_entry_without_a_hash_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    section = page.partition("**No hash is known**")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9_]+)`", section)) == {name for name, entry in WEIGHTS.items() if not entry.sha256}


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'scenic_k400_vivit_b_fe'"):
        find_weights("scenic_k400_vivit_b_ef")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    run(["weights", "list"])
    text = capsys.readouterr().out
    assert [name for name in WEIGHTS if name not in text] == []
    run(["weights", "list", "ig65m_r2plus1d_34_8"])
    text = capsys.readouterr().out
    for part in ("-9bae36ae.pth", "0.43216", "487", "MIT", "exact_hw", "RGB"):
        assert part in text
    run(["weights", "list", "augreg_in21k_vit_b"])
    assert "  sha256: none was published\n" in capsys.readouterr().out


def r3d_18_file(path: Path) -> Path:
    """A file of the full published size: r3d_18 with 400 classes."""
    shapes = json.loads((FOLDER / "resnet_layouts.json").read_text())["torchvision_r3d_18"]
    shapes |= {"fc.weight": [400, 512], "fc.bias": [400]}
    torch.save({name: torch.from_numpy(np.asarray(v)) for name, v in RESNETS.random_tensors(shapes).items()}, path)
    return path


def test_a_converted_file_classifies_starts_a_run_and_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file, out = "torchvision_k400_r3d_18", r3d_18_file(tmp_path / "x.pth"), tmp_path / "run"
    run(["weights", "convert", name, "--file", str(file), "--out", str(out)])
    text = capsys.readouterr().out
    assert "licence: BSD-3-Clause" in text
    assert "left out: 16 layer*.*.conv*.*.num_batches_tracked" in text
    assert "NOT the published file, which has b3b3357e" in text
    entry = find_weights(name)
    loaded = load_model(out)
    assert loaded.label_spaces["kinetics400"].names[0] == "abseiling"
    assert loaded.score_kinds == {"kinetics400": "softmax"}
    assert loaded.preprocess == entry.preprocess
    assert loaded.meta["weights"]["url"] == entry.url
    assert len(loaded.meta["weights_sha256"]) == 64
    direct = convert_file(file, entry.layout, entry.backbone, {"kinetics400": 400}).tensors
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in direct.items())

    console = Console(width=200, record=True, file=io.StringIO())
    describe_thing(str(out), console)
    assert "kinetics400" in console.export_text()

    model = VideoModel(entry.backbone, {"mine": HeadConfig(kind="localise", num_classes=3)})
    initialise(model, resuming=False, init_from=str(out), init_skip=("heads.",))
    assert torch.equal(model.backbone.state_dict()["stem.norm.weight"], direct["backbone.stem.norm.weight"])


def test_check_says_whether_a_file_is_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes((FOLDER / "original_vit.npz").read_bytes())
    entry = replace(WEIGHTS["original_in21k_vit_b"], backbone=PICTURE)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for known, said in ((digest, "(as published)"), (digest[:8], "(its first 8 digits as published)")):
        monkeypatch.setitem(WEIGHTS, "small_image", replace(entry, sha256=known))
        run(["weights", "check", "small_image", str(file)])
        assert said in capsys.readouterr().out
    monkeypatch.setitem(WEIGHTS, "small_image", replace(entry, sha256="0badc0de"))
    with pytest.raises(InputError, match="expected 0badc0de; not the file of small_image"):
        run(["weights", "check", "small_image", str(file)])
    monkeypatch.setitem(WEIGHTS, "small_image", replace(entry, backbone=replace(PICTURE, spatial_layers=3)))
    with pytest.raises(InputError, match=r"missing \['Transformer/encoderblock_2/.*unexpected \[\]"):
        run(["weights", "check", "small_image", str(file)])
    monkeypatch.setitem(WEIGHTS, "small_image", replace(entry, backbone=replace(PICTURE, size=32)))
    with pytest.raises(
        InputError, match=r"space_positions cannot be made of .*posembed_input/pos_embedding \(1, 10, 24\)"
    ):
        run(["weights", "check", "small_image", str(file)])


@pytest.mark.usefixtures("small")
def test_check_counts_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    run(["weights", "check", "small_image", str(FOLDER / "original_vit.npz")])
    text = capsys.readouterr().out
    assert "30 tensors fit small_image" in text
    assert "(unverified: no hash was published to compare with)" in text
    assert "left out: 1 head/kernel" in text
    assert "left out: 1 pre_logits/bias" in text


@pytest.mark.usefixtures("small")
def test_two_heads_come_from_one_layer(tmp_path: Path) -> None:
    run(["weights", "convert", "small_video", "--file", str(FOLDER / "scenic_fe.msgpack"), "--out", str(tmp_path)])
    loaded = load_model(tmp_path)
    assert {name: len(space) for name, space in loaded.label_spaces.items()} == {"noun": 8, "verb": 3}
    assert loaded.label_spaces["verb"].names == ("verb 0", "verb 1", "verb 2")


@pytest.mark.usefixtures("small")
def test_a_released_encoder_starts_one_that_scores_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = FOLDER / "scenic_fe.msgpack"
    run(["weights", "convert", "small_video", "--file", str(file), "--out", str(tmp_path / "start"), "--keep-grid"])
    assert "left out: 1 backbone.time_class_token" in capsys.readouterr().out
    entry = find_weights("small_video")
    grid = replace(entry.backbone, aggregation="per_place")  # type: ignore[call-arg]
    model = VideoModel(grid, {"mine": HeadConfig(kind="localise", num_classes=3)})
    initialise(model, resuming=False, init_from=str(tmp_path / "start"), init_skip=("heads.",))
    given = convert_file(file, "scenic", entry.backbone, {"noun": 8, "verb": 3}).tensors
    for name, tensor in model.state_dict().items():
        assert name.startswith("heads.mine") or torch.equal(tensor, given[name]), name
    file = FOLDER / "original_vit.npz"
    with pytest.raises(InputError, match="only a released Factorised Encoder"):
        run(["weights", "convert", "small_image", "--file", str(file), "--keep-grid", "--out", str(tmp_path / "x")])


@pytest.mark.usefixtures("small")
def test_image_weights_start_a_video_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--num-frames", "6", "--size", "40", "--temporal-layers", "1"]
    file = FOLDER / "original_vit.npz"
    run(["weights", "convert", "small_image", "--file", str(file), "--out", str(tmp_path), *options])
    text = capsys.readouterr().out
    assert "left out: 1 class_token" in text
    assert "begin from scratch: 1 backbone.temporal.norm.bias" in text
    loaded = load_model(tmp_path)
    assert loaded.preprocess == replace(small_input(6), size=40, frame_stride=2)
    image = convert_file(file, "original_vit", PICTURE, {}).tensors
    found = loaded.model.state_dict()
    kernel = found["backbone.embedding.projection.weight"].view(24, 3, 2, 8, 8)
    assert torch.equal(kernel[:, :, 1].flatten(1), image["backbone.embedding.projection.weight"])  # t // 2 of t = 2
    assert not kernel[:, :, 0].any()
    assert torch.equal(
        found["backbone.spatial.blocks.1.mlp_in.weight"], image["backbone.spatial.blocks.1.mlp_in.weight"]
    )
    again = tmp_path / "again"
    run(["weights", "convert", "small_image", "--file", str(file), "--out", str(again), *options])
    same = load_model(again).model.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in found.items())  # also what begins from scratch


@pytest.mark.parametrize("short_side", [None, 26])  # letterboxed, and a square cut out as for most published weights
def test_a_run_on_own_data_starts_from_converted_weights(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_side: int | None
) -> None:
    entry = replace(
        WEIGHTS["scenic_k400_vivit_b_fe"],
        backbone=FE,
        heads=(PublishedHead(task="x", num_classes=0),),
        preprocess=replace(small_input(8), short_side=short_side),
    )
    monkeypatch.setitem(WEIGHTS, "small_video", entry)
    file, start = FOLDER / "scenic_fe.msgpack", tmp_path / "start"
    run(["weights", "convert", "small_video", "--file", str(file), "--out", str(start), "--keep-grid"])
    command = ["train", "finetune", "--manifests", str(squares / "manifests" / "localise"), "--init-from", str(start)]
    run([*command, "--out", str(tmp_path / "run"), "--num-epochs", "0.5", "--batch-size", "2", "--num-workers", "0"])
    trained = load_model(tmp_path / "run")
    assert trained.preprocess == entry.preprocess
    assert trained.meta["backbone"]["aggregation"] == "per_place"


@pytest.mark.usefixtures("small")
def test_only_image_weights_are_inflated(tmp_path: Path) -> None:
    file = str(FOLDER / "scenic_fe.msgpack")
    with pytest.raises(InputError, match="num_frames: these are the weights of a video network"):
        run(["weights", "convert", "small_video", "--file", file, "--num-frames", "4", "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        run(["weights", "convert", "videomae_b", "--file", str(tmp_path / "none"), "--out", str(tmp_path / "x")])
    (tmp_path / "bad.pth").write_bytes(b"\x80\x02cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"but tensors \([^()]*GLOBAL os.system[^()]*\)$"):
        run(["weights", "convert", "videomae_b", "--file", str(tmp_path / "bad.pth"), "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_fetch_without_a_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere: Weights = replace(WEIGHTS["videomae_b"], url="http://127.0.0.1:9/x.bin")
    monkeypatch.setitem(WEIGHTS, "nowhere", nowhere)
    with pytest.raises(InputError, match="no network connection"):
        run(["weights", "fetch", "nowhere", "--out", str(tmp_path)])

"""Where the first weights come from: a run, a file, published weights, image weights; what does not fit is one line."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from golden_weights import FE, FOLDER, enter_small_weights
from rich.console import Console

from tubelet.describe import describe_run
from tubelet.models.convert import convert_file
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.saved import save_tensors
from tubelet.models.vivit import ViViTConfig
from tubelet.models.weights import WEIGHTS
from tubelet.recipes.playground import transfer_kinetics
from tubelet.records import write_json
from tubelet.train.config import PREVIOUS
from tubelet.train.start import Start, absolute_start, initialise, read_start
from tubelet.types import Aggregation, InputError

CONFIG = ViViTConfig(size=16, num_frames=4, patch=8, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)
HEADS = {"a": HeadConfig(kind="classify", num_classes=3), "b": HeadConfig(kind="localise", num_classes=2)}
SKIP_HEADS = ("heads.",)


def model_of(config: ViViTConfig, seed: int, heads: dict[str, HeadConfig] = HEADS) -> VideoModel:
    torch.manual_seed(seed)
    model = VideoModel(config, heads)
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    return model


def same(model: VideoModel, tensors: dict[str, torch.Tensor]) -> set[str]:
    """Return the first parts of the names whose tensors are equal to ``tensors``'."""
    state = model.state_dict()
    return {n for n, t in tensors.items() if n in state and t.shape == state[n].shape and torch.equal(t, state[n])}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "given.safetensors"
    save_tensors(path, model_of(CONFIG, 1).state_dict())
    return path


def test_the_heads_begin_fresh_unless_the_list_says_otherwise(given: Path) -> None:
    source = model_of(CONFIG, 1).state_dict()
    heads = {name for name in source if name.startswith("heads.")}
    for skip, fresh in (
        (SKIP_HEADS, {"heads.a.linear.weight", "heads.b.linear.weight"}),
        (("heads.a.",), {"heads.a.linear.weight"}),
        ((), set()),
        (("backbone.", "heads."), None),
    ):
        model = model_of(CONFIG, 2)
        said = initialise(model, resuming=False, init_from=str(given), init_skip=skip)
        left_out = [name for name in source if name.startswith(skip)] if skip else []
        assert f"starts from {len(source) - len(left_out)} weights of {given}; left out: {len(left_out)} " in said
        taken = same(model, source)
        if fresh is None:
            assert "backbone.spatial.blocks.0.mlp_in.weight" not in taken
        else:
            assert {n for n in heads if n.endswith("weight")} - taken == fresh
            assert {n for n in source if n.startswith("backbone.")} <= taken


def test_a_checkpoint_or_nothing_leaves_the_model_alone(given: Path) -> None:
    before = model_of(CONFIG, 2).state_dict()
    for resuming, start in ((True, str(given)), (False, None)):
        model = model_of(CONFIG, 2)
        said = initialise(model, resuming=resuming, init_from=start, init_skip=SKIP_HEADS)
        assert said == ("goes on from its checkpoint" if resuming else "starts from random weights")
        assert same(model, before) == set(before)


def test_weights_of_another_shape_are_one_line_and_change_nothing(given: Path) -> None:
    model = model_of(replace(CONFIG, dim=32, spatial_layers=2), 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        initialise(model, resuming=False, init_from=str(given), init_skip=SKIP_HEADS)
    message = str(caught.value)
    assert message.startswith(f"{given}: weights do not fit: missing: backbone.spatial.blocks.1.")
    assert "backbone.embedding.projection.weight (16, 384) for (32, 384) and " in message
    assert len(message) < 700
    assert same(model, before) == set(before)
    other = model_of(CONFIG, 2, {"a": HeadConfig(kind="classify", num_classes=7), "b": HEADS["b"]})
    with pytest.raises(InputError, match=r"heads.a.linear.weight \(3, 16\) for \(7, 16\)"):
        initialise(other, resuming=False, init_from=str(given), init_skip=())


def test_weights_that_only_an_option_tells_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(replace(CONFIG, num_heads=4), 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = Start(tensors=model_of(CONFIG, 1).state_dict(), backbone=CONFIG)
    monkeypatch.setattr("tubelet.train.start.read_start", lambda name: found)
    with pytest.raises(InputError, match="a run: weights of a network whose num_heads is 2, this run's is 4"):
        initialise(model, resuming=False, init_from="a run", init_skip=SKIP_HEADS)
    assert same(model, before) == set(before)


@pytest.mark.parametrize("aggregation", ["per_place", "joint"])
def test_positions_are_resized_to_larger_frames_and_longer_clips(
    aggregation: Aggregation, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, aggregation=aggregation)
    source = model_of(config, 1).eval()
    start = Start(tensors=source.state_dict(), backbone=config)
    monkeypatch.setattr("tubelet.train.start.read_start", lambda _: start)
    larger = model_of(replace(config, size=32, num_frames=8), 2).eval()
    said = initialise(larger, resuming=False, init_from="run", init_skip=())
    names = ["positions"] if aggregation == "joint" else ["space_positions", "time_positions"]
    assert said.endswith("resized to this run's frames: " + ", ".join(f"backbone.{name}" for name in names))
    # What the smaller network itself makes of a larger and longer clip: it resizes its positions as it goes.
    video = torch.randn(1, 3, 8, 32, 32)
    torch.testing.assert_close(larger.backbone(video), source.backbone(video))
    assert "; resized" not in initialise(model_of(config, 2), resuming=False, init_from="run", init_skip=())
    # Tubelets of as many pixels and another form have kernels that fit, and grids that are none of the given one.
    other = model_of(replace(config, patch=4, tubelet=8, num_frames=8), 2)
    with pytest.raises(InputError, match=r"other shape: backbone\.\w+ "):
        initialise(other, resuming=False, init_from="run", init_skip=())
    # Weights that do not say what they are of have to fit as they are.
    monkeypatch.setattr("tubelet.train.start.read_start", lambda _: Start(tensors=start.tensors, backbone=None))
    with pytest.raises(InputError, match="other shape"):
        initialise(larger, resuming=False, init_from="run", init_skip=())


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_small_weights(monkeypatch)


@pytest.mark.usefixtures("published")
def test_published_weights_start_a_run_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = WEIGHTS["small_video"]
    grid = replace(entry.backbone, aggregation="per_place")  # type: ignore[call-arg]
    file = FOLDER / "scenic_fe.msgpack"
    tensors = convert_file(file, entry.layout, entry.backbone, {"noun": 8, "verb": 3}).tensors
    skip = ("heads.", "backbone.class_token", "backbone.time_class_token")
    model = model_of(grid, 2)
    initialise(model, resuming=False, init_from=f"small_video={file}", init_skip=skip)
    assert {name for name in model.state_dict() if name.startswith("backbone.")} <= same(model, tensors)
    with pytest.raises(InputError, match=r"unexpected: backbone.class_token, backbone.time_class_token;"):
        initialise(model, resuming=False, init_from=f"small_video={file}", init_skip=SKIP_HEADS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no file out/weights/small_video/checkpoint; tubelet weights fetch small_v"):
        read_start("small_video")
    fetched = tmp_path / "out/weights/small_video/checkpoint"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(file.read_bytes())
    assert read_start("small_video").tensors.keys() == tensors.keys()
    with pytest.raises(InputError, match=r"neither a run folder.*; did you mean 'small_video'"):
        read_start("small_vide")


@pytest.mark.usefixtures("published")
def test_image_weights_are_inflated() -> None:
    video = replace(FE, temporal_layers=1, aggregation="per_place")
    model = model_of(video, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file = FOLDER / "original_vit.npz"
    said = initialise(model, resuming=False, init_from=f"small_image={file}", init_skip=SKIP_HEADS)
    assert "; left out: 1 (backbone.class_token); begin fresh: " in said
    entry = WEIGHTS["small_image"]
    image = convert_file(file, entry.layout, entry.backbone, {}).tensors
    taken = same(model, image)
    assert "backbone.spatial.blocks.1.mlp_in.weight" in taken
    # Centre inflation: the image's patch embedding on frame 1 of 2, zero on frame 0.
    kernel = model.state_dict()["backbone.embedding.projection.weight"].view(24, 3, 2, 8, 8)
    wanted = image["backbone.embedding.projection.weight"].view(24, 3, 8, 8)
    assert torch.equal(kernel[:, :, 1], wanted)
    assert kernel[:, :, 0].abs().max() == 0
    untouched = same(model, before)
    assert {n for n in before if ".temporal." in n or n.startswith("heads.")} <= untouched
    assert "resized" not in said
    larger = model_of(replace(video, size=2 * video.size), 2)
    said = initialise(larger, resuming=False, init_from=f"small_image={file}", init_skip=SKIP_HEADS)
    assert said.endswith("; resized to this run's frames: backbone.space_positions")


def test_a_run_that_is_not_finished_starts_nothing(tmp_path: Path) -> None:
    meta = {"format": "tubelet-run", "format_version": 1, "finished": False, "step": 3, "num_steps": 9}
    write_json(tmp_path / "meta.json", meta)
    with pytest.raises(InputError, match="that run is not finished \\(step 3 of 9\\)"):
        read_start(str(tmp_path))


@pytest.mark.usefixtures("published")
def test_a_start_means_the_same_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert absolute_start("run") == str(tmp_path / "run")
    assert absolute_start("small_video=a/b") == f"small_video={tmp_path}/a/b"
    assert [absolute_start(name) for name in (None, "small_video", "the stage before")] == [
        None,
        "small_video",
        "the stage before",
    ]


def test_a_dry_run_says_whether_its_start_can_be_used(squares: Path, given: Path, tmp_path: Path) -> None:
    run = transfer_kinetics(squares, size="tiny")
    said = {}
    for name, init_from in (("none", None), ("stage", PREVIOUS), ("gone", str(tmp_path / "x")), ("other", str(given))):
        console = Console(file=StringIO(), width=200)
        describe_run(replace(run, init_from=init_from), tmp_path / "out", console)
        said[name] = next(line for line in console.file.getvalue().splitlines() if "weights " in line)
    assert "begin at random" in said["none"]
    assert "those of the stage before" in said["stage"]
    assert "CANNOT BE USED" in said["gone"]
    assert "neither a run folder" in said["gone"]
    assert "weights do not fit" in said["other"]

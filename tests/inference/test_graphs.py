"""A model exported to a graph scores as the model does, and the pipeline runs from it."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_fakes import RED, PaintDetector, untrained, write_video

import tubelet
from tubelet.cli.using import export
from tubelet.inference.action_model import TorchActionModel
from tubelet.inference.graphs import METADATA, GraphActionModel, export_graph
from tubelet.inference.pipeline import Localiser
from tubelet.inference.shipped import SHIPPED_MODEL
from tubelet.models.saved import LoadedModel, load_model
from tubelet.types import InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
SUFFIXES = (".onnx", ".pt2")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return replace(untrained(), thresholds={"boxes": (0.1, 0.2, 0.3, 0.4)})


@pytest.fixture(scope="module", params=SUFFIXES)
def graph(request: pytest.FixtureRequest, loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == ".onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    path: Path = tmp_path_factory.mktemp("graph") / f"m{request.param}"
    export_graph(loaded, path)
    return path


def test_any_number_of_clips_and_people(graph: Path, loaded: LoadedModel) -> None:
    scorer = GraphActionModel(graph)
    torch.manual_seed(0)
    for clips, people in ((1, 1), (1, 5), (4, 3), (2, 0)):
        frames = torch.randint(0, 256, (clips, 3, 4, 32, 32), dtype=torch.uint8)
        boxes = torch.rand(people, 4).sort(dim=1)[0] * 32
        box_clip = (torch.arange(people) % clips).sort()[0]
        with torch.no_grad():
            expected = loaded.model((frames / 255 - 0.5) / 0.5, "boxes", boxes, box_clip).sigmoid()
        scores = scorer(frames, boxes, box_clip, [])
        assert scores.shape == (people, 4)
        assert scores.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_what_could_be_got_wrong_is_in_the_file(graph: Path, loaded: LoadedModel) -> None:
    scorer, ours = GraphActionModel(graph), TorchActionModel(loaded)
    assert (scorer.task, scorer.label_space, scorer.preprocess) == (ours.task, ours.label_space, ours.preprocess)
    assert scorer.thresholds == pytest.approx([0.1, 0.2, 0.3, 0.4])
    if graph.suffix == ".onnx":
        (entry,) = pytest.importorskip("onnx").load(graph).metadata_props
        assert entry.key == METADATA
        assert json.loads(entry.value)["task"] == "boxes"


def test_the_pipeline_runs_from_a_graph(graph: Path, loaded: LoadedModel, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((10 + i, 20, 34 + i, 80), RED)], num_frames=20)
    pipe = tubelet.load(graph, people=PaintDetector(), device="cpu")
    theirs = list(Localiser(loaded, people=PaintDetector())(video))
    for one, other in zip(pipe(video), theirs, strict=True):
        assert one.person_ids.tolist() == other.person_ids.tolist()
        # Ours computes in half the precision on some processors.
        assert one.scores == pytest.approx(other.scores, abs=2e-2)
    assert pipe.thresholds == pytest.approx([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(InputError, match="has the head 'boxes', not 'other'"):
        tubelet.load(graph, task="other", people=PaintDetector())


def test_the_shipped_model_has_a_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "shipped.onnx"
    export(onnx=path)
    loaded, scorer = load_model(SHIPPED_MODEL), GraphActionModel(path)
    frames = torch.randint(0, 256, (2, 3, 8, 96, 96), dtype=torch.uint8)
    boxes, box_clip = torch.tensor([[10.0, 5.0, 60.0, 90.0], [0.0, 0.0, 96.0, 96.0]]), torch.tensor([0, 1])
    with torch.no_grad():
        video = (frames / 255 - 0.5) / 0.5
        still = video.mean(dim=2, keepdim=True)
        expected = loaded.model(0.2 * still + 2.0 * (video - still), scorer.task, boxes, box_clip).sigmoid()
    assert scorer(frames, boxes, box_clip, []).numpy() == pytest.approx(expected.numpy(), abs=1e-3)
    assert np.ptp(expected.numpy()) > 0.1


def test_mistakes_are_named(tmp_path: Path, loaded: LoadedModel) -> None:
    with pytest.raises(InputError, match=r"ends in \.onnx or \.pt2"):
        export_graph(loaded, tmp_path / "m.pth")
    with pytest.raises(InputError, match="nothing to write"):
        export()
    with pytest.raises(InputError, match=r"--onnx m\.pt2: expected"):
        export(onnx=Path("m.pt2"))
    with pytest.raises(InputError, match="no such file"):
        tubelet.load(tmp_path / "nowhere.onnx")
    for suffix in SUFFIXES:
        (tmp_path / f"bad{suffix}").write_bytes(b"no graph")
        if suffix == ".onnx" and find_spec("onnxruntime") is None:
            continue
        with pytest.raises(InputError, match=rf"bad\{suffix}: not a (graph|program)"):
            GraphActionModel(tmp_path / f"bad{suffix}")

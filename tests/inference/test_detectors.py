"""Other people's detectors: graphs, models and files whose boxes can be worked out by hand."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_fakes import RED, PaintDetector, untrained, untrained_config, write_video

import tubelet
from tubelet.inference.detectors import PEOPLE, open_people
from tubelet.inference.graphs import GraphActionModel
from tubelet.inference.listed_people import ListedPeople
from tubelet.inference.onnx_people import RT_DETR, SSD, YOLOX, OnnxDetector, decode_cells, to_input
from tubelet.inference.people import NanoDetDetector
from tubelet.inference.pipeline import Localiser
from tubelet.inference.torch_people import TorchvisionDetector, TransformersDetector
from tubelet.models.saved import HeadMeta, model_meta, save_tensors
from tubelet.records import write_json
from tubelet.types import InputError


def graph(
    path: Path, *, inputs: dict[str, tuple[str, list[Any]]], outputs: Sequence[str], nodes: Sequence[Any]
) -> Path:
    """Write an ONNX graph; types are names of ``onnx.TensorProto``."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    given = [onnx.helper.make_tensor_value_info(n, getattr(onnx.TensorProto, t), s) for n, (t, s) in inputs.items()]
    undefined = onnx.TensorProto.UNDEFINED
    found = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
    assert undefined == 0
    whole = onnx.helper.make_graph(list(nodes), "detector", given, found)
    model = onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return path


def constant(name: str, value: np.ndarray) -> Any:
    onnx = pytest.importorskip("onnx")
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))


def node(kind: str, inputs: list[str], output: str, **more: Any) -> Any:
    return pytest.importorskip("onnx").helper.make_node(kind, inputs, [output], **more)


def yolox_cells() -> np.ndarray:
    """An input of 64 x 64 has 64 + 16 + 4 cells; two of stride 16 say the same box, and a third has a car."""
    cells = np.zeros((1, 84, 7), dtype=np.float32)  # classes: person, car
    # Row 1, column 2: centre (2.5, 1.25) * 16 = (40, 20), size (2, 1.5) * 16 = (32, 24).
    cells[0, 64 + 6] = [0.5, 0.25, np.log(2), np.log(1.5), 0.8, 0.75, 0.1]
    cells[0, 64 + 7] = [-0.5, 0.25, np.log(2), np.log(1.5), 0.5, 0.75, 0.1]
    cells[0, 0] = [0, 0, 1, 1, 0.9, 0.05, 0.9]
    return cells


def test_cells_of_a_yolox_become_boxes() -> None:
    boxes, scores = decode_cells(torch.from_numpy(yolox_cells()[0]), (64, 64), person=0)
    assert boxes[70].tolist() == pytest.approx([24, 8, 56, 32])
    assert boxes[71].tolist() == pytest.approx([24, 8, 56, 32])
    assert scores[[70, 71, 0]].tolist() == pytest.approx([0.6, 0.375, 0.045])
    # A cell that says nothing lies at its own corner, one stride large: the last of stride 32.
    assert boxes[83].tolist() == pytest.approx([16, 16, 48, 48])
    with pytest.raises(InputError, match=r"a YOLOX of 64x32 gives \(42, 5 \+ K\)"):
        decode_cells(torch.from_numpy(yolox_cells()[0]), (64, 32), person=0)


def test_a_yolox_graph(tmp_path: Path) -> None:
    nodes = [
        constant("cells", yolox_cells()),
        constant("zero", np.zeros((), dtype=np.float32)),
        node("ReduceMax", ["images"], "most", keepdims=0),
        node("Mul", ["most", "zero"], "nothing"),
        node("Add", ["cells", "nothing"], "output"),
    ]
    path = graph(tmp_path / "y.onnx", inputs={"images": ("FLOAT", [1, 3, 64, 64])}, outputs=["output"], nodes=nodes)
    detector = OnnxDetector(path, YOLOX, threshold=0.1)
    # A frame of 128 x 64 lies in the upper half at half its size; the box is its own in pixels of the frame.
    (people, small) = detector([np.zeros((64, 128, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)])
    assert people.boxes == pytest.approx(np.array([[48, 16, 112, 64]]))
    assert people.scores == pytest.approx([0.6])
    assert small.boxes == pytest.approx(np.array([[24, 8, 56, 32]]))
    with pytest.raises(InputError, match="the graph gives output; this layout expects bboxes, labels, scores"):
        OnnxDetector(path, SSD, threshold=0.1)
    with pytest.raises(InputError, match="expects one input beside orig_target_sizes"):
        OnnxDetector(path, RT_DETR, threshold=0.1)


def test_an_rt_detr_graph_is_told_the_size_of_the_frame(tmp_path: Path) -> None:
    """The graph's boxes are shares times (width, height); its score is the mean of red, so RGB in 0..1 is checked."""
    shares = np.array([[[0.1, 0.2, 0.5, 0.4], [0, 0, 1, 1], [0.5, 0.5, 1, 1]]], dtype=np.float32)
    nodes = [
        constant("shares", shares),
        constant("labels", np.array([[0, 7, 0]], dtype=np.int64)),
        constant("weights", np.array([[0.5, 1, 1]], dtype=np.float32)),
        constant("first", np.array([0], dtype=np.int64)),
        node("Cast", ["orig_target_sizes"], "wh", to=1),
        node("Concat", ["wh", "wh"], "whwh", axis=1),
        node("Mul", ["shares", "whwh"], "boxes"),
        node("Gather", ["images", "first"], "red", axis=1),
        node("ReduceMean", ["red"], "level", keepdims=0),
        node("Mul", ["weights", "level"], "scores"),
    ]
    inputs = {"images": ("FLOAT", ["n", 3, 16, 16]), "orig_target_sizes": ("INT64", ["n", 2])}
    path = graph(tmp_path / "r.onnx", inputs=inputs, outputs=["labels", "boxes", "scores"], nodes=nodes)
    frame = np.zeros((100, 200, 3), dtype=np.uint8)
    frame[..., 0] = 204  # 0.8 of 255
    (people,) = open_people(f"rt-detr:{path}", threshold=0.3)([frame])  # type: ignore[operator]
    # Two people (the second is label 7), best first.
    assert people.scores == pytest.approx([0.8, 0.4])
    assert people.boxes == pytest.approx(np.array([[100, 50, 200, 100], [20, 20, 100, 40]]))
    assert open_people(f"rt-detr:{path}", threshold=0.5)([frame])[0].scores == pytest.approx([0.8])  # type: ignore[operator]


@pytest.mark.parametrize("number", ["", ":0"])
def test_an_ssd_graph_of_tensorflow(tmp_path: Path, number: str) -> None:
    """Bytes in rows of pixels, any size; y before x in shares; people are label 1; a frozen graph's names end in :0."""
    nodes = [
        constant(f"detection_boxes{number}", np.array([[[0.1, 0.2, 0.3, 0.6], [0, 0, 1, 1]]], dtype=np.float32)),
        constant(f"detection_classes{number}", np.array([[1, 2]], dtype=np.float32)),
        constant("weights", np.array([[0.7, 0.9]], dtype=np.float32)),
        constant("full", np.array(255, dtype=np.float32)),
        node("Cast", ["input"], "levels", to=1),
        node("ReduceMax", ["levels"], "most", keepdims=0),
        node("Div", ["most", "full"], "one"),
        node("Mul", ["weights", "one"], f"detection_scores{number}"),
    ]
    outputs = [f"detection_{what}{number}" for what in ("boxes", "classes", "scores")]
    inputs = {"input": ("UINT8", [1, "h", "w", 3])}
    path = graph(tmp_path / "s.onnx", inputs=inputs, outputs=outputs, nodes=nodes)
    frame = np.full((50, 100, 3), 255, dtype=np.uint8)
    (people,) = open_people(f"ssd-tensorflow:{path}", threshold=0.3)([frame])  # type: ignore[operator]
    assert people.boxes == pytest.approx(np.array([[20, 5, 60, 15]]))
    assert people.scores == pytest.approx([0.7])


def test_what_graphs_see() -> None:
    frame = np.zeros((2, 4, 3), dtype=np.uint8)
    frame[..., 0], frame[..., 2] = 200, 10
    image, scale_xy = to_input(frame, YOLOX, (8, 8))
    assert image.shape == (1, 3, 8, 8)
    assert scale_xy == (2.0, 2.0)
    assert image[0, :, :4].flatten(1).unique(dim=1).flatten().tolist() == [10, 0, 200]  # blue comes first
    assert image[0, :, 4:].unique().tolist() == [114]
    image, scale_xy = to_input(frame, RT_DETR, (8, 8))
    assert scale_xy == (2.0, 4.0)
    assert image.flatten(2).mean(2)[0].tolist() == pytest.approx([200 / 255, 0, 10 / 255])
    image, _ = to_input(frame, SSD, (8, 8))
    assert image.flatten(2).mean(2)[0].tolist() == pytest.approx(
        [(200 - 123.675) / 58.395, -116.28 / 57.12, (10 - 103.53) / 57.375], rel=1e-5
    )


def test_a_model_of_transformers_finds_what_its_own_pipeline_finds(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from PIL import Image

    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 96],
        patch_size=16,
        num_detection_tokens=8,
        id2label={0: "car", 1: "Person"},
        label2id={"car": 0, "Person": 1},
    )
    model = transformers.YolosForObjectDetection(config).eval()
    # Eight tokens that differ, and people more often than anything else.
    torch.nn.init.normal_(model.vit.embeddings.detection_tokens, std=2.0)
    torch.nn.init.normal_(model.class_labels_classifier.layers[2].weight, std=5.0)
    model.class_labels_classifier.layers[2].bias.data = torch.tensor([0.0, 2.0, 0.0])
    model.save_pretrained(tmp_path)
    transformers.YolosImageProcessorPil(size={"height": 64, "width": 96}).save_pretrained(tmp_path)
    frame = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)
    detector = open_people(f"transformers:{tmp_path}", threshold=0.05)
    assert isinstance(detector, TransformersDetector)
    (people,) = detector([frame])
    asked = transformers.pipeline("object-detection", model=str(tmp_path), device="cpu")
    theirs = [found for found in asked(Image.fromarray(frame), threshold=0.05) if found["label"] == "Person"]
    assert 0 < len(people.scores) == len(theirs)
    assert people.scores.tolist() == pytest.approx(sorted((found["score"] for found in theirs), reverse=True), abs=1e-5)
    best = max(theirs, key=lambda found: found["score"])["box"]
    corners = np.array([best[side] for side in ("xmin", "ymin", "xmax", "ymax")])
    assert people.boxes[0] == pytest.approx(corners.clip(0, [80, 50, 80, 50]), abs=1.0)  # theirs are whole pixels
    model.config.id2label = {0: "car", 1: "dog"}
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="none of its 2 labels is 'person'"):
        TransformersDetector(str(tmp_path), threshold=0.1)


def test_a_model_with_torchvisions_interface() -> None:
    def model(pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        assert [tuple(p.shape) for p in pictures] == [(3, 10, 20), (3, 30, 20)]
        assert pictures[0].max() == 1.0
        boxes = torch.tensor([[1.0, 2, 3, 4], [5, 5, 9, 9], [-4, 0, 30, 8]])
        return [{"boxes": boxes, "labels": torch.tensor([1, 3, 1]), "scores": torch.tensor([0.3, 0.9, 0.8])}] * 2

    frames = [np.full((10, 20, 3), 255, np.uint8), np.zeros((30, 20, 3), np.uint8)]
    people, _ = TorchvisionDetector(model, threshold=0.2)(frames)
    assert people.boxes.tolist() == [[0, 0, 20, 8], [1, 2, 3, 4]]
    assert people.scores == pytest.approx([0.8, 0.3])
    assert TorchvisionDetector(model, threshold=0.5)(frames)[1].boxes.tolist() == [[0, 0, 20, 8]]
    assert TorchvisionDetector(model, threshold=0.5)([]) == []


def test_boxes_from_a_file_are_followed_and_scored(tmp_path: Path) -> None:
    """Two people a keyframe; one has two actions, hence two rows, and one is missing at 0.5 and bridged."""
    video = write_video(tmp_path / "v.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=16)
    listed = tmp_path / "boxes.csv"
    rows = [f"v,{t},0.1,0.2,0.3,0.8,,0.9" for t in ("0", "0.5", "1.0")]
    rows += [f"v,{t},0.6,0.2,0.8,0.8,{a},0.{a}" for t in ("0", "1.0") for a in (7, 8)]
    listed.write_text("\n".join([*rows, "other,0,0,0,1,1,,1"]) + "\n")
    people = open_people(f"csv:{listed}", threshold=0.5)
    moments = list(Localiser(untrained(), people=people)(video))
    assert [m.pts_seconds for m in moments] == [0.0, 0.5, 1.0, 1.5]
    for moment in moments[:3]:
        assert moment.boxes_norm[np.argsort(moment.boxes_norm[:, 0])] == pytest.approx(
            np.array([[0.1, 0.2, 0.3, 0.8], [0.6, 0.2, 0.8, 0.8]]), abs=1e-6
        )
        assert sorted(moment.person_ids.tolist()) == [1, 2]
    assert sorted(moments[0].box_scores.tolist()) == pytest.approx([0.8, 0.9])  # the better of its two rows
    assert len(moments[3].boxes_norm) == 0  # nothing is listed within half a look of it
    with pytest.raises(InputError, match=r"lists no box of w\.mp4; expected 'w', .*; it begins with other, v$"):
        list(Localiser(untrained(), people=people)(video.rename(tmp_path / "w.mp4")))


@pytest.mark.parametrize("name", ["v_1.b", "v_1.b.mp4", "Basketball/v_1.b", "sets/Basketball/v_1.b.mp4"])
def test_a_list_names_a_video_with_or_without_folders_and_ending(tmp_path: Path, name: str) -> None:
    """Clips of UCF101-24 have a folder in their names, which ``tubelet data detect`` writes."""
    listed = tmp_path / "boxes.csv"
    others = ("Diving/v_1.b", "1.b", "b", "v_1", "v_1.b_000010_000020")
    listed.write_text("".join(f"{each},0,0,0,1,1,,0.{i + 1}\n" for i, each in enumerate((name, *others))))
    find = ListedPeople(listed).of_video(Path("sets/Basketball/v_1.b.mp4"), 0.1)
    assert find(0.0, np.zeros((8, 8, 3), np.uint8)).scores == pytest.approx([0.1])


def test_scores_of_a_list_are_shares(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("v,0,0,0,1,1,12,3\n")
    with pytest.raises(InputError, match="a box has the score 3, expected 0 to 1 in the eighth column"):
        ListedPeople(tmp_path / "truth.csv")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolo:x.onnx", "no person detector 'yolo:x.onnx'; did you mean 'yolox'"),
        ("nanodet:x", "expected nanodet"),
        ("yolox", "expected yolox:FILE"),
        ("yolox:nowhere.onnx", "nowhere.onnx: no such file"),
        ("csv:nowhere.csv", "nowhere.csv"),
        ("torchvision:no_such_model", "no_such_model"),
    ],
)
def test_a_detector_that_cannot_be_had_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_people(name, threshold=0.5)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_detection_model_says_so(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="not a detection model of transformers") as caught:
        open_people(f"transformers:{tmp_path}", threshold=0.5)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_graph_says_so(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_text("not a graph")
    with pytest.raises(InputError, match=r"x\.onnx: not a graph that onnxruntime can run"):
        open_people(f"yolox:{tmp_path / 'x.onnx'}", threshold=0.5)


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "x.onnx").touch()
    for opened in (lambda path: open_people(f"yolox:{path}", threshold=0.5), GraphActionModel):
        with pytest.raises(InputError, match=r'x\.onnx: needs onnxruntime; pip install "tubelet\[onnx\]"$'):
            opened(tmp_path / "x.onnx")


def test_every_name_is_of_a_known_kind() -> None:
    assert isinstance(open_people("nanodet", threshold=0.25), NanoDetDetector)
    assert set(PEOPLE) == {"nanodet", "yolox", "rt-detr", "ssd", "ssd-tensorflow", "transformers", "torchvision", "csv"}


def test_moments_in_python(tmp_path: Path) -> None:
    made = untrained()
    save_tensors(tmp_path / "model.safetensors", made.model.state_dict())
    heads = {
        name: HeadMeta(kind=made.heads[name].kind, label_space=made.label_spaces[name], score=made.score_kinds[name])
        for name in made.heads
    }
    meta = model_meta(
        recipe="none", backbone=untrained_config(), preprocess=made.preprocess, heads=heads, extra={"step": 0}
    )
    write_json(tmp_path / "meta.json", meta)
    video = write_video(tmp_path / "street.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=12)
    pipe = tubelet.load(tmp_path, people=PaintDetector(), every_seconds=0.25, device="cpu")
    moments = list(pipe(video))
    assert [m.pts_seconds for m in moments] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert all(m.scores.shape == (1, len(pipe.label_space)) for m in moments)
    sure = tubelet.load(tmp_path, people=PaintDetector(), person_threshold=0.95)
    assert next(iter(sure(video))).person_ids.size == 0
    # 12 frames, 10 a second: each; 0, 0.2, ... 1.0; 0, 0.4, 0.8.
    for every, looks in ((1, 12), (2, 6), (4, 3)):
        people = PaintDetector()
        list(tubelet.load(tmp_path, people=people, every_seconds=0.4, detect_every=every)(video))
        assert people.num_frames == looks
    with pytest.raises(InputError, match="person threshold is 40"):
        tubelet.load(tmp_path, person_threshold=40)
    with pytest.raises(InputError, match=r"nothing: not a run folder, nor a graph that ends in \.onnx or \.pt2"):
        tubelet.load(tmp_path / "nothing")

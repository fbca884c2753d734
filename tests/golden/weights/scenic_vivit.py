"""Make scenic_{fe,joint}.msgpack, scenic_outputs.npz and scenic_layouts.json.gz: Scenic's own ViViT on random weights.

    python tests/golden/weights/scenic_vivit.py FOLDER_WITH_SCENIC

Needs jax, flax, ml_collections, immutabledict, clu and a checkout of github.com/google-research/scenic (its
``tensorflow.io`` import is replaced by nothing: only file access uses it). The models are the released configurations
with smaller widths; the checkpoints are written by Flax, the Factorised Encoder's in the older layout
(``optimizer/target``, with momentum beside it), the joint model's in the newer (``params``). Made with jax 0.10.2 and
flax 0.12 on a CPU. The last file has names and shapes of the parameters that Scenic's configuration files give, at full
size and without values.
"""

import gzip
import json
import sys
import types
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SIZE, PATCH, FRAMES, TUBELET, DIM, HEADS, MLP, CLASSES = 24, 8, 8, 2, 24, 3, 96, 11


def pattern() -> np.ndarray:
    """Return the input (2, FRAMES, SIZE, SIZE, 3) float32 in [-1, 1], channels last as Scenic has it."""
    return np.random.RandomState(5).uniform(-1, 1, (2, FRAMES, SIZE, SIZE, 3)).astype(np.float32)


def draw_like(random: np.random.RandomState, array: np.ndarray) -> np.ndarray:
    return (0.15 * random.standard_normal(array.shape)).astype(np.float32)


def build(name: str):
    import ml_collections
    from scenic.projects.vivit.model import SpaceTimeViViT, ViViT

    common = {
        "num_classes": CLASSES,
        "hidden_size": DIM,
        "patches": ml_collections.ConfigDict({"size": [PATCH, PATCH, TUBELET]}),
        "temporal_encoding_config": ml_collections.ConfigDict({"method": "3d_conv"}),
        "classifier": "token",
        "dropout_rate": 0.0,
        "attention_dropout_rate": 0.0,
    }
    if name == "joint":
        return ViViT(
            mlp_dim=MLP,
            num_layers=2,
            num_heads=HEADS,
            attention_config=ml_collections.ConfigDict({"type": "spacetime"}),
            **common,
        )
    return SpaceTimeViViT(
        spatial_mlp_dim=MLP,
        spatial_num_layers=2,
        spatial_num_heads=HEADS,
        temporal_mlp_dim=MLP,
        temporal_num_layers=3,
        temporal_num_heads=HEADS,
        attention_config=ml_collections.ConfigDict({"type": "factorized_encoder"}),
        **common,
    )


PUBLISHED = {  # our name: configuration file, classes
    "scenic_k400_vivit_b": ("kinetics400.vivit_base_k400", 400),
    "scenic_k400_vivit_b_fe": ("kinetics400.vivit_base_factorised_encoder", 400),
    "scenic_k400_vivit_l_fe": ("kinetics400.vivit_large_factorised_encoder", 400),
    "scenic_k600_vivit_l_fe": ("kinetics600.vivit_large_factorised_encoder", 600),
    # EPIC-KITCHENS' own file is no valid Python; by its text it is this one with 4 temporal layers.
    "scenic_epic_vivit_l_fe": ("kinetics600.vivit_large_factorised_encoder", 397),
}


def published_layouts() -> dict[str, dict[str, list[int]]]:
    """Return names, joined with slashes, and shapes of every parameter of the published configurations."""
    import flax
    import jax
    from scenic.projects.vivit.model import ViViTClassificationModel

    layouts = {}
    for name, (path, classes) in PUBLISHED.items():
        config = import_module(f"scenic.projects.vivit.configs.{path}").get_config()
        if "epic" in name:
            config.model.temporal_transformer.num_layers = 4
        model = ViViTClassificationModel(config, {"num_classes": classes, "target_is_onehot": True}).flax_model
        video = jax.ShapeDtypeStruct((1, 32, 224, 224, 3), np.float32)
        made = jax.eval_shape(partial(model.init, train=False), jax.random.PRNGKey(0), video)
        flat = flax.traverse_util.flatten_dict(flax.core.unfreeze(made["params"]), sep="/")
        layouts[name] = {key: list(value.shape) for key, value in flat.items()}
    return layouts


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    for name in ("tensorflow", "tensorflow.io"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["tensorflow.io"].gfile = None
    import flax
    import jax

    video, outputs = pattern(), {}
    for seed, name in enumerate(("fe", "joint")):
        model = build(name)
        params = flax.core.unfreeze(model.init(jax.random.PRNGKey(0), video, train=False)["params"])
        # Everything random, also what begins at zero or one, so that nothing that is mixed up stays unseen.
        draw = partial(draw_like, np.random.RandomState(seed))
        params = jax.tree_util.tree_map(draw, params)
        outputs[name] = np.asarray(model.apply({"params": params}, video, train=False))
        rest = {"global_step": 7, "model_state": {}, "rng": np.arange(2, dtype=np.uint32)}
        if name == "fe":
            momentum = jax.tree_util.tree_map(lambda x: {"momentum": x[:0]}, params)
            state = {"optimizer": {"target": params, "state": {"step": 7, "param_states": momentum}}, **rest}
        else:
            state = {"params": params, "opt_state": {"0": {}}, "metadata": {"name": "x", "rate": 0.5}, **rest}
        (HERE / f"scenic_{name}.msgpack").write_bytes(flax.serialization.msgpack_serialize(state))
    np.savez(HERE / "scenic_outputs.npz", **outputs)
    text = json.dumps(published_layouts(), separators=(",", ":"))
    (HERE / "scenic_layouts.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()

"""Make timm_vit.safetensors, original_vit.npz and image_vit_outputs.npz: timm's VisionTransformer on random weights.

    python tests/golden/weights/image_vit.py FOLDER_WITH_TIMM

Needs timm (1.0.31 was used, unpacked into the folder); torchvision, which it imports but this model does not use, is
replaced by nothing. The first file is timm's own layout, as in its releases. The second has the names and shapes of
the original ViT's ``.npz``; timm's own loader of that format reads it, into a model with Flax's tanh-approximated GELU.
"""

import importlib.machinery
import sys
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

HERE = Path(__file__).parent
SIZE, PATCH, DIM, DEPTH, HEADS, CLASSES = 24, 8, 24, 2, 3, 5


def image() -> np.ndarray:
    """Return the input (2, 3, SIZE, SIZE) float32."""
    return np.random.RandomState(9).uniform(-1, 1, (2, 3, SIZE, SIZE)).astype(np.float32)


class Nothing:
    """Imports torchvision as an object that has every attribute."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.startswith("torchvision") else None

    def create_module(self, spec):
        module = MagicMock()
        module.__path__, module.__spec__, module.__name__ = [], spec, spec.name
        return module

    def exec_module(self, module):
        pass


def original_layout(random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Return random arrays with the names and shapes of the original ViT's files."""
    head = DIM // HEADS
    shapes = {
        "cls": (1, 1, DIM),
        "embedding/kernel": (PATCH, PATCH, 3, DIM),
        "embedding/bias": (DIM,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + (SIZE // PATCH) ** 2, DIM),
        "Transformer/encoder_norm/scale": (DIM,),
        "Transformer/encoder_norm/bias": (DIM,),
        "pre_logits/kernel": (DIM, DIM),
        "pre_logits/bias": (DIM,),
        "head/kernel": (DIM, CLASSES),
        "head/bias": (CLASSES,),
    }
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/{part}": (DIM,) for part in ("scale", "bias")}
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes |= {f"{attention}/{part}/kernel": (DIM, HEADS, head), f"{attention}/{part}/bias": (HEADS, head)}
        shapes |= {f"{attention}/out/kernel": (HEADS, head, DIM), f"{attention}/out/bias": (DIM,)}
        shapes |= {f"{block}/MlpBlock_3/Dense_0/kernel": (DIM, 4 * DIM), f"{block}/MlpBlock_3/Dense_0/bias": (4 * DIM,)}
        shapes |= {f"{block}/MlpBlock_3/Dense_1/kernel": (4 * DIM, DIM), f"{block}/MlpBlock_3/Dense_1/bias": (DIM,)}
    return {name: (0.2 * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def main() -> None:
    sys.meta_path.insert(0, Nothing())
    sys.path.insert(0, sys.argv[1])
    import torch
    from safetensors.torch import save_file
    from timm.models.vision_transformer import VisionTransformer

    torch.set_grad_enabled(False)
    size = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": DIM}
    size |= {"depth": DEPTH, "num_heads": HEADS, "num_classes": CLASSES}
    random, pixels = np.random.RandomState(1), torch.from_numpy(image())
    model = VisionTransformer(**size).eval()
    for tensor in model.state_dict().values():
        tensor.copy_(torch.from_numpy(0.2 * random.standard_normal(tuple(tensor.shape))))
    save_file(model.state_dict(), HERE / "timm_vit.safetensors")
    outputs = {"timm": model.forward_features(pixels).numpy()}
    np.savez(HERE / "original_vit.npz", **original_layout(random))
    model = VisionTransformer(**size, act_layer=partial(torch.nn.GELU, approximate="tanh")).eval()
    model.load_pretrained(str(HERE / "original_vit.npz"))
    outputs["original"] = model.forward_features(pixels).numpy()
    np.savez(HERE / "image_vit_outputs.npz", **outputs)
    print({name: (tokens.shape, tokens.std()) for name, tokens in outputs.items()})


if __name__ == "__main__":
    main()

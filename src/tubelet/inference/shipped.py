"""The model that ships: ViViT nano, co-finetuned on the playground's three sets (``docs/model-card.md``)."""

from importlib.resources import files
from pathlib import Path

SHIPPED_MODEL = Path(str(files("tubelet.inference") / "assets" / "playground"))
"""Its folder, as ``tubelet train`` writes them; ``scripts/pack_default_model.py`` wrote this one."""

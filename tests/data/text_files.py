"""Small annotation files, written out."""

from pathlib import Path

AVA_LABELS = """label {
  name: "stand"
  label_id: 12
  label_type: PERSON_MOVEMENT
}
label {
  name: "touch (an object)"
  label_id: 59
  label_type: OBJECT_MANIPULATION
}
label {
  name: "watch (a person)"
  label_id: 80
  label_type: PERSON_INTERACTION
}
"""
"""AVA's label list in the layout of its site: names, ids and types, no more of them than tests need."""


def put(path: Path, text: str) -> Path:
    """Write a file, and its folder, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

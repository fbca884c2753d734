"""Commands about data sets."""

from pathlib import Path


def import_ava(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    labels: Path,
    media_root: Path,
    out: Path,
    name: str = "mine",
    licence: str = "unknown",
    video_starts_at: float | None = None,
) -> None:
    """Turn AVA-format annotation of videos in a folder into a manifest.

    Args:
        train: AVA csv: video_id, seconds, x1, y1, x2, y2 (0..1), action_id, person_id.
        val: The same for validation.
        test: The same for testing.
        labels: The action list (pbtxt).
        media_root: Folder with the videos, named video_id plus any usual extension.
        out: Folder of the manifest.
        name: Of the data set, its task and head.
        licence: Of the annotations.
        video_starts_at: The csv's time at which the files begin; default: as their length says.
    """
    from tubelet.data.ava import import_ava as make_manifest

    manifest = make_manifest(
        train=train,
        val=val,
        test=test,
        labels=str(labels),
        media_root=media_root,
        out=out,
        name=name,
        licence=licence,
        video_starts_at=video_starts_at,
    )
    print(f"manifest: {manifest.root} {manifest.counts}")

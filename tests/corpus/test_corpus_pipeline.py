"""From posts to a deduplicated manifest: what every step drops, the report, and the same bytes when it goes on."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_corpus import contents, small_corpus

from tubelet.corpus.pipeline import CorpusConfig, build_recipe
from tubelet.data.manifest import read_manifest
from tubelet.studies.corpus_page import write_corpus_report
from tubelet.types import InputError


@pytest.fixture
def config(tmp_path: Path) -> CorpusConfig:
    return small_corpus(tmp_path)


def test_every_step_says_what_it_dropped_and_a_second_run_gives_the_same_bytes(
    config: CorpusConfig, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    corpus = build_recipe(config, out, num_workers=1)
    page, text = write_corpus_report(corpus, config, out, 1)
    dropped = {rule.rule: rule.dropped for rule in corpus.matches.report.rules if rule.dropped}
    assert dropped == {
        "the file of the video exists": 1,
        "a label of the video has at least 2 videos": 1,  # rare
        "the video can be decoded to its end": 1,
        "no duplicate of a target's video": 1,  # 1.mp4, though the target's is called 0.mp4
        "no duplicate of another post's video": 1,  # again.mp4; 0.mp4 stays
        "labels with at least 2 videos": 1,
    }
    assert sorted(read_manifest(out).clips.column("video").to_pylist()) == ["0.mp4", "2.mp4", "3.mp4"]
    pairs = [(pair["source"], pair["target"]) for pair in corpus.duplicates.to_pylist()]
    assert pairs == [("1.mp4", "kinetics: 0.mp4"), ("again.mp4", "0.mp4")]
    failed = [(row["role"], row["video"]) for row in pq.read_table(out / "quarantine.parquet").to_pylist()]
    assert failed == [("kinetics", "damaged.mp4"), ("source", "broken.mp4")]
    html, plain = page.read_text(), text.read_text()
    assert html.count("data:image/jpeg") == 3  # an example, and both duplicates
    assert "catching a fish" in html
    assert "1.mp4 = kinetics: 0.mp4" in plain
    assert "duplicate of a target&#x27;s video" in html

    before = contents(out)
    told: list[tuple[str, int, int]] = []
    again = build_recipe(config, out, num_workers=2, on_progress=lambda *what: told.append(what))
    write_corpus_report(again, config, out, 2)
    assert contents(out) == before
    decoding = [done for what, done, _ in told if what.startswith("codes")]
    assert decoding
    assert 0 not in decoding  # all shards were there from the first on


def test_corpora_that_share_their_work_decode_the_same_targets_once(config: CorpusConfig, tmp_path: Path) -> None:
    work = tmp_path / "work"
    build_recipe(config, tmp_path / "first", work=work, num_workers=1)
    assert not (tmp_path / "first" / "work").exists()
    made = {path: path.stat().st_mtime_ns for path in (work / "target-codes").iterdir()}
    assert made
    other = replace(config, name="other", within=False, min_videos=1)
    shared = build_recipe(other, tmp_path / "second", work=work, num_workers=1)
    assert {path: path.stat().st_mtime_ns for path in (work / "target-codes").iterdir()} == made
    alone = build_recipe(other, tmp_path / "alone", num_workers=1)
    assert shared.duplicates == alone.duplicates
    assert shared.manifest.clips == alone.manifest.clips


def test_what_is_lost_on_the_way_is_made_again(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build_recipe(config, out, num_workers=1)
    before = contents(out)
    for number, path in enumerate(sorted(out.rglob("*.parquet"))):
        if number % 2 == 0:
            path.unlink()
    (out / "manifest.json").unlink()
    build_recipe(config, out, num_workers=1)
    assert contents(out) == before


def test_without_targets_nothing_is_decoded(config: CorpusConfig, tmp_path: Path) -> None:
    corpus = build_recipe(replace(config, targets=(), within=False), tmp_path / "corpus")
    assert len(corpus.manifest.clips) == 6  # also the broken one, which nobody looked at
    assert [path.name for path in (tmp_path / "corpus/work").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dedup": "strict"}, "dedup"),
        ({"shard_videos": 0}, "shard_videos is 0"),
        ({"targets": (Path("nowhere"),)}, r"nowhere/manifest\.json: not found"),
        ({"media_root": Path("nowhere")}, "nowhere: no such folder"),
        ({"min_videos": 60}, "no label has 60 videos"),
    ],
)
def test_a_mistake_is_named(config: CorpusConfig, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_recipe(replace(config, **changes), tmp_path / "corpus")  # type: ignore[arg-type]


def test_there_is_one_line_where_no_ray_cluster_is(
    config: CorpusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("ray.init", _refuse)
    with pytest.raises(InputError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        build_recipe(config, tmp_path / "corpus", engine="ray")


def _refuse(**_: object) -> None:
    raise ConnectionError("nobody there")

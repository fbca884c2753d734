"""What became of a corpus's posts, as a page and as text: what came in, what each rule dropped, labels, examples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from tubelet.corpus.overlap import spread, spread_line
from tubelet.corpus.pipeline import Corpus, CorpusConfig
from tubelet.corpus.rules import RuleCount, rule_lines
from tubelet.corpus.strips import Row, evenly, strips
from tubelet.data.manifest import read_manifest
from tubelet.evals.page import Still, facts_html, figure_html, page_html, still_html, table_html, write_page
from tubelet.records import whole_file

NUM_LABELS = 30
"""Labels that are listed, most frequent first; beside them as many of the rarest."""
NUM_EXAMPLES = 8
"""Labels of which a video is shown, from the most frequent to the rarest in equal steps."""
NUM_DUPLICATES = 8
WIDTH, HEIGHT = 640, 260


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Strips of frames, each with its caption."""

    examples: tuple[Still, ...]
    duplicates: tuple[Still, ...]


def write_corpus_report(corpus: Corpus, config: CorpusConfig, out: Path, num_workers: int) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.txt``; return both.

    Args:
        corpus: What was built.
        config: From what.
        out: Folder of the manifest.
        num_workers: Processes that read the frames to show.
    """
    pictures = _pictures(corpus, config, num_workers)
    page = write_page(out / "report.html", _page(corpus, pictures))
    text = out / "report.txt"
    with whole_file(text) as file:
        file.writelines(f"{line}\n" for line in report_lines(corpus))
    return page, text


def report_lines(corpus: Corpus) -> list[str]:
    """Return the report as text."""
    report = corpus.matches.report
    counts = _label_counts(corpus)
    lines = [f"posts: {', '.join(name for name, _ in report.sources)}", "", *rule_lines(report.rules), ""]
    lines += [spread_line(spread(corpus.manifest.name, [count for _, count in counts])), ""]
    lines += [f"{'videos':>13}  label"] + [f"{count:>13,}  {name}" for name, count in counts[:NUM_LABELS]]
    if len(counts) > NUM_LABELS:
        lines.append(f"{'':13}  ... and {len(counts) - NUM_LABELS:,} more")
    lines += ["", f"videos that could not be decoded: {corpus.quarantine.num_rows:,} (quarantine.parquet)"]
    lines += [f"{number:>13,}  {role}: {reason}" for (role, reason), number in _reasons(corpus)[:20]]
    lines += ["", f"pairs of duplicates: {corpus.duplicates.num_rows:,} (duplicates.parquet)"]
    shown = corpus.duplicates.slice(0, 20).to_pylist()
    lines += [
        f"  {pair['source']} = {pair['target']}  overlap {pair['overlap']:.2f}, in step for {pair['run_seconds']:.1f} s"
        for pair in shown
    ]
    return lines


def _label_counts(corpus: Corpus) -> list[tuple[str, int]]:
    """Return the labels with their videos, most first."""
    kept = [label for label in corpus.matches.report.labels if label.kept]
    return sorted(((label.name, label.num_assigned) for label in kept), key=lambda found: (-found[1], found[0]))


def _reasons(corpus: Corpus) -> list[tuple[tuple[str, str], int]]:
    """Return (role, reason) with the number of its videos, most first; what differs from file to file is left out."""
    rows = zip(corpus.quarantine.column("role").to_pylist(), corpus.quarantine.column("reason").to_pylist())
    found = Counter((role, reason.split(" at ")[0]) for role, reason in rows)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _pictures(corpus: Corpus, config: CorpusConfig, num_workers: int) -> Pictures:
    examples = _example_videos(corpus)
    pairs = corpus.duplicates.to_pylist()
    pairs = [pairs[place] for place in _spread(len(pairs), NUM_DUPLICATES)]
    roots = {manifest.name: manifest.media_root for manifest in map(read_manifest, config.targets)}
    wanted: list[Sequence[Row]] = [[Row(config.media_root, video, evenly(seconds))] for _, video, seconds in examples]
    for pair in pairs:
        role, _, name = pair["target"].partition(": ")
        root, target = (roots[role], name) if role in roots else (config.media_root, pair["target"])
        span = np.array(evenly(max(pair["run_seconds"], 0.5)))
        times = ((pair["source"], config.media_root, "source"), (target, root, "target"))
        wanted.append(
            [Row(place, video, tuple((span + pair[f"{side}_start_seconds"]).tolist())) for video, place, side in times]
        )
    made = strips(wanted, num_workers)
    shown = [
        Still(image=image, caption=f"{label}: {video}", alt=f"frames of a video tagged {label}")
        for (label, video, _), image in zip(examples, made)
        if image is not None
    ]
    same = [
        Still(
            image=image,
            caption=f"{pair['source']} (above, dropped) and {pair['target']}: {100 * pair['overlap']:.0f} % of its "
            f"frames match, in step for {pair['run_seconds']:.1f} s",
            alt="frames of two videos that show the same, one above the other",
        )
        for pair, image in zip(pairs, made[len(examples) :])
        if image is not None
    ]
    return Pictures(examples=tuple(shown), duplicates=tuple(same))


def _example_videos(corpus: Corpus) -> list[tuple[str, str, float]]:
    """Return (label, video, seconds): the first video of labels from the head to the tail."""
    names = corpus.matches.label_space.names
    counts = [name for name, count in _label_counts(corpus) if count]
    wanted = [counts[place] for place in _spread(len(counts), NUM_EXAMPLES)]
    videos = corpus.matches.videos
    found: dict[str, tuple[str, float]] = {}
    for batch in videos.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            for label in row["labels"]:
                if names[label] in wanted:
                    found.setdefault(names[label], (row["video"], row["duration_seconds"]))
        if len(found) == len(wanted):
            break
    return [(name, *found[name]) for name in wanted if name in found]


def _spread(number: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` places among ``number``, the first, the last and in equal steps between them."""
    return sorted(set(np.linspace(0, number - 1, wanted).astype(int).tolist())) if number else []


def _page(corpus: Corpus, pictures: Pictures) -> str:
    report = corpus.matches.report
    first = next((rule.before for rule in report.rules), 0)
    num_videos, num_labels = corpus.matches.videos.num_rows, len(corpus.matches.label_space)
    lead = f"Of {first:,.0f} posts {num_videos:,} videos are left, under {num_labels:,} labels."
    if corpus.duplicates.num_rows:
        lead += f" {len(set(corpus.duplicates.column('source').to_pylist())):,} videos were dropped as duplicates."
    parts = [
        "<h2>What each rule dropped</h2>",
        _rules_table(report.rules),
        "<h2>Labels</h2>",
        figure_html(
            "Share of the videos that the labels have together, rarest first (paper B, Fig. 3).", _curve(corpus)
        ),
        _labels_table(corpus),
        "<h2>Examples, from the most frequent label to the rarest</h2>",
        _stills(pictures.examples, "No video could be shown."),
        "<h2>Duplicates</h2>",
        _stills(pictures.duplicates, "None found." if not corpus.duplicates.num_rows else "None could be shown."),
        "<h2>Videos that could not be decoded</h2>",
        _quarantine(corpus),
        "<h2>What came in</h2>",
        facts_html([*_sources(corpus), *_settings(corpus)]),
    ]
    return page_html(f"Corpus {corpus.manifest.name}", lead, "\n".join(parts))


def _rules_table(rules: Sequence[RuleCount]) -> str:
    rows = []
    for rule in rules:
        numbers = [f"{n:,.0f}" for n in (rule.before, rule.after, rule.dropped)]
        rows.append(
            (rule.rule, f"first dropped: {rule.first_dropped}" if rule.first_dropped else "", [rule.unit, *numbers])
        )
    return table_html(
        "What is true of everything that is kept, in the order of the rules.",
        ["rule", "of", "before", "after", "dropped"],
        rows,
    )


def _labels_table(corpus: Corpus) -> str:
    counts = _label_counts(corpus)
    caught = {label.name: label for label in corpus.matches.report.labels}
    shown = counts if len(counts) <= 2 * NUM_LABELS else counts[:NUM_LABELS] + counts[-NUM_LABELS:]
    rows = [
        (name, "", [f"{count:,}", f"{caught[name].num_videos:,}", f"{caught[name].num_hashtags:,}"])
        for name, count in shown
    ]
    left_out = len(counts) - len(shown)
    caption = "Videos that got the label; videos with a hashtag of it; hashtags that mean it."
    caption += f" {left_out:,} labels between head and tail are not shown." if left_out else ""
    return table_html(caption, ["label", "videos", "with a hashtag", "hashtags"], rows)


def _curve(corpus: Corpus) -> str:
    counts = np.sort(np.array([count for _, count in _label_counts(corpus)], dtype=np.float64))
    shares = np.concatenate([[0.0], np.cumsum(counts) / max(counts.sum(), 1.0)])
    across = np.linspace(0, 1, len(shares))
    points = " ".join(
        f"{52 + x * (WIDTH - 62):.1f},{HEIGHT - 30 - y * (HEIGHT - 40):.1f}" for x, y in zip(across, shares)
    )
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = HEIGHT - 30 - share * (HEIGHT - 40)
        parts.append(f'<line x1="52" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>')
        parts.append(_svg_text(46, y + 4, "end", f"{100 * share:.0f} %"))
    parts += [_svg_text(52, HEIGHT - 8, "start", "rarest"), _svg_text(WIDTH - 10, HEIGHT - 8, "end", "most frequent")]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="cumulative share of videos over labels">'
        f'{"".join(parts)}<polyline class="line c0" points="{points}"/></svg>'
    )


def _svg_text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="var(--soft)">{text}</text>'


def _stills(stills: Sequence[Still], otherwise: str) -> str:
    if not stills:
        return f"<p>{escape(otherwise)}</p>"
    return f'<div class="stills">{"".join(map(still_html, stills))}</div>'


def _quarantine(corpus: Corpus) -> str:
    reasons = _reasons(corpus)
    if not reasons:
        return "<p>None.</p>"
    rows = [(reason, role, [f"{number:,}"]) for (role, reason), number in reasons[:NUM_LABELS]]
    return table_html("Each by name in quarantine.parquet.", ["reason", "videos"], rows)


def _sources(corpus: Corpus) -> list[tuple[str, str]]:
    sources = corpus.matches.report.sources
    named = [(name, f"{size:,} bytes") for name, size in sources[:NUM_LABELS]]
    return named + ([("further files", f"{len(sources) - NUM_LABELS:,}")] if len(sources) > NUM_LABELS else [])


def _settings(corpus: Corpus) -> list[tuple[str, str]]:
    report = corpus.matches.report
    return [
        ("seed labels", f"{len(report.labels):,}"),
        ("hashtags of more than one label", f"{report.num_ambiguous_hashtags:,}"),
        ("videos with more than one label", f"{report.num_videos_several_labels:,}"),
        ("label variants too long to permute", f"{report.num_orders_left_out:,}"),
    ]

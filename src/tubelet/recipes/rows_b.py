"""Every run of paper B's tables as a row of data; ``paper_b`` turns one into runs.

How the tables of A.4 are read, where they do not say it (inferred; only so do lists and lengths agree):

- "LR per GPU" times 64, 16 nodes of 4 GPUs, is the rate after the warm-up, for 64 times the batch per GPU.
- "LR steps" [a, b, ...] are consecutive periods after the warm-up; the rate falls to a tenth at the end of each that
  ends before the total length: 58 = 16 of warm-up + 16 + 16 + 10, 27 = 9 + 9 + 9, 16 = 6 + 6 + 4 or 12 + 4.
- Table 12 gives no batch: 8 frames (4.3.2), so 16 clips per GPU as everywhere else with 8.

Where the paper contradicts itself: EPIC-Kitchens has about 28K training videos in 3.2 and about 20K in 4.4; the text
cites Table 16 for results that stand in Table 6; IG-Verb+Noun has 10,653 labels in Table 1 and 10,563 in Table 10;
about 29K videos were removed as duplicates in 3.2, about 20K in A.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tubelet.types import InputError, did_you_mean

KINETICS, SOMETHING, SPORTS = "kinetics400", "something_v1", "sports1m"
EPIC = {"verb": "epic55_verb", "noun": "epic55_noun"}
SIZES = ("500k", "1m", "5m", "10m", "19m", "65m")
"""Videos of the subsets of IG-Kinetics (4.1.1)."""
VERB_NOUN_LABELS = (675, 1350, 2700, 5400, 10653)
"""4.2.2. Table 10 prints 10563 for the last."""
KINETICS_LABELS = (20, 45, 90, 180, 359)
LABEL_SPACES = ("ig_kinetics_19m", "ig_verb_19m", "ig_noun_19m", "ig_verb_noun_19m", SPORTS)
"""Sources of Fig. 2."""
LENGTHS_OF_VIDEOS = {"short_5m": 57.4, "long_5m": 60.6, "long_500k": 50.6, "long_center_5m": 51.4}
"""Sources of Table 3, with its numbers."""
BIGGEST = "ig_kinetics_65m"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Columns of a table of A.4."""

    num_epochs: float
    """"Total length"."""
    periods: tuple[float, ...]
    """"LR steps"."""
    warmup: float = 0.0
    """Epochs; "we did not use warmup for EPIC-Kitchens and Something-something-v1"."""


KINETICS_58 = Schedule(num_epochs=58, warmup=16, periods=(16, 16))
KINETICS_96 = Schedule(num_epochs=96, warmup=20, periods=(20, 20, 20))
EPIC_27 = Schedule(num_epochs=27, periods=(9, 9, 9))
SOMETHING_16 = Schedule(num_epochs=16, periods=(6, 6))
SCRATCH_45 = Schedule(num_epochs=45, warmup=10, periods=(10, 10, 10))
"""Not in the paper: R(2+1)D's own training from scratch (Tran et al., CVPR 2018, 4.1)."""
SCRATCH_RATE = 0.01
FROM_TRAN = "training from scratch is not in A.4: as in Tran et al. (CVPR 2018, 4.1)"
FROM_TABLES_9_AND_15 = "no table has it: Table 9's settings (EPIC-Kitchens: 15's), for the last layer alone"
FROM_TABLE_8 = "no table has it: Table 8's settings, for the last layer alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowB:
    """One line of a table: a pre-training, then a fine-tuning on a target."""

    name: str
    """``<table>-<what>``; ``f2`` and ``3`` are Fig. 2 and Table 3. EPIC-Kitchens has a row for verbs and one for nouns,
    whose models are trained apart; ``tubelet epic-eval`` combines their scores into actions."""
    source: str | None
    """Folder of the manifest that is pre-trained on; None = from scratch."""
    target: str
    schedule: Schedule
    rate: float
    """"LR per GPU"."""
    model: str = "r2plus1d_34"
    num_frames: int = 8
    source_model: str | None = None
    """Of the pre-training, where it is an image network that is inflated (4.3.2)."""
    fc_only: bool = False
    """Whether the paper trains the last layer alone."""
    paper: float | None = None
    """Its number in per cent, where text or a table has it: top-1, on EPIC-Kitchens that of the validation kitchens
    (Table 6)."""
    inferred: str = ""
    """Where the settings come from if no table has them."""


def _table_8() -> list[RowB]:
    """Return the sizes of IG-Kinetics, at random and with the tail kept, all layers and (Fig. 1) the last alone."""
    papers = {("65m", ""): 74.8, ("65m", "-fc"): 73.0}
    rows = [
        RowB(
            name=f"8-{size}{sampling}{layers}",
            source=f"ig_kinetics_{size}{sampling.replace('-', '_')}",
            target=KINETICS,
            schedule=KINETICS_58,
            rate=0.0003 if size in ("500k", "1m", "5m") else 0.00003,
            fc_only=bool(layers),
            paper=papers.get((size, layers)),
            inferred=FROM_TABLE_8 if layers else "",
        )
        for size in SIZES
        for sampling in ("", "-tail")
        if size != "65m" or not sampling
        for layers in ("", "-fc")
    ]
    return [*rows, _scratch("8-scratch", "r2plus1d_34", 8, 67.0)]


def _scratch(name: str, model: str, num_frames: int, paper: float) -> RowB:
    return RowB(
        name=name,
        source=None,
        target=KINETICS,
        schedule=SCRATCH_45,
        rate=SCRATCH_RATE,
        model=model,
        num_frames=num_frames,
        paper=paper,
        inferred=FROM_TRAN,
    )


def _table_9() -> list[RowB]:
    found = {18: (76.0, 69.3), 34: (78.2, 69.6), 101: (79.1, 71.7), 152: (79.9, 72.0)}
    rows = []
    for depth, (paper, scratch) in found.items():
        model = f"r2plus1d_{depth}"
        rows += [
            RowB(
                name=f"9-{depth}",
                source=BIGGEST,
                target=KINETICS,
                schedule=KINETICS_58,
                rate=0.00003,
                model=model,
                num_frames=32,
                paper=paper,
            ),
            _scratch(f"9-scratch-{depth}", model, 32, scratch),
        ]
    return rows


def _tables_10_and_11() -> list[RowB]:
    found = [(10, "ig_verb_noun", VERB_NOUN_LABELS), (11, "ig_kinetics", KINETICS_LABELS)]
    return [
        RowB(
            name=f"{table}-{number}",
            source=f"{source}_1m_{number}_labels",
            target=KINETICS,
            schedule=KINETICS_58,
            rate=0.0003,
        )
        for table, source, numbers in found
        for number in numbers
    ]


def _table_12() -> list[RowB]:
    columns = [
        ("imagenet", "imagenet", "r2d_18", Schedule(num_epochs=167, warmup=20, periods=(40, 40, 40)), 0.01, 66.5),
        ("images-19m", "ig_kinetics_19m_images", "r2d_18", KINETICS_96, 0.00025, 67.0),
        ("images-250m", "ig_kinetics_250m_images", "r2d_18", KINETICS_96, 0.0025, 67.0),
        ("frames", "ig_kinetics_19m_frames", "r2d_18", KINETICS_96, 0.0005, 67.5),
        ("clips", "ig_kinetics_19m", None, Schedule(num_epochs=188, warmup=40, periods=(40, 40, 40)), 0.01, 71.7),
    ]
    rows = [
        RowB(
            name=f"12-{name}",
            source=source,
            target=KINETICS,
            schedule=schedule,
            rate=rate,
            model="r3d_18",
            source_model=image_model,
            paper=paper,
        )
        for name, source, image_model, schedule, rate, paper in columns
    ]
    return [*rows, _scratch("12-scratch", "r3d_18", 8, 65.6)]


def _table_13() -> list[RowB]:
    columns = [("34-sports1m", 34, SPORTS, 71.7), ("34", 34, BIGGEST, 79.1), ("152", 152, BIGGEST, 80.5)]
    return [
        RowB(
            name=f"13-{name}",
            source=source,
            target=KINETICS,
            schedule=KINETICS_58,
            rate=0.00003,
            model=f"r2plus1d_{depth}",
            num_frames=32,
            paper=paper,
        )
        for name, depth, source, paper in columns
    ]


def _epic(
    name: str,
    source: str,
    rates: tuple[float, float],
    depth: int,
    num_frames: int,
    papers: tuple[float | None, float | None] = (None, None),
) -> list[RowB]:
    """Return the row of the verbs and that of the nouns, with the rate and the paper's number of each."""
    return [
        RowB(
            name=f"{name}-{part}",
            source=source,
            target=target,
            schedule=EPIC_27,
            rate=rate,
            model=f"r2plus1d_{depth}",
            num_frames=num_frames,
            paper=paper,
        )
        for (part, target), rate, paper in zip(EPIC.items(), rates, papers, strict=True)
    ]


def _tables_14_to_16() -> list[RowB]:
    large = (0.00025, 0.0001)
    by_size = {"500k": (0.0005, 0.0005), "1m": (0.0005, 0.0005), "5m": (0.0005, 0.0001)}
    by_depth = {18: (0.00005, 0.00025), 34: (0.000025, 0.00025), 101: (0.000025, 0.0001), 152: (0.00005, 0.0001)}
    weak = (0.0025, 0.0025)
    rows = [
        row for size in SIZES for row in _epic(f"14-{size}", f"ig_kinetics_{size}", by_size.get(size, large), 34, 8)
    ]
    rows += _epic("14-kinetics", KINETICS, large, 34, 8)
    rows += [row for depth, rates in by_depth.items() for row in _epic(f"15-{depth}", BIGGEST, rates, depth, 32)]
    rows += _epic("16-34-kinetics", KINETICS, weak, 34, 32, (46.8, 25.6))
    rows += _epic("16-34-sports1m", SPORTS, weak, 34, 32, (50.0, 24.8))
    rows += _epic("16-34", BIGGEST, by_depth[34], 34, 32, (56.6, 32.7))
    return rows + _epic("16-152", BIGGEST, by_depth[152], 152, 32, (56.6, 34.5))


def _table_17() -> list[RowB]:
    columns = [
        ("34-kinetics", 34, KINETICS, 0.001, 45.2, SOMETHING_16),
        ("34-sports1m", 34, SPORTS, 0.001, 45.7, SOMETHING_16),
        ("34", 34, BIGGEST, 0.00025, 49.7, SOMETHING_16),
        ("152", 152, BIGGEST, 0.00013, 51.0, Schedule(num_epochs=16, periods=(12,))),
    ]
    return [
        RowB(
            name=f"17-{name}",
            source=source,
            target=SOMETHING,
            schedule=schedule,
            rate=rate,
            model=f"r2plus1d_{depth}",
            num_frames=32,
            paper=paper,
        )
        for name, depth, source, rate, paper, schedule in columns
    ]


def _last_layer_alone() -> list[RowB]:
    """Return Fig. 2 (32 frames, 4.2.1) and Table 3 (whose clip length is not given: 8, as in the other ablations)."""
    targets = {
        "kinetics": (KINETICS, KINETICS_58, 0.00003),
        "verb": (EPIC["verb"], EPIC_27, 0.000025),
        "noun": (EPIC["noun"], EPIC_27, 0.00025),
    }
    rows = [
        RowB(
            name=f"f2-{source.removesuffix('_19m').replace('_', '-')}-{what}",
            source=source,
            target=target,
            schedule=schedule,
            rate=rate,
            num_frames=32,
            fc_only=True,
            inferred=FROM_TABLES_9_AND_15,
        )
        for source in LABEL_SPACES
        for what, (target, schedule, rate) in targets.items()
    ]
    return rows + [
        RowB(
            name=f"3-{source.replace('_', '-')}",
            source=source,
            target=KINETICS,
            schedule=KINETICS_58,
            rate=0.0003,
            fc_only=True,
            paper=paper,
            inferred=FROM_TABLE_8,
        )
        for source, paper in LENGTHS_OF_VIDEOS.items()
    ]


ROWS_B: Mapping[str, RowB] = {
    row.name: row
    for rows in (
        _last_layer_alone(),
        _table_8(),
        _table_9(),
        _tables_10_and_11(),
        _table_12(),
        _table_13(),
        _tables_14_to_16(),
        _table_17(),
    )
    for row in rows
}


def find_row_b(name: str) -> RowB:
    """Return a row by its name; raise ``InputError`` with the nearest."""
    if name not in ROWS_B:
        raise InputError(
            f"paper B has no row {name!r}{did_you_mean(name, ROWS_B)}; rows are named as 8-65m, 14-1m-verb"
        )
    return ROWS_B[name]

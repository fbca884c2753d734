"""Where label spaces start, what they share, and how their videos are spread."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matching import match_posts

from tubelet.corpus.hashtags import VerbNouns, expand_label, expand_labels, noun_forms, verb_forms
from tubelet.corpus.match import count_hashtags
from tubelet.corpus.overlap import draw_spread, overlap, read_words_of_labels, spread, spread_line
from tubelet.corpus.seeds import (
    hashtag_lines,
    kinetics_verbs,
    noun_hashtags,
    read_seeds,
    verb_hashtags,
    verb_noun_pairs,
    write_hashtags,
)
from tubelet.corpus.words import read_words, spellings
from tubelet.labels import LabelSpace
from tubelet.types import InputError


def tags_of(found, label: str) -> set[str]:
    column = found.label_space.index(label)
    return {row["tag"] for row in found.table.to_pylist() if row["label"] == column}


def test_nouns_are_the_hashtags_of_all_lemmas_not_the_synsets() -> None:
    nouns = noun_hashtags()
    names = set(nouns.label_space.names)
    assert {"greatwhiteshark", "whiteshark", "maneater", "carcharodoncarcharias"} <= names  # n01484850, one synset
    assert len(nouns.label_space) > 1428 > len(read_words().imagenet_nouns) == 1000
    crane = [synset for synset, lemmas in read_words().imagenet_nouns.items() if "crane" in lemmas]
    assert len(crane) == 2  # a bird and a machine
    assert tags_of(nouns, "crane") == {"crane", "cranes"}
    assert not {"tench", "tenches"} - tags_of(nouns, "tench")


def test_verbs_are_those_of_kinetics_and_verbnet() -> None:
    verbs = verb_hashtags()
    names = set(verbs.label_space.names)
    assert {"abseil", "snowkite", "juggle"} & names  # of Kinetics alone or both
    assert {"abandon", "back off"} <= names  # of VerbNet
    assert set(kinetics_verbs()) <= names
    assert {"arrange", "bake", "ride", "throw", "swim"} <= set(kinetics_verbs())
    assert not {"evening", "a", "ing"} & set(kinetics_verbs())
    assert tags_of(verb_hashtags(["burning"]), "burn") == {"burn", "burning", "burns"}
    assert tags_of(verb_hashtags(["colour"]), "colour") >= {"colour", "coloring", "colours", "colors"}
    assert tags_of(verb_hashtags(["clean up"]), "clean up") == {"cleanup", "cleaningup", "cleansup"}


def test_pairs_of_verbs_and_nouns_are_found_in_both_orders() -> None:
    pairs = verb_noun_pairs(["burning", "hold"], ["candle", "hold"])
    in_paper = "burncandle burncandles burningcandle burningcandles candleburn candlesburn candleburning candlesburning"
    for tag in in_paper.split():  # paper B, A.1
        assert pairs.pairs(tag) == [("burn", "candle")]
    assert pairs.pairs("holdhold") == [("hold", "hold")]
    assert pairs.pairs("burningcandlesticks") == pairs.pairs("candle") == pairs.pairs("") == []


def test_verbs_and_nouns_of_several_words() -> None:
    assert verb_forms("taking off") == {"takingoff", "takeoff"}
    assert noun_forms("rain boot") == {"rainboot", "rainboots"}
    with pytest.raises(InputError, match="has no word"):
        noun_forms("!")


def test_a_tag_that_reads_two_ways_keeps_both() -> None:
    pairs = VerbNouns(
        name="p",
        verbs={"art": frozenset(["art"]), "arts": frozenset(["art", "arts"])},
        nouns={"show": frozenset(["show"]), "sshow": frozenset(["sshow"])},
    )
    assert pairs.pairs("artsshow") == [("art", "show"), ("art", "sshow"), ("arts", "show")]


def test_labels_of_pairs_are_those_that_posts_use(tmp_path: Path) -> None:
    tags = [
        ["burningcandle"],
        ["candlesburn", "sun"],
        ["burncandle", "liftingbox"],
        ["boxlifting"],
        ["burn"],
        ["\uff22\uff35\uff32\uff2ecandles"],
    ]
    posts = pa.table({"video": [f"{k}" for k in range(6)], "tags": tags, "duration_seconds": [1.0] * 6})
    pq.write_table(posts, tmp_path / "posts.parquet")
    seeds = verb_noun_pairs(["burning", "lifting", "throw"], ["candle", "box", "hat"])
    matches = match_posts(tmp_path / "posts.parquet", seeds, min_videos=3)
    assert matches.label_space.names == ("burn candle",)
    assert {label.name: label.num_videos for label in matches.report.labels} == {"burn candle": 4, "lift box": 2}
    assert matches.videos.column("video").to_pylist() == ["0", "1", "2", "5"]


def test_a_verb_that_is_no_ing_form_gets_its_forms() -> None:
    assert {"kickingball", "kicksball", "ballkicking"} <= set(expand_label("kick_ball").hashtags)
    assert {"applyeyemakeup", "applyingeyemakeup", "eyemakeupapply"} <= set(expand_label("ApplyEyeMakeup").hashtags)
    assert {"choppingboard", "boardchopping"} <= set(expand_label("board:chopping").hashtags)


def test_spellings_of_one_word() -> None:
    assert spellings("colouring") == {"colouring", "coloring"}
    assert spellings("organises") == {"organises", "organizes"}
    assert spellings("disco") == {"disco"}  # not "disc"
    assert spellings("rise") == {"rise"}
    assert {"eatdonuts", "doughnuteating"} <= set(expand_label("eating doughnuts").hashtags)


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("labels.txt", "catching a fish\n\nriding a bike\n", ("catching a fish", "riding a bike")),
        ("labels.csv", "label,hashtag\nfish,#CatchFish\nbike,bikeride\nfish,fishing\n", ("fish", "bike")),
    ],
)
def test_a_users_own_list(tmp_path: Path, name: str, text: str, labels: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text)
    seeds = read_seeds(str(tmp_path / name))
    assert seeds.label_space.names == labels
    assert seeds.label_space.name == "labels"
    assert "catchfish" in seeds.table.column("tag").to_pylist()


def test_published_label_spaces_and_pairs_by_name(tmp_path: Path) -> None:
    assert len(read_seeds("kinetics400").label_space) == 400
    assert isinstance(read_seeds("verb-nouns"), VerbNouns)
    (tmp_path / "verbs.txt").write_text("burning\n")
    (tmp_path / "nouns.txt").write_text("candle\n")
    pairs = read_seeds(str(tmp_path / "verbs.txt"), nouns=str(tmp_path / "nouns.txt"))
    assert pairs.pairs("burncandle") == [("burn", "candle")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere", None, "nowhere: no such file, nor a list"),
        ("nuons", None, "did you mean 'nouns'"),
        ("labels.txt", "\n\n", "labels.txt: no classes"),
        ("labels.txt", "a b\na b\n", "must be unique"),
        ("labels.txt", "!!!\n", "has no word"),
        ("labels.csv", "label,tag\na,b\n", "no column 'hashtag'"),
        ("labels.csv", "label,hashtag\na,b\na,2019\n", "labels.csv, line 3: expected a label and a hashtag"),
        ("labels.csv", "label,hashtag\n", "labels.csv: no rows"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_seeds(str(tmp_path / name) if text is not None else name)
    assert "\n" not in str(caught.value)


def test_hashtags_can_be_pruned_and_given_back(tmp_path: Path) -> None:
    tags = [["catchfish"], ["fishcatching"], ["catchfish", "fishcatching"]]
    posts = pa.table({"video": ["a", "b", "c"], "tags": tags, "duration_seconds": [1.0] * 3})
    pq.write_table(posts, tmp_path / "posts.parquet")
    counts = count_hashtags(
        tmp_path / "posts.parquet", expand_labels(LabelSpace(name="s", names=("catching a fish", "juggling balls")))
    )
    lines = hashtag_lines(counts, top=1)
    assert "3  catching a fish: #catchfish 2 #fishcatching 2 (" in lines[1]
    assert lines[2] == "... and 1 more labels"
    assert hashtag_lines(counts, label="catching a fish")[0].split() == ["2", "#catchfish"]
    with pytest.raises(InputError, match="no label 'catching a fisch'"):
        hashtag_lines(counts, label="catching a fisch")
    write_hashtags(tmp_path / "tags.csv", counts.table)
    with (tmp_path / "tags.csv").open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[1] != "fishcatching"]
    with (tmp_path / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    pruned = match_posts(tmp_path / "posts.parquet", read_seeds(str(tmp_path / "tags.csv")), min_videos=1)
    assert pruned.videos.column("video").to_pylist() == ["a", "c"]


def space(name: str, *labels: str):
    return expand_labels(LabelSpace(name=name, names=labels))


def test_overlap_is_the_share_of_the_targets_labels() -> None:
    found = overlap(
        space("corpus", "wash", "cut", "hold"), space("target", "washing", "holding", "peel", "mix", "cuts")
    )
    assert dict(found.shared) == {"washing": ("wash",), "holding": ("hold",), "cuts": ("cut",)}
    assert found.missing == ("peel", "mix")
    assert found.share == pytest.approx(0.6)
    with pytest.raises(InputError, match="no labels to compare"):
        overlap(space("empty"), space("target", "wash"))


def test_words_beside_a_label_count_too(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("id,key,instances\n0,take,\"['pick-up', 'grab']\"\n1,tap,\"['tap:water']\"\n")
    grab = space("corpus", "grabbing", "watertap")
    alone = read_words_of_labels(tmp_path / "classes.csv", column="key")
    assert overlap(grab, alone).share == 0
    words = read_words_of_labels(tmp_path / "classes.csv", column="key", synonyms="instances")
    assert dict(overlap(grab, words).shared) == {"take": ("grabbing",), "tap": ("watertap",)}
    with pytest.raises(InputError, match="no column 'name'"):
        read_words_of_labels(tmp_path / "classes.csv", column="name")


def test_head_and_tail_by_hand(tmp_path: Path) -> None:
    found = spread("set", [1, 5, 1, 3])
    assert found.counts == (5, 3, 1, 1)
    assert found.share_of_head == (0.5, 0.5, 0.8)  # at least one label; half of the labels have 8 of 10
    assert found.num_labels_half == 1
    # Mean difference of all 16 pairs: 28 / 16; Gini = that / (2 * mean of 2.5).
    assert found.gini == pytest.approx(28 / 16 / 5)
    assert spread("even", [4, 4, 4]).gini == pytest.approx(0)
    assert "10 videos of 4 labels; most 5, median 2, least 1" in spread_line(found)
    with pytest.raises(InputError, match="no videos"):
        spread("none", [0, 0, 0])
    draw_spread({"set": [1, 5, 1, 3], "other": [2, 2]}, tmp_path / "f" / "spread.png")
    assert (tmp_path / "f" / "spread.png").read_bytes().startswith(b"\x89PNG")

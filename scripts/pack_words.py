"""Write the word lists that come with Tubelet (``src/tubelet/corpus/assets/words.json``) from the published ones.

    python scripts/pack_words.py --wordnet dict --verbnet members.csv --imagenet imagenet_class_index.json

``--wordnet``: folder of WordNet 3.0's database files (Debian package wordnet-base: /usr/share/wordnet); ImageNet's ids
are places in that version's ``data.noun``. ``--verbnet``: csv with the column ``verb``, made of VerbNet 3.4's classes.
``--imagenet``: the 1,000 synset ids, ``{"0": ["n01440764", "tench"], ...}``. Licences:
``src/tubelet/corpus/assets/LICENSES.md``.
"""

import argparse
import csv
import json
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "tubelet" / "corpus" / "assets" / "words.json"


def main() -> None:
    """Write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--verbnet", type=Path, required=True)
    parser.add_argument("--imagenet", type=Path, required=True)
    arguments = parser.parse_args()
    verbs, wordnet_verbs = verbnet_verbs(arguments.verbnet), single_words(arguments.wordnet / "index.verb")
    words = {
        "imagenet_nouns": imagenet_nouns(arguments.imagenet, arguments.wordnet / "data.noun"),
        "verbnet_verbs": verbs,
        "other_verbs": sorted(wordnet_verbs - set(verbs)),
        "participles": exceptions(arguments.wordnet / "verb.exc", "ing"),
        "plurals": exceptions(arguments.wordnet / "noun.exc", ""),
    }
    OUT.parent.mkdir(exist_ok=True)
    rows = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in words.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def imagenet_nouns(index: Path, data: Path) -> dict[str, list[str]]:
    """Return the lemmas of each synset, "great white shark" for great_white_shark."""
    wanted = [str(entry[0]) for entry in json.loads(index.read_text()).values()]
    lemmas = {}
    for line in data.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):  # the licence stands in indented lines
            cells = line.split(" ")
            number = int(cells[3], 16)
            lemmas[f"n{cells[0]}"] = [cells[4 + 2 * k].replace("_", " ") for k in range(number)]
    return {synset: lemmas[synset] for synset in wanted}


def verbnet_verbs(path: Path) -> list[str]:
    """Return VerbNet's verbs in lower case, phrasal ones with spaces; proper names (FedEx, December) are left out."""
    with path.open(newline="") as file:
        verbs = {row["verb"].replace("_", " ") for row in csv.DictReader(file)}
    return sorted(verb for verb in verbs if verb == verb.lower())


def single_words(path: Path) -> set[str]:
    """Return the lemmas of one word of a WordNet index."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith(" ")]
    return {word for line in lines if (word := line.split(" ", 1)[0]).isalpha()}


def exceptions(path: Path, ending: str) -> dict[str, str]:
    """Return irregular forms of one word and their lemma: "abetting": "abet"."""
    pairs = [line.split()[:2] for line in path.read_text().splitlines()]
    return {form: lemma for form, lemma in pairs if form.isalpha() and lemma.isalpha() and form.endswith(ending)}


if __name__ == "__main__":
    main()

"""A question that neither paper asks: do weak pre-training and co-finetuning add up?"""

from tubelet.studies.paper_a import BUCKET_COLUMNS, LOCALISE, STAND_INS
from tubelet.studies.plan import Study, arms_of, beats, gains_more

BOTH, WEAK, TOGETHER = "weak start, then co-finetuning", "weak start, then AVA", "co-finetuning from scratch"

PRETRAIN_AND_COFINETUNE = Study(
    name="own-pretrain-cofinetune",
    title="Weak pre-training (B) followed by co-finetuning (A), against each alone",
    paper=None,
    arms=arms_of("paper_a", (BOTH, "5-cofinetune"), (WEAK, "5-transfer"), (TOGETHER, "own-cofinetune")),
    claims=(
        beats(BOTH, WEAK, LOCALISE),
        beats(BOTH, TOGETHER, LOCALISE),
        beats(BOTH, WEAK, "localise tail"),
        beats(BOTH, TOGETHER, "localise tail"),
        gains_more(BOTH, WEAK, "localise tail", "localise head"),
    ),
    quantities=BUCKET_COLUMNS,
    notes=STAND_INS
    + " The weak start is a pre-training on the posts. What is co-finetuned sees six times the clips of "
    "what is trained on AVA alone, other sets' clips among them: the lead is that of more data too.",
)

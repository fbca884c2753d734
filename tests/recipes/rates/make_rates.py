"""Write rates.csv: the learning rate at every epoch of every row of paper B's Tables 8 to 17.

    python tests/recipes/rates/make_rates.py > tests/recipes/rates/rates.csv

It shares nothing with the package: the tables are typed off the paper again, one line per printed line, and the rule is
written down once more. A rate is that of the epoch's first step: in the warm-up, of epochs w, the line from one GPU's
rate to all 64 GPUs' (Goyal et al. 2017), which it reaches at the end; then a tenth for each period that has ended.
"""

# table; rows; total length; LR per GPU (verb / noun); warm-up; LR steps
TABLES = """
8; 500k 1m 5m; 58; 0.0003; 16; 16 16
8; 10m 19m 65m; 58; 0.00003; 16; 16 16
9; 18 34 101 152; 58; 0.00003; 16; 16 16
10; 675 1350 2700 5400 10653; 58; 0.0003; 16; 16 16
11; 20 45 90 180 359; 58; 0.0003; 16; 16 16
12; imagenet; 167; 0.01; 20; 40 40 40
12; images-19m; 96; 0.00025; 20; 20 20 20
12; images-250m; 96; 0.0025; 20; 20 20 20
12; frames; 96; 0.0005; 20; 20 20 20
12; clips; 188; 0.01; 40; 40 40 40
13; 34-sports1m; 58; 0.00003; 16; 16 16
13; 34; 58; 0.00003; 16; 16 16
13; 152; 58; 0.00003; 16; 16 16
14; 500k; 27; 0.0005/0.0005; 0; 9 9 9
14; 1m; 27; 0.0005/0.0005; 0; 9 9 9
14; 5m; 27; 0.0005/0.0001; 0; 9 9 9
14; 10m; 27; 0.00025/0.0001; 0; 9 9 9
14; 19m; 27; 0.00025/0.0001; 0; 9 9 9
14; 65m; 27; 0.00025/0.0001; 0; 9 9 9
14; kinetics; 27; 0.00025/0.0001; 0; 9 9 9
15; 18; 27; 0.00005/0.00025; 0; 9 9 9
15; 34; 27; 0.000025/0.00025; 0; 9 9 9
15; 101; 27; 0.000025/0.0001; 0; 9 9 9
15; 152; 27; 0.00005/0.0001; 0; 9 9 9
16; 34-kinetics; 27; 0.0025/0.0025; 0; 9 9 9
16; 34-sports1m; 27; 0.0025/0.0025; 0; 9 9 9
16; 34; 27; 0.000025/0.00025; 0; 9 9 9
16; 152; 27; 0.00005/0.0001; 0; 9 9 9
17; 34-kinetics; 16; 0.001; 0; 6 6
17; 34-sports1m; 16; 0.001; 0; 6 6
17; 34; 16; 0.00025; 0; 6 6
17; 152; 16; 0.00013; 0; 12
"""
GPUS = 16 * 4


def rate(epoch: int, per_gpu: float, warmup: int, periods: list[int]) -> float:
    """Return the rate as an epoch begins."""
    if epoch < warmup:
        return per_gpu + (per_gpu * GPUS - per_gpu) * epoch / warmup
    ended = 0
    for period in periods:
        warmup += period
        ended += epoch >= warmup
    return per_gpu * GPUS / 10**ended


def main() -> None:
    """Print one line per row."""
    for line in TABLES.strip().splitlines():
        table, rows, total, rates, warmup, periods = (cell.strip() for cell in line.split(";"))
        lengths = [int(period) for period in periods.split()]
        for row in rows.split():
            for part, per_gpu in zip(("-verb", "-noun") if "/" in rates else ("",), rates.split("/"), strict=True):
                values = (rate(epoch, float(per_gpu), int(warmup), lengths) for epoch in range(int(total)))
                print(f"{table}-{row}{part}", *(f"{value:.6g}" for value in values), sep=",")


if __name__ == "__main__":
    main()

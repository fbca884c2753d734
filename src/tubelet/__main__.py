"""``python -m tubelet``, and ``torchrun ... -m tubelet train ...``."""

from tubelet.cli.dispatch import main

if __name__ == "__main__":
    main()

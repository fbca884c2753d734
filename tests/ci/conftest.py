from ci_support import finished_demo
from faulted import faulted_place, faults

__all__ = ["faulted_place", "faults", "finished_demo"]

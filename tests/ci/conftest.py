from ci_support import finished_demo
from faulted import faulted_place, faults
from page_browser import browser, server

__all__ = ["browser", "faulted_place", "faults", "finished_demo", "server"]

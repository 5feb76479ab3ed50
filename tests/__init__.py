"""The suite does the same in every run; C{HYPOTHESIS_PROFILE=default} looks further."""

import os

from hypothesis import settings

settings.register_profile("steady", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

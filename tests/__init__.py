"""The suite. Hypothesis tries the same 30 examples in every run; the same 500 with
C{HYPOTHESIS_PROFILE=thorough}, which C{make test-all} sets; and with C{HYPOTHESIS_PROFILE=random},
which C{make explore} sets, those that failed before and 500 new ones."""

import os
import signal

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

settings.register_profile("steady", max_examples=30, derandomize=True, deadline=None, database=None)
settings.register_profile("thorough", settings.get_profile("steady"), max_examples=500)
settings.register_profile(
    "random",
    max_examples=500,
    derandomize=False,
    deadline=None,
    database=DirectoryBasedExampleDatabase(".hypothesis/examples"),
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A shell has the jobs that a script leaves in the background ignore these, and whatever a test
# starts would inherit that.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

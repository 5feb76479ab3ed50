"""The suite does the same in every run; C{HYPOTHESIS_PROFILE=default} looks further."""

import os
import signal

from hypothesis import settings

settings.register_profile("steady", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A shell has the jobs that a script leaves in the background ignore these, and whatever a test
# starts would inherit that.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

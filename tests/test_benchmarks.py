"""What the benchmarks say of the machine."""

import shutil

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as benchmarks


class MachineTests(SynchronousTestCase):
    """The first line of the figures."""

    def test_servers_that_are_not_installed(self) -> None:
        """They are left out, and nothing fails for want of them."""
        self.patch(shutil, "which", lambda program: None)
        self.assertRegex(benchmarks.machine(), r"^\w+ .* cores, Python .*, SQLite [\d.]+$")

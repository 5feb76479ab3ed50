"""What pytest needs to know of this suite."""

import unittest

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run trial's test cases first: pytest-twisted leaves its reactor running, in which a
    C{twisted.trial} case would find somebody else's sockets."""
    items.sort(key=lambda item: not _is_trial_case(item))


def _is_trial_case(item: pytest.Item) -> bool:
    owner = getattr(item, "cls", None)
    return owner is not None and issubclass(owner, unittest.TestCase)

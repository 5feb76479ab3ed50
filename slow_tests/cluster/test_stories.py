"""The end-to-end tests in which two people meet, with each of them on a node of their own."""

from tests.end_to_end import test_client_pipe, test_people, test_scripts, test_seed_words

from .nodes import TwoNodesTestCase


class PeopleTest(TwoNodesTestCase, test_people.PeopleTest):
    """People with telnet and nc."""


class PipeTest(TwoNodesTestCase, test_scripts.PipeTest):
    """Scripts, each of which finds at one node what another one did at the other."""


class RequestTest(TwoNodesTestCase, test_scripts.RequestTest):
    """Programs that speak JSON; what was not answered at one node is repeated at the other."""


class GoneTest(TwoNodesTestCase, test_scripts.GoneTest):
    """Connections that are reset."""


class SeedWordsTest(TwoNodesTestCase, test_seed_words.SeedWordsTest):
    """The words of the servers that this one grew out of."""


class FollowTests(TwoNodesTestCase, test_client_pipe.FollowTests):
    """The client that prints what others say."""

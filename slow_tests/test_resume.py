"""A JSON session cut off at every byte; C{make test} does it at some of them."""

from tests.faces.line import test_resume


class EveryByteTests(test_resume.ResumeTests):
    """Whatever is cut off where: everything is said once, and every request answered once."""

    stride = 1

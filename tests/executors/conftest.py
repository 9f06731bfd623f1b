"""Assertions of the shared tests are told in full, as those of test files are."""

import pytest

pytest.register_assert_rewrite("tests.executors.conformance")

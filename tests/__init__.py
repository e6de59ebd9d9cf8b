import pytest

pytest.register_assert_rewrite("sacho.testing.conformance")

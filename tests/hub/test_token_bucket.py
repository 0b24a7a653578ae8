"""The token bucket: a mean rate, a burst, and debts."""

from hypothesis import given
from hypothesis import strategies as st

from edge.hub.token_bucket import TokenBucket


def test_a_full_bucket_allows_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(10.0, 5.0, 0)
    assert [bucket.take(0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(100_000_000) for _ in range(2)] == [True, False]


def test_a_debt_is_waited_for() -> None:
    bucket = TokenBucket(10.0, 5.0, 0)
    bucket.spend(25.0, 0)
    assert bucket.level(0) == -20
    assert bucket.wait_s(0) == 2.0
    assert bucket.wait_s(2_000_000_000) == 0.0


@given(
    rate=st.floats(0.1, 1e6),
    size=st.floats(1, 1e6),
    gaps_ns=st.lists(st.integers(0, 10**10), max_size=50),
)
def test_no_more_is_taken_than_the_burst_and_the_rate_allow(
    rate: float, size: float, gaps_ns: list[int]
) -> None:
    bucket, now_ns, taken = TokenBucket(rate, size, 0), 0, 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        taken += bucket.take(now_ns)
        assert taken <= size + rate * now_ns / 1e9 + 1e-6

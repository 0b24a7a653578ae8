"""Options that several commands share."""

from edge.commands.options import services_of


def test_the_default_service_belongs_to_the_default_endpoint() -> None:
    endpoint = "tcp://127.0.0.1:5555"
    assert services_of([endpoint], None) == ["tcp://127.0.0.1:5556"]
    assert services_of([endpoint], [""]) == []
    assert services_of(["tcp://a:1"], None) is None
    assert services_of(["tcp://a:1"], ["tcp://a:2"]) == ["tcp://a:2"]

"""picamera2 imports it for its preview windows, which nothing here uses."""


class _Formats(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Formats):
    """Any pixel format: picamera2 builds a table of some at import."""

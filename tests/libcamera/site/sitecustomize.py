"""Python imports this at its start, in the processes of a daemon that has it on its path."""

from tests.libcamera import virtual_camera

virtual_camera.install()

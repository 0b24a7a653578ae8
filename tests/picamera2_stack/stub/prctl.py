"""picamera2 imports it for its encoders, which nothing here uses."""

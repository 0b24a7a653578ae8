"""picamera2 imports it to write raw pictures, which nothing here does."""

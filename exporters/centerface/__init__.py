"""CenterFace graphs -> model folders."""

"""Recordings of which none fits the arguments: the input is wrong, not the analysis."""

from tests.support.analyses import analyse, make_recordings


def test_too_many_intervals_are_refused_before_a_picture_is_read(tmp_path):
    """They were refused after the analysis, whose result was lost; then with exit code 1."""
    (pictures := tmp_path / "pictures").mkdir()
    for number in range(20):
        (pictures / f"{number}.png").write_bytes(b"no picture")
    code, text = analyse(
        pictures, "--out", tmp_path / "out", "--interval", "0.1s", "--set", "source.rate_hz=0.001"
    )
    assert code == 78
    assert "--interval 0.1 s: makes 200000 intervals of 20000 s" in text


def test_where_nothing_fits_the_input_is_wrong(tmp_path):
    """It had the exit code of a failure that another try may mend."""
    (text_file := tmp_path / "text.mp4").write_bytes(b"not a video " * 1000)
    code, text = analyse(text_file, "--out", tmp_path / "out")
    assert (code, "text.mp4': no video in it" in text) == (78, True)
    recordings = make_recordings(tmp_path / "videos", 2)
    code, text = analyse(recordings, "--out", tmp_path / "out", "--start", "1h")
    assert (code, text.count("no picture of it is within the given start and end")) == (78, 2)

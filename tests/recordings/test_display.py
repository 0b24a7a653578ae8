"""Progress of several recordings on standard error."""

from edge.recordings.analysis.display import Display


def test_a_name_does_not_control_the_terminal(capsys):
    with Display({"demo": 1}) as display:
        display.line("FAILED \x1b[31ma\nb.mp4: \u00e9")
    assert capsys.readouterr().err == "affect-edge: FAILED \\x1b[31ma\\nb.mp4: \u00e9\n"

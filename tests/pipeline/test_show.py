"""Scores of a run on the terminal."""

from palpate.cli.tables.scores import show_scores


def test_one_image_has_a_score_and_no_interval(tmp_path, capsys):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "main.csv").write_text(
        "facet,structure,n,attack,epsilon,norm,dsc,dsc_low,dsc_high\n"
        "NA,polyp,1,clean,0.0,,0.9,,\n"
        "NA,polyp,1,fgsm,0.00784314,linf,0.31249,,\n"
    )
    show_scores(tmp_path)
    shown = capsys.readouterr().err
    assert "DSC of NA: clean 90.0 [–], n = 1" in shown
    assert "31.2" in shown
    assert "[–]" in shown

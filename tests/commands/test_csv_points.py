import numpy as np
import pytest

from gendiff.commands.scaling_fit import csv_points
from gendiff.core.errors import DataError
from tests.tables import table

N, D, LOSS = np.array([1e7, 3e7, 1e8, 3e8]), np.array([1e9, 1e9, 2e9, 2e9]), np.array([3.5, 3.2, 2.9, 2.7])


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "runs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def csv(header, columns, between=","):
    return (
        "\n".join([header, *(between.join(f"{cell:g}" for cell in row) for row in zip(*columns, strict=True))]) + "\n"
    )


@table(
    ("header", "columns", "between"),
    [
        ("N,D,loss", (N, D, LOSS), ","),
        ("Model Size;Training Tokens;Validation Loss", (N, D, LOSS), ";"),
        ("num_params\tTraining FLOP\tloss (nats)", (N, 6 * N * D, LOSS), "\t"),
        ("\ufeffloss,note,FLOPs,parameters", (LOSS, D, 6 * N * D, N), ","),
    ],
)
def test_columns_by_any_name_in_any_order_are_the_same_points(tmp_path, header, columns, between):
    read = csv_points.read(written(tmp_path, csv(header, columns, between).replace("\n", "\r\n\r\n")))
    for got, expected in (
        (read.points.parameters, N),
        (read.points.tokens, D),
        (read.points.loss, LOSS),
        (read.points.flops, 6 * N * D),
    ):
        assert np.allclose(got, expected, rtol=1e-5)
    assert read.lines.tolist() == [3, 5, 7, 9]  # every other line is empty


GOOD = csv("N,D,loss", (N, D, LOSS))


@pytest.mark.fault("scaling-fit: a CSV without its columns, with a bad cell, or none at all")
@table(
    ("text", "words"),
    [
        ("", "holds nothing"),
        ("\n\n", "holds nothing"),
        ("N,D,loss\n", "a header and no line below it"),
        (GOOD.replace("3.2", "three"), "line 3, column 'loss': 'three' is no number"),
        (GOOD.replace("3e+07", "30M"), "line 3, column 'N': '30M' is no number: write it as 7e10"),
        (GOOD.replace("2.9", "nan"), "line 4, column 'loss': nan must be finite and above 0"),
        (GOOD.replace("2.9", "-1"), "line 4, column 'loss': -1 must be"),
        (GOOD.replace("2.9", ""), "line 4, column 'loss': is empty"),
        (GOOD.replace("1e+08,", ""), "line 4 has 2 cells, and the header names 3 columns"),
        (GOOD.replace("loss", "mistake"), "line 1 names no column of loss; call it one of: l, loss"),
        (GOOD.replace("D,", "steps,"), "line 1 names no column of tokens or flops"),
        (GOOD.replace("N,", "parametres,"), "names no column of parameters; is it 'parametres'"),
        (GOOD.replace("D,", "params,"), "line 1 names parameters twice, 'N' and 'params'"),
        (GOOD.replace("3.2", '"3.2'), "line 5 is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line_and_column(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        csv_points.read(path)
    assert str(caught.value).startswith(str(path)) and words in str(caught.value)


@pytest.mark.fault("scaling-fit: a CSV without its columns, with a bad cell, or none at all")
def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        csv_points.read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is no UTF-8 at byte 0"):
        csv_points.read(written(tmp_path, GOOD, "utf-16"))

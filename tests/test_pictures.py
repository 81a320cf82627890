import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb

from piavae_jax import UserError, pictures


def draw(path):
    figure = pictures.new_figure(3, 2, title="title")
    figure.subplots().plot([0, 1], [0, 1])
    pictures.save(figure, path)
    return image.imread(path)


def test_the_users_own_settings_neither_matter_nor_change(tmp_path):
    with pictures.style():
        expected = draw(tmp_path / "expected.png")
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "red"}):
        with pictures.style():
            np.testing.assert_array_equal(draw(tmp_path / "styled.png"), expected)
        assert matplotlib.rcParams["font.size"] == 30.0


def test_a_function_can_be_drawn_in_the_style(tmp_path):
    @pictures.style()
    def size():
        return matplotlib.rcParams["axes.spines.top"]

    assert [size(), size()] == [False, False]
    assert matplotlib.rcParams["axes.spines.top"]


def test_ordered_colours_differ_in_lightness():
    lightness = [np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)) for color in pictures.ORDERED_COLOURS]
    assert np.diff(lightness).min() > 0.1


def test_cells_are_white_on_dark_ground():
    with pictures.style():
        axes = pictures.new_figure(2, 2).subplots()
        pictures.label_cells(axes, [["a", "b"]], dark=[[True, False]])
    assert [(text.get_text(), text.get_color(), text.get_position()) for text in axes.texts] == [
        ("a", "white", (0, 0)),
        ("b", "black", (1, 0)),
    ]


@pytest.mark.parametrize("extra", ["plots", "analysis"])
def test_without_matplotlib_the_message_names_the_extra(monkeypatch, extra):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = rf"pictures need matplotlib; install it with: pip install 'piavae-jax\[{extra}\]'"
    with pytest.raises(UserError, match=message):
        pictures.new_figure(1, 1, extra=extra)
    with pytest.raises(UserError, match=message), pictures.style(extra=extra):
        pass

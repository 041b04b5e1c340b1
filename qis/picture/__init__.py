"""Pictures as a list of lines, areas and words, drawn once and written as SVG or by matplotlib."""

from qis.picture.elements import Area, Axis, Dot, Element, Line, Words
from qis.picture.measuring import cut, text_width
from qis.picture.picture import Picture

__all__ = ["Area", "Axis", "Dot", "Element", "Line", "Picture", "Words", "cut", "text_width"]

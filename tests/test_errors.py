"""How a diagnostic looks where the source is long, odd or absent."""

from lvspec.errors import LONGEST, NOWHERE, Diagnostic, Source, Span, render


def shown(text, span, **more):
    return render(Diagnostic("code", span, "message", **more), Source("m.yaml", text)).split("\n")


def test_carets_stand_under_the_span():
    head, *rows = shown("a: 1\nb: two\n", Span(2, 4, 2, 7), label="a word")
    assert head == "m.yaml:2:4: error[code]: message"
    assert rows == ["  1 | a: 1", "  2 | b: two", "    |    ^^^ a word"]


def test_long_line_is_shown_around_the_span():
    line = "x" * 5000 + "HERE" + "y" * 5000
    _, row, carets = shown(line, Span(1, 5001, 1, 5005))
    assert len(row) < LONGEST + 20
    assert row[carets.index("^") : carets.rindex("^") + 1] == "HERE"


def test_long_span_does_not_make_long_carets():
    assert max(map(len, shown("x" * 5000, Span(1, 1, 1, 5001)))) < LONGEST + 20


def test_setting_without_a_place_names_the_file_alone():
    assert shown("a: 1", NOWHERE) == ["m.yaml: error[code]: message"]


def test_control_characters_of_the_source_do_not_reach_the_terminal():
    assert "\x1b" not in "".join(shown("a: \x1b[31m", Span(1, 4, 1, 6), label="\x1b[0m", help="\x07"))

"""What the tests of the guide run and compare."""

import documents
import pytest

PAGE = """Text.

```python
x = 2
print("x is", x)
```

```
x is 2
```

```py
not run
```

```python
print(x + 1.004)
```

```
3
```
"""


def test_blocks_have_code_output_and_line():
    assert documents.blocks(PAGE) == [
        ('x = 2\nprint("x is", x)\n', "x is 2\n", 4),
        ("print(x + 1.004)\n", "3\n", 17),
    ]


def test_blocks_share_names_and_outputs_are_compared(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    documents.run(page, lambda: capsys.readouterr().out)
    page.write_text(PAGE.replace("is 2", "was 2"))
    with pytest.raises(AssertionError, match=r"page.md, the block at line 4 shows\nx was 2"):
        documents.run(page, lambda: capsys.readouterr().out)


def test_an_error_names_the_line_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nx = 1\nraise KeyError\n```\n")
    with pytest.raises(KeyError) as error:
        documents.run(page, str)
    assert error.traceback[-1].lineno + 1 == 5


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss: 1.00", "loss: 1.02"),
        ("57/57 - 0s - 9ms/step - loss: 2.1658", "57/57 - 1s - 952us/step - loss: 2.1660"),
        ("a  1.0  b\n-------", "a 1.0   b\n----"),
        ("-1.5e-3", "−0.0016"),
    ],
)
def test_nearly_the_same_is_the_same(shown, printed):
    documents.check(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss: 1.00", "loss: 1.05"),
        ("loss: 1.00", "cost: 1.00"),
        ("", "unexpected"),
        ("raise 6 times", "raise 7 times"),
        ("1 2", "1 2 3"),
        ("nan", "1.0"),
    ],
)
def test_other_numbers_words_or_lines_are_found(shown, printed):
    with pytest.raises(AssertionError):
        documents.check(shown, printed)


def test_outputs_are_written_anew(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("x is 2", "old"))
    assert documents.written(page, lambda: capsys.readouterr().out) == PAGE.replace(
        "3\n", "3.004\n"
    )

"""What reading data says about it."""

import pytest

from tinyattn.errors import DataError


def message(action) -> str:
    """The one sentence of the DataError that ``action`` raises: it begins with whose data it is."""
    with pytest.raises(DataError) as error:
        action()
    text = str(error.value)
    assert "\n" not in text and text.startswith("[") and text.endswith(".")
    return text

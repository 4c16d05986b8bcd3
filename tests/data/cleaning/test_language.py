"""Languages told, checked on the Universal Declaration of Human Rights."""

from __future__ import annotations

import zipfile

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning.language import STRETCH, identifier


def test_told_by_name_and_how_sure():
    identify = identifier()
    language, score = identify("Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung.") or ("", 0)
    assert language == "de" and score > 0.9
    assert identify("too short") is None


def test_the_middle_is_asked():
    middle = "Всі люди народжуються вільними і рівними у своїй гідності та правах. " * 30
    assert len(middle) > STRETCH
    assert (identifier()("Cookie notice. " * 20 + middle + "All rights reserved. " * 20) or ("",))[0] == "uk"


def test_a_language_nobody_can_tell_is_refused():
    with pytest.raises(GroundupError, match="unknown language 'english'"):
        identifier(["english"])


@pytest.mark.shared_data
def test_of_the_declaration_at_least_24_in_25_paragraphs(shared_data):
    codes = {
        "eng": "en",
        "fra": "fr",
        "spa": "es",
        "rus": "ru",
        "jpn": "ja",
        "arb": "ar",
        "fin": "fi",
        "tur": "tr",
        "hin": "hi",
    }
    identify, right, total = identifier(), 0, 0
    with zipfile.ZipFile(shared_data / "corpora" / "nltk" / "udhr2.zip") as archive:
        for code, language in codes.items():
            lines = archive.read(f"udhr2/{code}.txt").decode("utf-8").split("\n")
            for line in [line for line in lines if len(line) > 40][5:35]:
                answer = identify(line)
                right, total = right + (answer is not None and answer[0] == language), total + 1
    assert total > 240
    assert right / total > 0.96

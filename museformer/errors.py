"""The one error of this API: a sentence in the words of its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from data_prep.form.sections import FormError
from data_prep.tokens.song import SongError
from data_prep.tokens.vocabulary import TokenError
from museformer_plugin.errors import sentence_for

_OPTION = re.compile(r"--([a-z][a-z-]*)(:?)")
_ARGUMENTS = {"max-len-b": "max_tokens"}  # by the option of the commands, where the names differ


class RequestError(ValueError):
    """What was asked for cannot be done; the message is a sentence that says why and what to do."""


@contextmanager
def in_words_of(arguments: Mapping[str, str] | None = None, song: str = "") -> Iterator[None]:
    """Raise RequestError for what a caller did wrong.

    ``arguments``: what options of the commands (``fill-bars``) are called here (``bars``), where not alike. ``song``:
    what songs that cannot be used are called.
    """
    try:
        yield
    except (SongError, TokenError, FormError) as error:
        raise RequestError(f"{song}: {error}." if song else _sentence(f"{error}", {})) from error
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        raise RequestError(_sentence(sentence, arguments or {})) from error


def _sentence(text: str, arguments: Mapping[str, str]) -> str:
    names = {**_ARGUMENTS, **arguments}

    def argument(option: re.Match[str]) -> str:
        name = names.get(option[1], option[1].replace("-", "_"))
        return f"{name}:" if option[2] else f"{name}="

    text = _OPTION.sub(argument, text)
    return text if text.endswith(".") else f"{text}."

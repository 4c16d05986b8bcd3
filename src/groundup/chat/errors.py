"""Why a conversation is not rendered or not learned from, in a part that can be counted and a part of its own."""

from __future__ import annotations

from groundup.core.errors import GroundupError


class CannotRender(GroundupError):
    """A conversation cannot be rendered, or not learned from: `what` is the same for all with that fault, `detail` its own."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what + detail)
        self.what = what
        self.detail = detail


class TemplateError(CannotRender):
    """The template refused or failed."""


class AnswerNotFound(CannotRender):
    """The template writes an answer in a way it cannot be learned by."""

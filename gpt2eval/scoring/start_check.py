"""How much a model loses without its start token, measured once on a short fixed text.

Some models predict badly unless every input begins with their start token. No file of a model
says whether it is one of them, so the check scores a text both ways.
"""

import math
from collections.abc import Sequence

import numpy as np

from gpt2eval.errors import UsageError
from gpt2eval.scoring.plan import Chunk
from gpt2eval.scoring.windows import Window
from gpt2eval.types import AddsToken, Ids, Model, Request

TEXT = (
    "The old harbour lies an hour from the city, at the end of a narrow road. In the morning the "
    "boats come back with their catch, and the people of the village wait for them on the quay. "
    "By noon the market is over and the streets are quiet again. Nobody knows how long the harbour "
    "will stay open, but for now the work goes on."
)
TOKENS = 40  # the length of the text in tokens, or less if the model's context is shorter
LIMIT = 0.5  # nats per token; a larger loss means that a model depends on its start token


class StartCheck:
    """The loss of one model without its start token; measured when it is first asked for.

    `start` is the token that the model's tokenizer adds to a text, or else the model's own start
    token; None if it has neither.
    """

    def __init__(self, model: Model) -> None:
        own = model.added if isinstance(model, AddsToken) else None
        self.start = model.start if own is None else own
        self._model = model
        self._states_added = isinstance(model, AddsToken)
        self._loss: float | None = None

    def loss(self) -> float:
        """Return the nats per token that the model loses; 0 if that cannot be measured.

        The loss is the mean of ln p(t_i | start, t_0 .. t_i-1) - ln p(t_i | t_0 .. t_i-1) over the
        tokens i = 1 .. 39 of the text. Both ways are scored in one batch.
        """
        if self._loss is None:
            self._loss = self._measured()
        return self._loss

    def remember(self, loss: float) -> None:
        """Take the loss from an earlier run of the same model instead of measuring it."""
        self._loss = loss

    def is_left_out(self, window: Window, chunks: Sequence[Chunk]) -> bool:
        """Return whether any request lacks the start token at its beginning.

        For a backend that does not state whether its tokenizer adds a token, only a protocol
        without any start token counts.
        """
        if self.start is None or window.start is None or not self._states_added:
            return self.start is not None and window.start is None
        requests = (item.request for chunk in chunks for batch in chunk for item in batch)
        return any(int(request.prefix[0]) != self.start for request in requests)

    def _measured(self) -> float:
        ids = self._text()
        if self.start is None or len(ids) < 2:
            return 0.0
        start = np.array([self.start], np.int32)
        requests = [
            Request(np.concatenate([start, ids[:1]]), (ids[1:],)),
            Request(ids[:1], (ids[1:],)),
        ]
        logprobs = np.asarray(self._model.score(requests).logprobs, np.float64)
        with_start, without = np.split(logprobs, 2)
        loss = float(np.mean(with_start - without))
        return loss if math.isfinite(loss) else 0.0

    def _text(self) -> Ids:
        """Return the text's tokens that fit the context; none if the model cannot encode them."""
        try:
            ids = self._model.encode(TEXT).ids
        except UsageError:  # a model of other characters
            return np.zeros(0, np.int32)
        return ids[: min(TOKENS, self._model.context)]

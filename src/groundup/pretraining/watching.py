"""What a run shows of itself while it trains: evaluations, samples, the model folder; all as hooks of the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groundup.checkpoints.model_folder import save_model
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.batches import EvaluationBatches, Progress
from groundup.data.mixture import Mixture
from groundup.data.store import TokenSplit
from groundup.data.windows import Windows
from groundup.evaluation.perplexity import Scores, evaluate, weighted_mean
from groundup.generation.text_model import TextModel
from groundup.models.base import LanguageModel
from groundup.pretraining.config import PretrainConfig
from groundup.tokenization.tokenizer import Tokenizer
from groundup.training.loop import Hook, Place
from groundup.training.metrics import Row

PROMPT_CHARACTERS = 40


@dataclass(frozen=True)
class Watcher:
    """Evaluates, samples and saves one model of one run."""

    run: RunFolder
    config: PretrainConfig  # resolved
    model: LanguageModel
    tokenizer: Tokenizer
    mixture: Mixture
    progress: Callable[[int], list[Progress]]  # steps -> what they read of each source
    card: Callable[[Scores | None], str]
    reporter: Reporter

    def scores(self, max_tokens: int | None) -> dict[str, Scores]:
        """Scores on the validation text of each source that has any, by its name.

        With `max_tokens` about that many are read, spread evenly over each text and equally many of each source.
        """
        assert self.config.context_length and self.config.micro_batch_size
        mask = self.config.packing != "concatenate"
        found = {}
        texts = self.mixture.validation_shares()
        for source, split, _ in texts:
            windows = Windows(split, self.config.context_length, to_the_end=True, document_mask=mask)
            most = None if max_tokens is None else max(1, max_tokens // len(texts))
            batches = EvaluationBatches(windows, self.config.micro_batch_size, max_tokens=most)
            found[source.name] = evaluate(self.model, batches, self.tokenizer.token_bytes())
        return found

    def sample(self, step: int) -> str:
        """What the model writes after the prompt now; kept in `samples.jsonl`. Gives prompt and text."""
        prompt = self.config.sample_prompt or ""
        writer = TextModel(self.model, self.tokenizer)
        text = writer.generate(prompt, max_new_tokens=self.config.sample_tokens, temperature=0.6, top_p=0.9, seed=1)
        self.run.log_sample(step, prompt, text)
        return prompt + text

    def look(self, place: Place) -> Row | None:
        """A look between steps: evaluate a part of the validation text, sample, save the model as it is."""
        if place.step == self.config.steps:  # the last look comes at once
            return None
        return self._look(place, self.config.evaluation_tokens)

    def last_look(self, place: Place) -> Row | None:
        """The look at the end: all of the validation text."""
        return self._look(place, None)

    def _look(self, place: Place, max_tokens: int | None) -> Row | None:
        by_source = self.scores(max_tokens)
        shares = [share for *_, share in self.mixture.validation_shares()]
        scores = weighted_mean(list(by_source.values()), shares) if by_source else None
        save_model(self.run.model, self.model, self.tokenizer, card=self.card(scores))
        if self.config.sample_tokens:
            self.sample(place.step)
        row = self._progress_row(place.step)
        if scores is None:
            return row or None
        self.reporter.say(
            f"step {place.step:>7,}  {place.elapsed_seconds:>6.0f} s  validation loss {scores.loss:.4f}  "
            f"perplexity {scores.perplexity:,.2f}  bits per byte {scores.bits_per_byte:.4f}"
        )
        if self.mixture.is_mixed:
            for name, each in by_source.items():
                row |= {f"{figure}/{name}": value for figure, value in score_row(each).items()}
            losses = ", ".join(f"{name} {each.loss:.4f}" for name, each in by_source.items())
            self.reporter.say(f"{'':>12}  by source  {losses}")
        return row | score_row(scores)

    def _progress_row(self, step: int) -> Row:
        """What was read of each source of a mixture so far."""
        row: Row = {}
        if self.mixture.is_mixed:
            for source, done in zip(self.mixture.sources, self.progress(step), strict=True):
                row |= {f"tokens/{source.name}": done.tokens, f"epoch/{source.name}": done.epochs}
        return row

    def hooks(self, steps: int | None, seconds: float | None) -> tuple[Hook, ...]:
        """A look `evaluations` times over the budget, the last at its end."""
        n = self.config.evaluations
        during = Hook(
            self.look,
            every_steps=None if steps is None else max(1, -(-steps // n)),
            # The last of them would fall together with the look at the end.
            every_seconds=None if seconds is None else seconds / (n - 0.5),
        )
        return (during, Hook(self.last_look, at_end=True)) if n > 1 else (Hook(self.last_look, at_end=True),)


def score_row(scores: Scores) -> Row:
    """Scores as a row of the metrics."""
    return {
        "val_loss": scores.loss,
        "val_loss_standard_error": scores.loss_standard_error,
        "val_perplexity": scores.perplexity,
        "val_bits_per_byte": scores.bits_per_byte,
        "val_tokens": scores.n_tokens,
    }


def prompt_from(splits: Sequence[TokenSplit], tokenizer: Tokenizer) -> str:
    """A prompt of a few words: the beginning of the first validation document there is, cut before a space."""
    split = next((split for split in splits if split.n_tokens), None)
    if split is None:
        return ""
    tokens = [int(token) for token in split.read(0, min(64, split.n_tokens))]
    if tokenizer.eos_id in tokens[1:]:
        tokens = tokens[: tokens.index(tokenizer.eos_id, 1)]
    text = tokenizer.decode(tokens, skip_special=True).lstrip()
    line = text.split("\n")[0]
    if len(line) <= PROMPT_CHARACTERS:
        return line
    cut = line.rfind(" ", 0, PROMPT_CHARACTERS)
    return line[:cut] if cut > 0 else line[:PROMPT_CHARACTERS]

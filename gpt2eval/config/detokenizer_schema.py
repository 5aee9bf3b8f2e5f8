"""The keys of a detokenizer file, their types and defaults."""

from pydantic import AliasChoices, Field, model_validator

from gpt2eval.config.source_schema import Strict


class Rule(Strict):
    """One rule of a detokenizer; exactly one of `glue`, `swap` and `use` is given.

    Attributes:
        glue: A regular expression; the captured groups are deleted from each match.
        swap: A regular expression; each match is replaced by `by`.
        by: The replacement text, which may refer to groups as `\\1` or `\\g<0>`.
        use: The steps of another file, as `NAME.VERSION`; only in `steps`.
        option: Apply the rule only if this option is chosen, as in `ptb+question`.
    """

    glue: str | None = None
    swap: str | None = None
    by: str | None = None
    use: str | None = None
    option: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Rule":
        kinds = [kind for kind in (self.glue, self.swap, self.use) if kind is not None]
        if len(kinds) != 1 or (self.swap is None) != (self.by is None):
            raise ValueError(
                "expected one of 'glue: REGEX', 'swap: REGEX' with 'by: TEXT', 'use: NAME.VERSION'"
            )
        return self


class Example(Strict):
    """A published line and its detokenized form (key `detokenized`); the tests check the pair."""

    published: str
    # `fair` is the earlier name of the key; files that use it stay readable.
    detokenized: str = Field(validation_alias=AliasChoices("detokenized", "fair"))
    options: tuple[str, ...] = ()


class DetokenizerFile(Strict):
    """A file `detokenizers/NAME.yaml`, in one of three forms.

    Rules in both directions (`do` and `undo`); a Python class with methods `do` and `undo`
    (`python: module:Class`); or `steps`, another tool's substitutions over a complete text, which
    cannot be undone.

    Attributes:
        title: One line for listings.
        version: Increase it when the output changes; it is part of every signature.
        note: The original tokenization, and the assumptions of the rules.
        invertible: Whether every edit must survive a round trip.
        carry_quotes: Carry an opening quote at the end of a line over to the next line.
        python: The class, as `module:Class`.
        options: Names that a task may add to the detokenizer's name, with an explanation.
        do: Rules from published to detokenized text.
        undo: Rules from detokenized to published text, applied in order.
        steps: One-way substitutions, applied in order.
        examples: Lines that the tests check in both directions.
    """

    title: str
    version: int
    note: str = ""
    invertible: bool = True
    carry_quotes: bool = False
    python: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    do: tuple[Rule, ...] = ()
    undo: tuple[Rule, ...] = ()
    steps: tuple[Rule, ...] = ()
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _steps_stand_alone(self) -> "DetokenizerFile":
        if self.steps and (self.do or self.undo or self.python or self.invertible):
            raise ValueError(
                "steps require 'invertible: false' and exclude 'do', 'undo' and 'python'"
            )
        if any(rule.use for rule in (*self.do, *self.undo)):
            raise ValueError("'use' is allowed in 'steps' only")
        if self.carry_quotes and not self.invertible:
            raise ValueError("carry_quotes requires 'invertible: true'")
        return self

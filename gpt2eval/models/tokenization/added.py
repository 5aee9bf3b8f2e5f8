"""Find the token that a tokenizer itself puts before every text, such as `<bos>`."""

from tokenizers import Tokenizer

from gpt2eval.notices import notify


def added_token(backend: Tokenizer) -> int | None:
    """Return the token that a tokenizer itself puts before every text, or None.

    Notifies of a tokenizer that puts several there, because only the first is used.
    """
    encoding = backend.encode("a", add_special_tokens=True)
    # The mask tells an added token from the same token in the text.
    count = encoding.special_tokens_mask.index(0) if 0 in encoding.special_tokens_mask else 0
    if count > 1:
        notify(
            f"the tokenizer puts {count} tokens before every text "
            f"({''.join(encoding.tokens[:count])}); only {encoding.tokens[0]} is used, so the "
            "scores are not those that the model gives after all of them"
        )
    return encoding.ids[0] if count else None

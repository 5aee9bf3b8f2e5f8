from gpt2eval import LoadOptions, Settings, evaluate

print(evaluate("toy:uniform-bytes", "wikitext2")["wikitext2"].ppl + 1.0)
evaluate("gpt2", limit=10, context=512, stride=32, batch_size=4, dtype="bfloat16", device="cuda")
evaluate("gpt2", "ptb", batch_size="auto", name="mine", revision=None, strict_data=True)
evaluate("gpt2", settings=Settings(limit=5), options=LoadOptions(tokenizer="gpt2"), stride=32)
evaluate("gpt2", limit="ten")  # type: ignore[arg-type]
evaluate("gpt2", limits=10)  # type: ignore[call-arg]

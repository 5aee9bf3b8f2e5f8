from gpt2eval import evaluate

print(evaluate("toy:uniform-bytes", "wikitext2")["wikitext2"].ppl + 1.0)

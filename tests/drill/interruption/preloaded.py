"""Everything that a command imports, imported before the process is forked."""

import torch  # noqa: F401
import transformers  # noqa: F401
from transformers import (  # noqa: F401
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2LMHeadModel,
    LlamaForCausalLM,
)

import gpt2eval.analysis.dry_run
import gpt2eval.cli.incomplete
import gpt2eval.cli.main
import gpt2eval.cli.progress
import gpt2eval.data.manage
import gpt2eval.models.formats.gguf
import gpt2eval.models.formats.hf
import gpt2eval.models.formats.nanogpt
import gpt2eval.pipeline
import gpt2eval.report.table
import gpt2eval.report.trackers
import gpt2eval.training.watch  # noqa: F401

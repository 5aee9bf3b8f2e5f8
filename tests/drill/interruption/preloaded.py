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

import gpt2eval.analysis.dry_run  # noqa: F401
import gpt2eval.cli.incomplete  # noqa: F401
import gpt2eval.cli.main  # noqa: F401
import gpt2eval.cli.progress  # noqa: F401
import gpt2eval.data.manage  # noqa: F401
import gpt2eval.models.formats.gguf  # noqa: F401
import gpt2eval.models.formats.hf  # noqa: F401
import gpt2eval.models.formats.nanogpt  # noqa: F401
import gpt2eval.pipeline  # noqa: F401
import gpt2eval.report.table  # noqa: F401
import gpt2eval.report.trackers  # noqa: F401
import gpt2eval.training.watch  # noqa: F401

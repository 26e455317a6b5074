"""How much faster prompts are scored packed than one by one, and how near that is to the processor.

    python benchmarks/scoring.py --json scoring.json [--threads N] [--repeats 3] [--lm smollm2]

Packed and plain scoring run in one process on one machine, on the same 32 sentences and prompts.
"Plain" is one forward of the whole model for each prompt and example, in batches. What a run pays
once, the keys and values of the sentences, is ``prepare_seconds`` and not part of a prompt's time.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.pytorch_utils import Conv1D

from rlprompt.core.prompt import Prompt
from rlprompt.core.version import __version__
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.causal_scorers import AfterInputScorer
from rlprompt.lm.linear import PackedLinear
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.tasks.examples import Example
from rlprompt.tasks.movie_reviews import WORDS, load_sentences
from rlprompt.tasks.splits import hash_order
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

N_EXAMPLES = 32
N_PROMPTS = 16
N_PLAIN = 2
PROMPT_TOKENS = 5
TEMPLATE = Template("{text}{prompt}")


def sentences() -> list[Example]:
    """The same 32 Rotten Tomatoes sentences on every machine, drawn by hash."""
    return sorted(load_sentences(), key=hash_order)[:N_EXAMPLES]


def random_prompts(lm: CausalLM, seed: int = 0) -> list[Prompt]:
    """Prompts of ordinary tokens; what they say does not matter to the time."""
    special = lm.tokenizer.special_ids
    ordinary = [i for i in range(lm.tokenizer.vocab_size) if i not in special]
    ids = np.random.default_rng(seed).choice(ordinary, size=(N_PROMPTS, PROMPT_TOKENS))
    return [Prompt(tuple(map(int, row))) for row in ids]


def seconds(action: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def linear_shapes(model: torch.nn.Module) -> Iterator[tuple[int, int]]:
    """Outputs and inputs of every linear layer; GPT-2's Conv1D is one, stored the other way."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | PackedLinear):
            yield module.out_features, module.in_features
        elif isinstance(module, Conv1D):
            yield module.nf, module.nx


class Gemm:
    """The matrix products of one forward, bare: each of the decoder's linear layers once.

    Layers of one shape share a weight of their own, so that a forward's worth of products runs over
    as much memory as one layer needs; that favours the bare products, not the LM. ``packed`` is as
    the LM does them if its layers are packed for oneDNN, else as torch does them by itself.
    """

    def __init__(self, lm: CausalLM, rows: int, *, packed: bool) -> None:
        shapes = [*linear_shapes(lm.model.base_model)]
        like: dict[str, Any] = {"dtype": lm.model.dtype, "device": lm.model.device}
        self.parameters = sum(n_out * n_in for n_out, n_in in shapes)
        self.rows = rows
        packs = packed and any(isinstance(m, PackedLinear) for m in lm.model.modules())
        made: dict[tuple[int, int], tuple[torch.nn.Module, torch.Tensor]] = {}
        for n_out, n_in in set(shapes):
            layer: torch.nn.Module = torch.nn.Linear(n_in, n_out, bias=False, **like)
            if packs:
                layer = PackedLinear(layer)
            made[n_out, n_in] = (layer, torch.randn(rows, n_in, **like))
        self._products = [made[shape] for shape in shapes]

    @torch.inference_mode()
    def run(self) -> None:
        for layer, states in self._products:
            layer(states)

    def flops(self) -> float:
        """Floating-point operations a second, a product and a sum being two."""
        return 2 * self.parameters * self.rows / seconds(self.run)


def causal(lm: CausalLM, repeats: int) -> dict[str, Any]:
    """Times a causal LM, ``{text}{prompt}``, one-token answers."""
    examples, prompts = sentences(), random_prompts(lm)
    verbalizer = Verbalizer.of(tuple(WORDS), WORDS)
    arguments = (TEMPLATE, verbalizer, examples)
    lm.bind(*arguments, max_prompt_tokens=PROMPT_TOKENS)  # whether the LM packs is found out once
    packed = lm.bind(*arguments, max_prompt_tokens=PROMPT_TOKENS)
    plain = lm.plain(*arguments, max_prompt_tokens=PROMPT_TOKENS)
    if not isinstance(packed, AfterInputScorer):
        raise SystemExit(f"{lm.identity.name} cannot score packed prompts: nothing to compare.")

    # The empty prompt takes nothing but the cached sentences.
    prepare = seconds(lambda: packed.choice_logprobs([Prompt()]))
    packed.choice_logprobs(prompts)
    row = N_PROMPTS * PROMPT_TOKENS
    rows = max(1, packed.limits.batch_tokens // row) * row
    gemm, torch_gemm = (Gemm(lm, rows, packed=each) for each in (True, False))
    gemm.run()
    torch_gemm.run()
    times, fractions, ratios = [], [], []
    for _ in range(repeats):
        bare = [gemm.flops()]
        tokens = lm.meter.tokens
        times.append(seconds(lambda: packed.choice_logprobs(prompts)))
        tokens = lm.meter.tokens - tokens
        bare.append(gemm.flops())
        rate = 2 * gemm.parameters * tokens / times[-1]
        fractions.append(rate / statistics.mean(bare))
        ratios.append(gemm.flops() / torch_gemm.flops())
    scores = packed.choice_logprobs(prompts[:N_PLAIN])
    plain_scores = np.empty_like(scores)

    def run_plain() -> None:
        plain_scores[:] = plain.choice_logprobs(prompts[:N_PLAIN])

    plain_seconds = seconds(run_plain) / N_PLAIN
    packed_seconds = statistics.median(times) / N_PROMPTS
    return {
        "speedup": plain_seconds / packed_seconds,
        "max_difference": float(np.abs(scores - plain_scores).max()),
        "gemm_fraction": statistics.median(fractions),
        "gemm_over_torch": statistics.median(ratios),
        "packed_prompts_per_second": 1 / packed_seconds,
        "plain_prompts_per_second": 1 / plain_seconds,
        "packed_seconds_per_prompt": packed_seconds,
        "plain_seconds_per_prompt": plain_seconds,
        "packed_seconds_of_each_repeat": times,
        "gemm_fraction_of_each_repeat": fractions,
        "prepare_seconds": prepare,
        "packed_tokens": tokens,
        "gemm_rows": gemm.rows,
        "examples": len(examples),
        "prompts": len(prompts),
        "plain_prompts": N_PLAIN,
        "prompt_tokens": PROMPT_TOKENS,
        "truncated": packed.truncated,
        "lm": asdict(lm.identity),
    }


def provenance(lm: CausalLM) -> dict[str, Any]:
    return {
        "rlprompt": __version__,
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(lm.model.device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


#: Sections by the key they have in the JSON file.
SECTIONS: dict[str, Callable[[CausalLM, int], dict[str, Any]]] = {"causal": causal}


def show(results: dict[str, Any]) -> None:
    for section in SECTIONS:
        print(f"\n{section} ({results[section]['lm']['name']})")
        for key, value in results[section].items():
            if isinstance(value, float):
                print(f"  {key:28} {value:12.4g}")
            elif isinstance(value, int):
                print(f"  {key:28} {value:12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice if left out")
    parser.add_argument("--repeats", type=int, default=3, help="packed runs; the median counts")
    parser.add_argument("--lm", default="smollm2", help="alias, folder, GGUF file or hub id")
    options = parser.parse_args()
    lm = load_lm(LMConfig(options.lm, threads=options.threads, dtype="float32"))
    results = {name: run(lm, options.repeats) for name, run in SECTIONS.items()}
    results["provenance"] = provenance(lm)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    show(results)


if __name__ == "__main__":
    main()

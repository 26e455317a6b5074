"""How much faster prompts are scored than one by one, and how near that is to the processor.

    python benchmarks/scoring.py --json scoring.json [--sections causal,masked,seq2seq]
        [--threads N] [--repeats 3] [--lm smollm2]

Both ways run in one process on one machine, with one model, on the same 32 sentences and prompts.

* causal: a real LM. "Plain" is one forward of the whole model for each prompt and example, in
  batches. What a run pays once, the keys and values of the sentences, is ``prepare_seconds`` and
  not part of a prompt's time.
* masked: random weights of RoBERTa-base's shapes. "Plain" is what one writes with transformers: for
  each prompt one padded batch of the sentences, logits of every position and token.
* seq2seq: random weights of T5-base's shapes. "Plain" is the same for each label, with ``labels=``.
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
from random_lms import roberta_base, t5_base
from transformers.pytorch_utils import Conv1D

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.core.version import __version__
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.causal_scorers import AfterInputScorer
from rlprompt.lm.linear import PackedLinear
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.protocol import FrozenLM
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.movie_reviews import WORDS, load_sentences
from rlprompt.tasks.splits import hash_order
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_text
from rlprompt.tasks.verbalizer import Verbalizer

N_EXAMPLES = 32
N_PROMPTS = 16
N_PLAIN = 2
PROMPT_TOKENS = 5
TEMPLATE = Template("{text}{prompt}")
MASKED_TEMPLATE = Template("{text} {prompt} {mask} .")
SEQ2SEQ_TEMPLATE = Template("{text} {prompt}")
VERBALIZER = Verbalizer.of(tuple(WORDS), WORDS)

#: Label log-probabilities of one prompt, shape (n_examples, n_labels).
Plain = Callable[[Prompt], FloatArray]


def sentences() -> list[Example]:
    """The same 32 Rotten Tomatoes sentences on every machine, drawn by hash."""
    return sorted(load_sentences(), key=hash_order)[:N_EXAMPLES]


def random_prompts(lm: CausalLM, seed: int = 0) -> list[Prompt]:
    """Prompts of ordinary tokens; what they say does not matter to the time."""
    special = lm.tokenizer.special_ids
    ordinary = [i for i in range(lm.tokenizer.vocab_size) if i not in special]
    ids = np.random.default_rng(seed).choice(ordinary, size=(N_PROMPTS, PROMPT_TOKENS))
    return [Prompt(tuple(map(int, row))) for row in ids]


def whole_word_prompts(lm: FrozenLM, seed: int = 0) -> list[Prompt]:
    """Prompts whose text gives the same ids again, for ways that begin with the text."""
    texts = ((i, lm.tokenizer.decode((i,))) for i in range(lm.tokenizer.vocab_size))
    words = [i for i, text in texts if text[:1] == " " and text[1:].isalpha()]
    ids = np.random.default_rng(seed).choice(words, size=(N_PROMPTS, PROMPT_TOKENS))
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


def causal(options: argparse.Namespace) -> dict[str, Any]:
    """Times a causal LM, ``{text}{prompt}``, one-token answers."""
    lm = load_lm(LMConfig(options.lm, dtype="float32"))
    if not isinstance(lm, CausalLM):
        raise SystemExit(f"{options.lm} is no causal LM: the other families have random weights.")
    examples, prompts = sentences(), random_prompts(lm)
    arguments = (TEMPLATE, VERBALIZER, examples)
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
    for _ in range(options.repeats):
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


def masked(options: argparse.Namespace) -> dict[str, Any]:
    """Times a masked LM, ``{text} {prompt} {mask} .``, one-token answers."""
    lm = roberta_base([example.fields["text"] for example in load_sentences()])
    return compare(lm, MASKED_TEMPLATE, plain_masked(lm, sentences()), options.repeats)


def seq2seq(options: argparse.Namespace) -> dict[str, Any]:
    """Times an encoder-decoder LM, ``{text} {prompt}``, one-token answers."""
    lm = t5_base([example.fields["text"] for example in load_sentences()])
    return compare(lm, SEQ2SEQ_TEMPLATE, plain_seq2seq(lm, sentences()), options.repeats)


def compare(lm: FrozenLM, template: Template, plain: Plain, repeats: int) -> dict[str, Any]:
    """Times what runs use against the plain way; both once before, and then in turns."""
    examples, prompts = sentences(), whole_word_prompts(lm)
    scorer = lm.bind(template, VERBALIZER, examples, max_prompt_tokens=PROMPT_TOKENS)
    scores = scorer.choice_logprobs(prompts[:N_PLAIN])
    differences = scores - np.stack([plain(prompt) for prompt in prompts[:N_PLAIN]])
    times, plain_times = [], []
    for _ in range(repeats):
        tokens = lm.meter.tokens
        times.append(seconds(lambda: scorer.choice_logprobs(prompts)) / N_PROMPTS)
        tokens = lm.meter.tokens - tokens
        plain_times.append(seconds(lambda: [plain(p) for p in prompts[:N_PLAIN]]) / N_PLAIN)
    return {
        "speedup": statistics.median(plain_times) / statistics.median(times),
        "max_difference": float(np.abs(differences).max()),
        "prompts_per_second": 1 / statistics.median(times),
        "plain_prompts_per_second": 1 / statistics.median(plain_times),
        "seconds_per_prompt_of_each_repeat": times,
        "plain_seconds_per_prompt_of_each_repeat": plain_times,
        "tokens_per_prompt": tokens / N_PROMPTS,
        "examples": len(examples),
        "prompts": len(prompts),
        "plain_prompts": N_PLAIN,
        "prompt_tokens": PROMPT_TOKENS,
        "lm": asdict(lm.identity),
    }


def plain_masked(lm: MaskedLM, examples: list[Example]) -> Plain:
    """One padded batch of the examples as they come, all logits; the answer's are picked then."""
    hf: Any = lm.tokenizer.hf
    ids = [lm.tokenizer.encode(f" {words[0]}")[0] for words in VERBALIZER.words]

    @torch.inference_mode()
    def score(prompt: Prompt) -> FloatArray:
        text = prompt_text(lm.tokenizer, MASKED_TEMPLATE, prompt)
        rendered = [MASKED_TEMPLATE.render(example.fields, text) for example in examples]
        texts = [each.replace("{mask}", hf.mask_token) for each in rendered]
        batch = hf(texts, padding=True, return_tensors="pt").to(lm.model.device)
        logits = lm.model(**batch).logits
        answer = logits[batch["input_ids"] == hf.mask_token_id].log_softmax(dim=-1)
        return label_scores(answer[:, ids])

    return score


def plain_seq2seq(lm: Seq2SeqLM, examples: list[Example]) -> Plain:
    """For each label one padded batch of the examples as they come, with the label's word."""
    hf: Any = lm.tokenizer.hf
    ids = [lm.tokenizer.encode(words[0])[0] for words in VERBALIZER.words]

    @torch.inference_mode()
    def score(prompt: Prompt) -> FloatArray:
        text = prompt_text(lm.tokenizer, SEQ2SEQ_TEMPLATE, prompt)
        texts = [SEQ2SEQ_TEMPLATE.render(example.fields, text) for example in examples]
        batch = hf(texts, padding=True, return_tensors="pt").to(lm.model.device)
        found = []
        for word in ids:
            labels = torch.full((len(texts), 1), word, device=lm.model.device)
            logits = lm.model(**batch, labels=labels).logits
            found.append(logits[:, 0].log_softmax(dim=-1)[:, word])
        return label_scores(torch.stack(found, dim=1))

    return score


def label_scores(words: torch.Tensor) -> FloatArray:
    """Log-probabilities among the label words."""
    return np.asarray(words.double().log_softmax(dim=-1).cpu().numpy())


def provenance() -> dict[str, Any]:
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
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


#: Sections by the key they have in the JSON file.
SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "causal": causal,
    "masked": masked,
    "seq2seq": seq2seq,
}


def show(section: str, results: dict[str, Any]) -> None:
    print(f"\n{section} ({results['lm']['name']})")
    for key, value in results.items():
        if isinstance(value, float):
            print(f"  {key:28} {value:12.4g}")
        elif isinstance(value, int):
            print(f"  {key:28} {value:12}")


def parse_sections(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise argparse.ArgumentTypeError(f"no section {name!r}; there are {known}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="file for the numbers")
    parser.add_argument(
        "--sections", type=parse_sections, default=[*SECTIONS], help="comma-separated; all of them"
    )
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice if left out")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs; the median counts")
    parser.add_argument(
        "--lm", default="smollm2", help="causal: alias, folder, GGUF file or hub id"
    )
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    for name in options.sections:
        results[name] = SECTIONS[name](options)
        show(name, results[name])
    results["provenance"] = provenance()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

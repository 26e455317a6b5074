"""``rlprompt serve``."""

from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err

_RUN_HELP = "Folders of finished runs of one LM, or NAME=FOLDER."


@app.command()
def serve(
    runs: Annotated[list[str], typer.Argument(help=_RUN_HELP)],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")
    ] = 8000,
    max_batch: Annotated[int, typer.Option(help="Texts that go to the LM together.")] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(help="How long a lone text waits for others, in milliseconds.")
    ] = 5.0,
    max_texts: Annotated[int, typer.Option(help="Texts of a request.")] = 256,
    max_length: Annotated[int, typer.Option(help="Characters of a text.")] = 10_000,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 1 << 20,
    max_queue: Annotated[int, typer.Option(help="Texts that wait; beyond, the answer is 503.")] = (
        1024
    ),
    device: options.Device = None,
    threads: options.Threads = None,
) -> None:
    """Serve learned prompts over HTTP: texts in, labels and calibrated probabilities out.

    There is no authentication. By default only this machine can ask.
    """
    from rlprompt.serve.limits import Limits
    from rlprompt.serve.runs import named_results
    from rlprompt.tasks.optional import need

    for package in ("fastapi", "uvicorn"):
        need(package, "rlprompt[serve]", "The service")
    limits = Limits(max_batch, max_wait_ms, max_texts, max_length, max_body, max_queue)
    results = named_results(runs)

    from rlprompt.run.multi_task import Learned, MultiTaskPredictor
    from rlprompt.run.predictor import own_lm
    from rlprompt.serve.app import make_app
    from rlprompt.serve.server import is_loopback, listen, names_of, run

    with listen(host, port) as bound:
        first, *others = results.values()
        lm = own_lm(first, device=device, threads=threads)
        for other in others:
            own_lm(other, lm=lm)
        tasks = {name: Learned.of(result) for name, result in results.items()}
        predict = MultiTaskPredictor(lm, tasks).predict
        made = make_app(predict, tasks, lm=lm.identity.name, limits=limits, hosts=names_of(host))
        if not is_loopback(host):
            err.print(
                f"[bold yellow]Warning:[/] {host} can be reached from other machines, and the "
                "service has no authentication."
            )
        place = f"[{host}]" if ":" in host else host
        err.print(
            f"Serving {', '.join(tasks)} on {lm.identity.name} at "
            f"http://{place}:{bound.getsockname()[1]} (Ctrl-C ends)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        run(made, bound)
    err.print("Stopped.")

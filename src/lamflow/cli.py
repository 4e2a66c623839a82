"""The command ``lamflow``: look at recordings, label them, take agents away and let them play. ``lamflow COMMAND --help`` says more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPISODES = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 after a line that says what is wrong, 130 when it was interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["progress"]:  # which has options of its own
        from lamflow.runs.progress import main as progress

        return progress(given[1:])
    options = parser().parse_args(given)
    try:
        status: int = options.run(options)
        return status
    except KeyboardInterrupt:
        print(f"lamflow {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        written_for_people = isinstance(error, ValueError | FileNotFoundError)
        message = str(error) if written_for_people else f"{type(error).__name__}: {error}"
        print(f"lamflow {options.command}: {message}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands."""
    found = argparse.ArgumentParser(prog="lamflow", description=(__doc__ or "").replace("``", "'"))
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = _command(commands, "inspect", _inspect, "what recordings are, and the configuration that uses them")
    inspect.add_argument("path", type=Path, help="a file or folder of recorded episodes")
    _how(inspect)
    label = _command(commands, "label", _label, "latent actions of every frame of recordings, as parquet")
    label.add_argument("model", type=Path, help="a latent action model: model.safetensors, or its folder")
    label.add_argument("data", type=Path, help="a file or folder of recorded episodes")
    label.add_argument(
        "-o", "--output", type=Path, required=True, help="the parquet file to write, or with --into a folder"
    )
    label.add_argument(
        "--into", choices=["lerobot", "minari"], help="write a copy of the data set with further columns"
    )
    label.add_argument("--decoder", type=Path, help="decoders.safetensors, or its folder: writes true actions, too")
    label.add_argument(
        "--fit", choices=["resize", "letterbox"], help="of pictures; by default as the model learnt them"
    )
    _how(label)
    _which(label, "decoder")
    pack = _command(commands, "pack", _pack, "all files of an agent, copied into a folder that load_agent takes")
    pack.add_argument("agent", type=Path, help="results/<experiment>/policies/<env>/<method>/seed<k>")
    pack.add_argument("folder", type=Path, help="a new folder")
    _which(pack, "agent")
    play = _command(commands, "play", _play, "rollouts of an agent, whose returns are printed")
    play.add_argument(
        "agent", type=Path, help="a packed folder, or results/<experiment>/policies/<env>/<method>/seed<k>"
    )
    play.add_argument(
        "environment", nargs="?", help="a name of lamflow's or an id of Gymnasium; default: the agent's own"
    )
    play.add_argument("--episodes", type=_count, default=EPISODES, help=f"levels that are played; default: {EPISODES}")
    play.add_argument("--seed", type=int, help="of the levels; default: the agent's, as in the workflow")
    play.add_argument("--num-rulesets", type=_count, help="of XLand, as `collection.num_rulesets` of the experiment")
    _which(play, "agent")
    export = _command(
        commands, "export", _export, "a latent action model or an agent as graphs that run without lamflow"
    )
    export.add_argument("path", type=Path, help="model.safetensors of a LAM, its folder, or an agent's folder")
    export.add_argument("folder", type=Path, help="where the graphs are written")
    export.add_argument("--formats", nargs="+", default=["onnx", "torch"], help="default: onnx torch")
    _which(export, "agent")
    validate = _command(commands, "validate", _validate, "whether a store, or a configuration (.yaml), is sound")
    validate.add_argument("path", type=Path, help="a .zarr folder, or a .yaml file")
    _command(commands, "progress", _validate, "how far a run is; as `make progress`")
    return found


def _command(commands: Any, name: str, run: Any, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=f"{description[0].upper()}{description[1:]}."
    )
    command.set_defaults(run=run)
    return command


def _how(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the source, such as camera=observation.images.top, or its kind; may be given several times",
    )


def _which(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--labels", help=f"the label budget, where there are {what}s of several, such as 64")
    command.add_argument("--draw", type=int, help="the random draw of the labels; default: 0")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return int(text)


def _inspect(options: argparse.Namespace) -> int:
    from lamflow.loaded.inspection import inspect, told

    found = inspect(options.path, options.set)
    print(told(options.path, found))
    return 0 if found.described else 1


def _label(options: argparse.Namespace) -> int:
    from lamflow.loaded.decoders import load_decoder
    from lamflow.loaded.inspection import recognised
    from lamflow.loaded.labelling import label_recordings
    from lamflow.loaded.lams import load_lam

    if options.decoder is None and (options.labels is not None or options.draw is not None):
        raise ValueError("found --labels or --draw without --decoder, expected them with decoders alone")
    settings, lam = recognised(options.data, options.set), load_lam(options.model)
    table = options.output
    if options.into is not None:
        from lamflow.loaded.added_columns import add_labels, check_into

        check_into(options.into, settings, options.output)
        table = options.output.with_name(f"{options.output.name}.labels.parquet")
    decoder = None
    if options.decoder is not None:
        decoder = load_decoder(options.decoder, lam, labels=options.labels, draw=options.draw)
    rows = label_recordings(lam, settings, table, fit=options.fit, decoder=decoder)
    if options.into is not None:
        add_labels(table, options.data, options.output, options.into)
    print(f"{options.output}: {rows:,} rows, one per frame, labelled by {lam.name} of {lam.spec.name}, seed {lam.seed}")
    return 0


def _pack(options: argparse.Namespace) -> int:
    from lamflow.loaded.agent_files import find_agent, pack_agent
    from lamflow.loaded.agents import choose_member

    found, member = find_agent(options.agent), None
    if options.labels is not None or options.draw is not None:
        member = choose_member(found, options.labels, options.draw, str(options.agent))
    print(f"{pack_agent(found, options.folder, member)}: {found.method} of {found.spec.name}, seed {found.seed}")
    return 0


def _play(options: argparse.Namespace) -> int:
    from lamflow.loaded.agents import load_agent
    from lamflow.loaded.playing import environment_of, play_agent, summary

    agent = load_agent(options.agent, labels=options.labels, draw=options.draw)
    played = environment_of(options.environment or agent.spec.name, agent)
    result = play_agent(agent, played, episodes=options.episodes, seed=options.seed, num_rulesets=options.num_rulesets)
    print(f"{agent}\n{summary(played.name, result)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from lamflow.exporting import export_agent, export_lam
    from lamflow.loaded.agents import load_agent
    from lamflow.loaded.lams import MODEL, load_lam

    folder, formats = options.folder, options.formats
    if options.path.is_file() or options.path.joinpath(MODEL).is_file():
        if options.labels is not None or options.draw is not None:
            raise ValueError(f"{options.path}: found --labels or --draw, expected them with agents alone")
        lam = load_lam(options.path)
        paths = export_lam(lam.model, folder, formats=formats, about={"lam": lam.name, "seed": lam.seed})
    else:
        loaded = load_agent(options.path, labels=options.labels, draw=options.draw)
        about = {"method": loaded.method, "seed": loaded.seed}
        agent, place = loaded.agent.agent, loaded.agent.place
        paths = export_agent(
            agent, folder, spec=loaded.spec, member=loaded.member, place=place, formats=formats, about=about
        )
    print(*paths, sep="\n")
    return 0


def _validate(options: argparse.Namespace) -> int:
    if options.path.suffix in (".yaml", ".yml"):
        from lamflow.experiment.reading import read_experiment

        experiment = read_experiment(options.path)
        for warning in experiment.warnings():
            print(f"{options.path}: warning: {warning}")
        print(f"{options.path}: ok: experiment {experiment.experiment}, environments {', '.join(experiment.envs)}")
        return 0
    from lamflow.data.validate import main as validate

    return validate([str(options.path)])


if __name__ == "__main__":
    sys.exit(main())

"""`synthesise` and `study`: from a folder of packets to numbers, and what a study declares."""

import argparse
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

from qis._paths import opening
from qis.command._adding import Commands, add
from qis.command.packets import SUFFIX, PacketFound, of_shared_file, packets_in
from qis.command.progress import ProgressLine, shown
from qis.command.result import CommandResult
from qis.errors import InputError, PeerError
from qis.evidence import MemoryStore, Roster
from qis.outcomes import Study
from qis.packet.packet import Packet
from qis.site.exit_codes import ExitCode
from qis.synthesis import Synthesis, synthesise as pool


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands of this module."""
    parser = add(commands, common, "synthesise", synthesise)
    parser.add_argument(
        "folder", metavar="FOLDER|FILE", help="a shared folder, or files of packets"
    )
    parser.add_argument("--roster", help="roster.toml; without one every key counts as a site")
    parser.add_argument("--study", help="study.toml, or a question; needed if there are several")
    parser.add_argument("--model", choices=("fixed", "random"), help="default: what the study says")
    parser.add_argument("--sites", action="store_true", help="show the sites, as `explain` does")
    parser = add(commands, common, "study", study)
    parser.add_argument("action", choices=("new", "check"))
    parser.add_argument("file", metavar="STUDY.toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="of a new study, such as measure=OR; of a list each item by itself",
    )


def synthesise(options: argparse.Namespace) -> CommandResult:
    """Pool the packets of a folder, by the rules of a store.

    The newest version of each site's outcome counts. What is refused or left out is named.
    """
    now = time.time()
    roster = Roster.load(options.roster, memory=False) if options.roster else Roster.open()
    with shown() as progress:
        found = list(_packets_of(Path(options.folder), progress))
        packets = [each.packet for each in found if isinstance(each.packet, Packet)]
        store = MemoryStore(roster=roster, capacity=max(1, len(packets)))
        verdicts = Counter(verdict.value[0] for verdict in store.add_many(packets, now=now))
        declared = _study_of(options.study)
        chosen = declared.id if declared is not None else _only_study(store, options.study)
        review = store.evidence(chosen, now=now)
        progress.say(f"pooling {len(review):,} packets")
        synthesis = pool(review, study=declared, model=options.model)
    refused = [
        f"{each.where}: {each.packet}" for each in found if isinstance(each.packet, PeerError)
    ]
    lines = [synthesis.summary(), ""]
    if options.sites:
        lines += [synthesis.explain(), ""]
    lines.append(
        f"{len(found)} files: " + ", ".join(f"{n} {word}" for word, n in sorted(verdicts.items()))
    )
    if options.roster is None:
        lines.append("No roster was given: every key that has signed something counts as a site.")
    lines += [f"not a packet: {each}" for each in refused]
    return CommandResult(
        text="\n".join(lines),
        values={**_numbers(synthesis), "verdicts": verdicts, "refused": refused},
        code=ExitCode.DATA if refused else ExitCode.OK,
    )


def study(options: argparse.Namespace) -> CommandResult:
    """Check a study's file, or make a new one from --set; show its id and what it declares."""
    if options.action == "new":
        _study_from(options.set).save(options.file)
    elif options.set:
        raise InputError("--set is for `study new`; edit the file", field="set")
    found = Study.load(options.file)
    return CommandResult(
        text=f"id: {found.id.hex()}\n{found!r}",
        values={"id": found.id.hex(), "question": found.question, "measure": found.measure},
    )


def _study_from(given: list[str]) -> Study:
    """Make a study of texts, each FIELD=VALUE."""
    kinds = get_type_hints(Study)
    values: dict[str, Any] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if name not in kinds or not sign:
            raise InputError(
                f"{each!r:.60} is no FIELD=VALUE; a study has {', '.join(kinds)}", field="set"
            )
        if kinds[name] == tuple[str, ...]:
            values[name] = (*values.get(name, ()), text)
        elif name in values:
            raise InputError(f"{name} is given twice", field="set", actual=name)
        else:
            values[name] = _read(kinds[name], text)
    if "question" not in values:
        raise InputError('a study needs --set "question=a vs b | outcome"', field="set")
    return Study(**values)


def _read(kind: Any, text: str) -> str | float:
    """A text as the field wants it; what cannot be read is left for the study to refuse."""
    if {int, float}.isdisjoint(get_args(kind)):
        return text
    for read in (int, float) if float in get_args(kind) else (int, _seconds):
        with suppress(ValueError):
            return read(text)
    return text


def _seconds(text: str) -> int:
    """Unix seconds of a date (UTC) or a time with its zone, as in a study's file."""
    found = datetime.fromisoformat(text)
    return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp())


def _packets_of(folder: Path, progress: ProgressLine) -> list[PacketFound]:
    if not folder.is_dir():
        return list(packets_in(str(folder)))
    with opening(folder, "read"):
        paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    found = []
    for number, path in enumerate(paths):
        progress(number, len(paths), "files read")
        found.append(of_shared_file(path))
    if not found:
        raise InputError(
            f"{folder} holds no file whose name ends with {SUFFIX}, as DirectoryTransport writes "
            "them; name a file of packets to read one",
            field="folder",
        )
    return found


def _study_of(given: str | None) -> Study | None:
    return Study.load(given) if given and given.endswith(".toml") else None


def _only_study(store: MemoryStore, question: str | None) -> bytes:
    """The id of the one study that is there, or of the one with this question."""
    questions = {each: _question_of(store, each) for each in store.studies()}
    matching = [each for each, text in questions.items() if question in {None, text}]
    if len(matching) == 1:
        return matching[0]
    listed = "; ".join(sorted(set(questions.values()))) or "none"
    raise InputError(
        f"{len(matching)} studies match; name one with --study. There are: {listed}",
        field="study",
        actual=len(matching),
    )


def _question_of(store: MemoryStore, study_id: bytes) -> str:
    return next(
        each.outcome.question for each in store.packets() if each.outcome.study_id == study_id
    )


def _numbers(synthesis: Synthesis) -> dict[str, Any]:
    """What programs read. Ratios are logarithms here, as everywhere but in words."""
    chosen = synthesis.chosen
    return {
        "measure": None if chosen is None else chosen.measure,
        "model": synthesis.model,
        "estimate": synthesis.estimate,
        "standard_error": synthesis.standard_error,
        "lower": synthesis.interval[0],
        "upper": synthesis.interval[1],
        "marks": [mark.name for mark in synthesis.marks],
        "note": synthesis.note,
        "digest": synthesis.digest.hex(),
        "sites": synthesis.to_dict(),
    }

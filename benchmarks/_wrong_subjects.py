"""The public callables, what each is usually given, and which are not called and why."""

import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import qis
from qis import disclosure, evidence, fingerprint, loop, outcomes, synthesis
from qis.testing import VirtualClock

NOW = 1_800_000_000
ABOUT = [0.2, -1.0, 0.7]
Q = {"question": "a vs b | c"}
IDENTITY = qis.Identity.from_seed(bytes(range(32)))
SCHEME = qis.VectorScheme(dimensions=3)
SETS = qis.SetScheme()
PRINT = SCHEME.fingerprint(ABOUT)
KEYS = SCHEME.routing_keys(ABOUT)
INTEREST = SCHEME.interest(ABOUT)
EFFECT = qis.Effect(measure="OR", estimate=-0.3, standard_error=0.1, n=90, **Q)
PACKET = qis.Packet.sign(
    IDENTITY, outcome=EFFECT, fingerprint=PRINT, issued_at=NOW, lifetime_s=86_400, routing_keys=KEYS
)
STUDY = qis.Study(question="a vs b | c")
LATITUDE = qis.Moderator(name="latitude", low=0.0, high=60.0)
MODERATED = qis.Study(question="a vs b | c", model="fixed", moderators=(LATITUDE,))
AT_LATITUDES = [
    qis.Effect(
        study=MODERATED, measure="OR", estimate=y, standard_error=0.1,
        moderators=MODERATED.coded({"latitude": x}),
    )
    for x, y in ((0.0, 0.0), (30.0, -0.4), (60.0, -0.8))
]  # fmt: skip
OTHER = qis.Identity.from_seed(bytes(32))
ROSTER = qis.Roster(
    (qis.Site.of("Ulm", IDENTITY.issuer), qis.Site.of("Bern", OTHER.issuer)),
)
COUNTS = qis.Counts(events=30, total=400, control_events=50, control_total=410, **Q)
MOMENTS = qis.Moments.from_values([1.0, 2.0, 4.0], [1.0, 3.0, 7.0], **Q)
PROFILE = COUNTS.profile()
RECORD = qis.Record(content={"a": 1}, **Q)
ANCHOR = qis.Anchor(model="linear", coefficients=(0.0, 0.0), **Q)
A, B, C, ROOT = (f"HP:000000{number}" for number in range(4))
ONTOLOGY = qis.Ontology(
    "tiny 1",
    {A: [ROOT], B: [ROOT], C: [A], ROOT: []},
    {ROOT: 0.0, A: 1.0, B: 2.0, C: 3.0},
)
TERMS = qis.TermScheme(ONTOLOGY)
DISEASES = {"OMIM:1": [A], "OMIM:2": [B], "OMIM:3": [A, B], "OMIM:4": [C]}
CELLS = qis.build_cells(ONTOLOGY, DISEASES, source="tiny 1", count=2)
X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 5.0]])
QUADRATIC = qis.QuadraticLikelihood.from_linear(
    features=X,
    responses=[1.0, 2.0, 2.5, 4.0, 5.5],
    residual_variance=1.0,
    anchor=ANCHOR,
    **Q,
)
MODEL = qis.Study(
    question="age | death", kind="model", family="logistic",
    coefficients=("intercept", "age"), purpose="effect",
)  # fmt: skip
ROWS = qis.ModelRows(features=[[0.1], [0.4], [0.8], [0.2]], labels=[0, 0, 1, 1])
ANSWER = ROWS.for_study(MODEL).answer(np.zeros(2))
FITTED = qis.fit_model({"Ulm": ANSWER}, study=MODEL)
STORE = qis.MemoryStore(roster=ROSTER)
STORE.add(PACKET, now=NOW)
REVIEW = STORE.evidence("a vs b | c", now=NOW)
SYNTHESIS = qis.synthesise([EFFECT, EFFECT], model="fixed", names=["Ulm", "Bern"])
PRESET = qis.Disclosure.preset("none").rules
FRAME = {"arm": ["t", "c"] * 4, "died": [1, 0, 0, 1, 1, 1, 0, 0], "days": [3, 4, 5, 6, 7, 8, 2, 1]}

ALWAYS_REFUSED = {
    "AuditReader.packets_of", "SynthesisLoop.reject", "SynthesisLoop.release",
    "blocking.SynthesisLoop.reject", "blocking.SynthesisLoop.release",
}  # fmt: skip
"""Nothing waits for a release, and nothing was synthesised, here: every call is refused, and only
foreign exceptions tell."""

MODULES = (
    "qis", "qis.synthesis", "qis.outcomes", "qis.fingerprint", "qis.evidence", "qis.disclosure",
    "qis.transport", "qis.loop", "qis.site", "qis.testing", "qis.simulation",
    "qis.blocking",
)  # fmt: skip
PREFIXES = {"qis.blocking": "blocking."}
"""What distinguishes callables of a module whose names are those of another."""

MADE_BY_THE_LIBRARY = {
    "AbsoluteEffect", "CombinedQuadratics", "Delivery", "DryRun", "EggerTest", "Entry",
    "Equivocation", "Event", "Excluded", "Finding", "HeavyTailed", "InfluenceTable", "LeftOut",
    "LoopStatistics", "Marginal", "Match", "MedianEstimate", "Neighbour", "Pending", "Pooled",
    "PooledCounts", "PooledProfiles", "Posterior", "Preview", "Reach", "Resolution", "Review",
    "Shrunken", "SiteInfluence", "SiteResult", "Statistics", "Synthesis", "Undelivered", "Measure",
    "Health", "Holding", "Heterogeneity", "TippingPoints", "QuadraticLikelihood",
    "AuditHead", "StoreStatistics", "Report", "CommandResult", "Cells", "Ranked", "SiteFinding",
    "Quantiles", "Similarity", "SiteAnswer", "SiteWeight", "FittedModel",
}  # fmt: skip
"""Results: their constructors are called by the library only, with what it has computed."""

NOT_CALLED = {
    "from_body": "decodes what the packet gate has read; it may raise anything, as it says",
    "encoded_at": "is called on what from_body has built only, as it says",
    "outcome_from_body": "as from_body",
    "check_transport": "runs for seconds; its one parameter is a callback",
    "SynthesisLoop.join": "needs a model study of the loop; tests/unit/test_model_loops.py has it",
    "check_store": "runs for seconds; its one parameter is a callback",
    "Reception": "takes in what comes from the network, for authors of transports",
    "Inbox": "as Reception",
    "decode_carried": "as Reception",
    "encode_carried": "as Reception",
    "require_signed_keys": "as Reception",
    "Progress": "is a type",
    "Transport": "is abstract; MemoryTransport, DirectoryTransport and UDPTransport are called",
    "SiteLoop": "is a SynthesisLoop; tests/unit/test_report.py gives wrong paths to the rest",
    "EvidenceStore": "is abstract; MemoryStore and SQLiteStore are called",
    "Scheme": "is abstract; VectorScheme, SetScheme and TermScheme are called",
    "Outcome": "is the base of the kinds, which are called",
    "UnknownOutcome.of_kind": "decodes what the packet gate has read, as from_body",
    "Level": "is a protocol; LoadBudget and the other levels are called",
    "Approval": "is a type",
    "Account": "is opened and written by Disclosure and its ledger and budget",
    "move_to": "as Account",
    "settle": "is called with the verdict of a reconciliation",
    "KeptSites": "is made from likelihoods that the synthesis has computed",
    "NATSServer": "starts a server",
    "Pending.of": "is called by the loop, with a draft of its own",
    "Pending.with_preview": "as Pending.of",
    "EmissionLedger.of_question": "is called by Disclosure, with an Emission of its own",
    "FittedModel.seen_from": "is called by the loop, with a fit of its own",
    "Outbox.hold": "is called by the loop, with a Pending of its own",
    "Outbox.looked": "as Outbox.hold",
    "Outbox.set_aside": "as Outbox.hold",
    "Outbox.take_back": "as Outbox.hold",
    "EmissionLedger.note": "is called by Disclosure.release, with an Emission of its own",
}

CALLBACKS = {
    "log_likelihood", "gradient", "evaluate", "value", "clock", "on_event", "distil", "approve",
    "relevance", "accepts", "made_by", "keys_of_epoch", "progress", "action",
}  # fmt: skip
"""Parameters that are functions of the application's. Anything that can be called is taken; what
log-likelihoods raise is an `InputError`, what the others raise when they are called comes out, or
is contained and told, as their docstrings say."""

ANYTHING = {
    "features": "the scheme's own kind: numbers, strings or terms, checked by the scheme",
    "batch": "as features", "about": "as features", "X": "as features",
    "record": "whatever `distil` takes", "frame": "a table of any library",
    "content": "what can be a Record: text, numbers, lists, maps",
    "subjects": "keyed hashes, or records to hash",
    "result": "a fitted model of another library", "y": "ignored, as scikit-learn has it",
    "ax": "an Axes of matplotlib", "strata": "labels of any kind, as times of inclusion are",
}  # fmt: skip
"""Parameters that are annotated `Any`, with what they take. Foreign exceptions count against them,
what they take does not."""

USUAL: dict[str, Any] = {
    "identity": IDENTITY, "outcome": EFFECT, "fingerprint": PRINT, "issued_at": NOW,
    "lifetime_s": 3600, "question": "a vs b | c", "measure": "OR", "estimate": 0.1,
    "standard_error": 0.2, "ratio": 0.73, "lower": 0.58, "upper": 0.93, "events": 3, "total": 40,
    "mean": 1.0, "ss": 2.0, "data": bytes(PACKET), "buffers": [bytes(PACKET)], "packet": PACKET,
    "packets": [PACKET], "now": NOW, "study": STUDY, "roster": ROSTER, "name": "Ulm",
    "key": bytes(32), "seed": bytes(32), "sketch": bytes(32), "scheme_id": bytes(8),
    "routing_keys": KEYS, "min_similarity": 0.5, "model": "fixed", "sites": (ROSTER.sites[0],),
    "estimates": [0.1, 0.2, 0.4], "standard_errors": [0.1, 0.2, 0.3], "features": ABOUT,
    "a": PRINT, "b": PRINT, "fingerprints": [PRINT], "dimensions": 3, "scheme": SCHEME,
    "issuer": IDENTITY.issuer, "issuers": IDENTITY.issuer, "similarity": 0.5,
    "values": [1.0, 2.0, 3.0], "log_likelihood": lambda b: -b * b, "times": [1, 2, 3],
    "treated": [0, 1, 0], "profiles": [PROFILE], "content": {"a": 1}, "batch": [ABOUT],
    "message": b"m", "keys": (qis.SiteKey(issuer=IDENTITY.issuer),), "study_id": bytes(8),
    "level": 0.95, "tag": bytes(8), "theta": [0.0], "about": ABOUT, "interest": INTEREST,
    "path": "new.file", "passphrase": None, "sequence": NOW * 10**6, "top_fraction": 0.1,
    "decide": True, "body": {}, "frame": FRAME, "record": 1, "own": EFFECT, "others": [EFFECT],
    "timeout_s": 0.0, "packet_id": PACKET.id, "seconds": 0.1, "people": 0, "events_": [1],
    "pending_id": "none", "approver": "me", "outcomes": [QUADRATIC],
    "anchors": {ANCHOR.anchor_id: ANCHOR.coefficients}, "review": REVIEW, "backend": "pandas",
    "baseline_risk": 0.1, "mixing_scale": 0.5, "terms": [A], "term": A, "value": 0.5,
    "leaves_machine": False, "rules": PRESET, "epsilon": 1.0, "scheme_": SCHEME, "below": 5,
    "alpha": 0.05, "reason": evidence.Reason.DERIVED, "network": None, "convention": "hk",
    "head": None, "text": "1:" + "00" * 32, "heads": None, "error": ValueError(), "X": [ABOUT],
    "counts": COUNTS, "tau_scale": 0.5, "transport": None, "evaluate": lambda x: (-x * x, -2 * x),
    "limiting_slopes": (1.0, -1.0), "gradient": lambda b: -2 * b, "anchor": ANCHOR,
    "release": "1", "parents": {"root": []}, "information": {"root": 0.0}, "ontology": ONTOLOGY,
    "number": 1, "number_": 1, "synthesis": SYNTHESIS, "combined": None, "target": "export.file",
    "key_": bytes(32), "event": "received", "notes": [], "emission": None, "records": ["a"],
    "look": 1, "draft": None, "preview": "", "explain": "", "former": {}, "limit": 10,
    "after": 0, "most": 64, "numbers": [0.1, 0.5], "tables": [], "preset": PRESET, "study_": STUDY,
    "graph": None, "decision": None, "deep": True, "input_features": None, "delivery": None,
    "unix_s": NOW, "base_keys": KEYS, "epoch": 3, "evidence": [EFFECT],
    "wanted": [KEYS, KEYS], "nodes": [1], "node": 1, "publisher": 1,
    "share": 0.5, "action": lambda: None, "sides": [0],
}  # fmt: skip


class Made(NamedTuple):
    """An argument that is made anew for each call, since calls use it up."""

    make: Callable[[], Any]

    def __call__(self) -> Any:
        """Make it."""
        return self.make()


class Subject(NamedTuple):
    """One callable, and what it is given where a parameter is not the one under test."""

    name: str
    call: Callable[..., Any]
    usual: dict[str, Any]
    parameters: dict[str, inspect.Parameter]


def parameters_of(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters by name, without ``**others``, with their annotations evaluated."""
    try:
        found = inspect.signature(call, eval_str=True).parameters
    except (NameError, TypeError, ValueError):
        found = inspect.signature(call).parameters
    return {n: p for n, p in found.items() if p.kind is not p.VAR_KEYWORD}


def subjects(
    owners: dict[str, Any], special: dict[str, dict[str, Any]], new_owner: dict[str, Any]
) -> Iterator[Subject]:
    """Yield every public callable with parameters, each once.

    Parameters
    ----------
    owners
        An object of each class whose methods are called, by the class' name.
    special
        What single callables are given, by their name and parameter.
    new_owner
        Functions that make an object for each call, for classes whose methods use them up.

    """
    seen: set[int] = set()
    for module in map(importlib.import_module, MODULES):
        prefix = PREFIXES.get(module.__name__, "")
        for name in module.__all__:
            thing = getattr(module, name)
            if id(thing) in seen or not callable(thing) or name in NOT_CALLED:
                continue
            seen.add(id(thing))
            if not inspect.isclass(thing):
                found = [(f"{prefix}{name}", thing)]
            elif issubclass(thing, (BaseException, Enum)):
                continue
            else:
                found = list(_of_class(name, thing, prefix, owners, new_owner))
            for full, call in found:
                parameters = parameters_of(call)
                usual = special.get(full, special.get(full.removeprefix(prefix), {}))
                if parameters:
                    yield Subject(full, call, usual, parameters)


def _of_class(
    name: str, cls: type, prefix: str, owners: dict[str, Any], new_owner: dict[str, Any]
) -> Iterator[tuple[str, Callable[..., Any]]]:
    label = prefix + name
    if name not in MADE_BY_THE_LIBRARY and name != "Packet":
        yield label, cls
    for member in sorted(dir(cls)):
        static = inspect.getattr_static(cls, member)
        if (
            member.startswith("_")
            or member in NOT_CALLED
            or f"{name}.{member}" in NOT_CALLED
            or isinstance(static, (property, types.MemberDescriptorType))
            or not callable(getattr(cls, member))
            or not str(getattr(getattr(cls, member), "__module__", "")).startswith("qis")
        ):
            continue
        if not [name for name in parameters_of(getattr(cls, member)) if name != "self"]:
            continue
        if isinstance(static, (classmethod, staticmethod)):
            yield f"{label}.{member}", getattr(cls, member)
        elif label in new_owner:
            yield f"{label}.{member}", _fresh(cls, member, new_owner[label])
        else:
            yield f"{label}.{member}", getattr(owners.get(label, cls), member)  # cls: is unusable


def _fresh(cls: type, member: str, make: Callable[[], Any]) -> Callable[..., Any]:
    """A method of an object that is made for each call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(make(), member)(*args, **kwargs)

    whole = inspect.signature(getattr(cls, member), eval_str=True)
    call.__signature__ = whole.replace(parameters=list(whole.parameters.values())[1:])  # type: ignore[attr-defined]
    return call


def owners() -> dict[str, Any]:
    """An object of each class whose methods need no event loop."""
    index = qis.FingerprintIndex(SCHEME)
    index.add([PRINT, PRINT])
    sqlite = qis.SQLiteStore("sandbox.db", roster=ROSTER)
    sqlite.add(PACKET, now=NOW)
    log = qis.AuditLog("sandbox.audit")
    return {
        "Issuer": IDENTITY.issuer, "Packet": PACKET, "Study": MODERATED, "Roster": ROSTER,
        "Site": ROSTER.sites[0], "SiteKey": ROSTER.sites[0].keys[0], "Effect": EFFECT,
        "Counts": COUNTS, "Fingerprint": PRINT, "VectorScheme": SCHEME, "Interest": INTEREST,
        "SetScheme": SETS, "TermScheme": TERMS, "Ontology": ONTOLOGY,
        "LikelihoodProfile": PROFILE, "MemoryStore": STORE, "SQLiteStore": sqlite,
        "Identity": IDENTITY, "FingerprintIndex": index, "Moments": MOMENTS,
        "Disclosure": qis.Disclosure.preset("none"), "AuditLog": log,
        "Outbox": qis.Outbox(), "Pooled": qis.inverse_variance([0.1, 0.5, 0.9], [0.1, 0.2, 0.3]),
        "Synthesis": SYNTHESIS, "Review": REVIEW, "Measure": outcomes.MEASURES["OR"],
        "InfluenceTable": synthesis.influence([0.1, 0.5, 0.9], [0.1, 0.2, 0.3]),
        "EmissionLedger": disclosure.EmissionLedger(), "VirtualClock": VirtualClock(),
        "PrivacyBudget": disclosure.PrivacyBudget(100.0),
        "SimilarityTransformer": fingerprint.SimilarityTransformer(SCHEME).fit([ABOUT]),
        "SketchTransformer": fingerprint.SketchTransformer(SCHEME).fit([ABOUT]),
        "AuditReader": evidence.AuditReader("sandbox.audit"),
        "Match": loop.Match(packet=PACKET, record=RECORD), "Record": RECORD, "Anchor": ANCHOR,
        "QuadraticLikelihood": QUADRATIC, "Derived": None, "Retraction": None, "Suppressed": None,
        "RosterFile": None, "Path": Path, "Cells": CELLS,
        "NearestCells": qis.NearestCells(CELLS, keys=2), "LoadBudget": qis.LoadBudget(),
        "Everything": qis.Everything(sites=3), "ModelRows": ROWS, "Moderator": LATITUDE,
        "FittedModel": FITTED,
        "SiteAnswer": qis.for_site([EFFECT, COUNTS.effect("OR")], EFFECT, names=["Bern", "Genf"]),
    }  # fmt: skip

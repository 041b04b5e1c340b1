"""The sandbox: an event loop with open transports and a loop, and files of every kind."""

import asyncio
import itertools
import json
import math
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Self

import qis
import qis.blocking
from benchmarks import _wrong_subjects as given
from benchmarks._wrong_subjects import IDENTITY, INTEREST, ROSTER, SCHEME, Made, Q, X
from qis.disclosure import PrivacyBudget
from qis.evidence.rules import evidence_key
from qis.simulation import Simulation

_SITE = """
[identity]
file = "sandbox.key"
[roster]
file = "sandbox.roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "sandbox.secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange"
"""


class Live:
    """Everything that a call may need, made in the current folder."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._threads = ExitStack()
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._write()
        self.owners = given.owners()
        self.run(self._open())
        self._open_blocking()
        self.special = self._special()
        self.new_owner = {
            "MemoryNetwork": qis.MemoryNetwork,
            "PrivacyBudget": lambda: PrivacyBudget(100.0),
            "Simulation": _simulation,
        }
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("SQLiteStore", "AuditLog", "Outbox"):
            self.owners[name].close()
        self._threads.close()
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the one event loop."""
        return self._runner.run(work)

    def fresh(self, ending: str) -> Made:
        """A path that no file has yet, for each call another."""
        return Made(lambda: f"made{next(self._numbers)}.{ending}")

    def _interest(self) -> qis.Interest:
        turn = next(self._numbers)
        about = [math.cos(turn), math.sin(turn), math.cos(1.7 * turn)]
        return SCHEME.interest(about, min_similarity=0.5 + turn * 1e-9)  # equal to no other

    def _packet(self) -> qis.Packet:
        return qis.Packet.sign(
            IDENTITY,
            outcome=given.EFFECT,
            fingerprint=given.PRINT,
            issued_at=given.NOW,
            lifetime_s=86_400,
            routing_keys=given.KEYS,
            sequence=given.NOW * 10**6 + 1 + next(self._numbers),
        )

    def _write(self) -> None:
        IDENTITY.save("sandbox.key")
        qis.write_packets("sandbox.packets", [given.PACKET])
        index = qis.FingerprintIndex(SCHEME)
        index.save("sandbox.index")
        given.CELLS.save("sandbox.cells")
        Path("sandbox.secret").write_text("ab" * 32, encoding="utf-8")
        Path("sandbox.secret").chmod(0o600)
        Path("site.toml").write_text(_SITE, encoding="utf-8")
        Path("sandbox.study.toml").write_text('question = "a vs b | c"\n', encoding="utf-8")
        roster = f'[[site]]\nname = "Ulm"\n[[site.key]]\nissuer = "{IDENTITY.issuer}"\n'
        Path("sandbox.roster.toml").write_text(roster, encoding="utf-8")
        graph = {
            "graphs": [
                {
                    "nodes": [{"id": "HP:1", "lbl": "x", "type": "CLASS"}],
                    "edges": [],
                    "meta": {"version": "1"},
                }
            ]
        }
        Path("sandbox.json").write_text(json.dumps(graph), encoding="utf-8")
        Path("sandbox.obo").write_text(
            "format-version: 1.2\ndata-version: 1\n\n[Term]\nid: HP:1\nname: x\n", encoding="utf-8"
        )

    def _open_blocking(self) -> None:
        """A loop in a thread of its own, which belongs to no event loop here."""
        other, network = given.OTHER, qis.MemoryNetwork()
        self.owners["blocking.SynthesisLoop"] = self._threads.enter_context(
            qis.blocking.SynthesisLoop(
                other,
                qis.MemoryTransport(network, other),
                SCHEME,
                interest=INTEREST,
                disclosure=qis.Disclosure.preset("none"),
                distil=lambda _: None,
            )
        )

    async def _open(self) -> None:
        network = qis.MemoryNetwork()
        enter = self._stack.enter_async_context
        disclosure = qis.Disclosure.preset("none")
        self.owners["MemoryTransport"] = await enter(qis.MemoryTransport(network, IDENTITY))
        self.owners["DirectoryTransport"] = await enter(
            qis.DirectoryTransport("shared", IDENTITY, roster=ROSTER)
        )
        self.owners["UDPTransport"] = await enter(qis.UDPTransport(IDENTITY, roster=ROSTER))
        other = given.OTHER
        self.owners["SynthesisLoop"] = await enter(
            qis.SynthesisLoop(
                other,
                qis.MemoryTransport(network, other),
                SCHEME,
                interest=INTEREST,
                disclosure=disclosure,
                distil=lambda _: None,
            )
        )

    def _special(self) -> dict[str, dict[str, Any]]:
        cohorts = Made(
            lambda: qis.Effect(
                measure="OR",
                estimate=0.0,
                standard_error=1.0,
                cohort=f"{next(self._numbers) % 60}",
                **Q,
            )
        )
        memory = Made(lambda: qis.MemoryTransport(qis.MemoryNetwork(), IDENTITY))
        loose = {"packet": given.PACKET, "routing_keys": given.KEYS}
        return {
            "Anchor": {"model": "linear", "coefficients": (0.0, 1.0)},
            "AuditLog": {"path": self.fresh("audit")},
            "AuditLog.open": {"path": self.fresh("audit")},
            "AuditLog.read": {"path": "sandbox.audit"},
            "AuditLog.contains": {"head": self.owners["AuditLog"].head},
            "AuditLog.export": {"target": self.fresh("export")},
            "AuditReader": {"path": "sandbox.audit"},
            "AuditReader.packets_of": {"synthesis": bytes(32)},
            "Effect.from_ratio": {"measure": "OR"}, "synthesise": {"model": "fixed"},
            "LikelihoodProfile.from_evaluation": {**Q, "measure": "OR"},
            "MemoryStore.newest_of": {"keys": [_KEY], "accepts": lambda _: True},
            "SQLiteStore.newest_of": {"keys": [_KEY], "accepts": lambda _: True},
            **{
                f"{store}.{name}": {"issuer": bytes(32)}
                for store in ("MemoryStore", "SQLiteStore")
                for name in ("at", "floor", "ids_at", "newest")
            },
            "Preset": {"minimum_cell": 11, "source": "a rule"},
            "QuadraticLikelihood.from_cox": {
                **Q,
                "features": X[:, 1:], "times": [3, 4, 2, 5, 1], "events": [1, 0, 1, 1, 1],
                "anchor": [0.0],
            },
            "QuadraticLikelihood.from_linear": {
                **Q,
                "features": X, "responses": [1.0, 2.0, 2.5, 4.0, 5.5], "residual_variance": 1.0,
                "anchor": [0.0, 0.0],
            },
            "QuadraticLikelihood.from_logistic": {
                **Q,
                "features": X, "labels": [0, 1, 0, 1, 1], "anchor": [0.0, 0.0],
            },
            "QuadraticLikelihood.from_poisson": {
                **Q,
                "features": X, "events": [0, 1, 0, 1, 1], "anchor": [0.0, 0.0],
            },
            "QuadraticLikelihood.from_terms": {
                "model": "linear", "score": [0.1, 0.2], "information": [[2.0, 0.1], [0.1, 3.0]],
                "anchor": [0.0, 0.0], "n": 40,
            },
            "membership_auc": {"numbers": 3, "people": 40},
            "next_anchor": {
                "combined": qis.combine_quadratics(
                    [given.QUADRATIC], anchors={given.ANCHOR.anchor_id: (0.0, 0.0)}
                ),
            },
            "private_counts": {
                "budget": Made(lambda: PrivacyBudget(100.0)),
                "counts": qis.Counts(
                    events=1, total=4, control_events=2, control_total=5, **Q
                ),  # the larger, the slower
            },
            "rounded_counts": {"rules": qis.Disclosure.preset("nhs").rules},
            "Effect.from_fitted": {"result": _fitted(), "term": "x1"},
            "open_site": {"path": "site.toml"}, "examine": {"path": "site.toml"},
            "examine_network": {"path": "site.toml"},
            "SQLiteStore": {"path": self.fresh("db")},
            "SQLiteStore.recover": {"path": "sandbox.packets", "into": self.fresh("db")},
            "RosterFile": {"path": "sandbox.roster.toml", "memory": False},
            "Roster.load": {"path": "sandbox.roster.toml", "memory": False},
            "Study.load": {"path": "sandbox.study.toml"},
            "Study.save": {"path": self.fresh("toml")},
            "Identity.load": {"path": "sandbox.key"},
            "Identity.save": {"path": self.fresh("key")},
            "FingerprintIndex.load": {"path": "sandbox.index"},
            "FingerprintIndex.save": {"path": "saved.index"},
            "FingerprintIndex.remove": {"positions": []},
            "Ontology.from_obographs": {"path": "sandbox.json"},
            "Ontology.from_obo": {"path": "sandbox.obo"},
            "Ontology.information_from": {"profiles": {"ann": [given.A], "ben": [given.B]}},
            "NearestCells": {"cells": given.CELLS}, "Everything": {"sites": 3},
            "build_cells": {"profiles": given.DISEASES, "source": "tiny 1", "count": 2},
            "Cells.nearest": {"most": 2}, "VectorScheme.fit": {"sample": X},
            "read_packets": {"path": "sandbox.packets"},
            "write_packets": {"path": self.fresh("packets")},
            "sign_roster": {"path": "sandbox.roster.toml"},
            "DirectoryTransport": {"path": self.fresh("folder")},
            "MemoryTransport": {"network": Made(qis.MemoryNetwork)},
            "MemoryNetwork.partition": {"sides": []},
            "SynthesisLoop": {"transport": memory},
            "blocking.SynthesisLoop": {"transport": memory, "interest": INTEREST},
            "Simulation.at": {"args": 1}, "Simulation.subscribe": {"wanted": given.KEYS},
            "Simulation.partition": {"sides": [0]},
            **{
                f"Simulation.{name}": {"packet_id": next(iter(_simulation().publications))}
                for name in ("receivers", "delivered", "concerned")
            },
            "SynthesisLoop.retract": {"force": True},
            "MemoryNetwork.kill": {"transport": memory},
            "SynthesisLoop.publish": {"outcome": cohorts},
            "SynthesisLoop.watch": {"interest": Made(self._interest)},
            "Outbox.put": {"packet": Made(self._packet)},
            "MemoryTransport.publish": loose, "DirectoryTransport.publish": loose,
            "UDPTransport.publish": loose,
            "Moments": {"total": 4}, "Moments.effect": {"measure": "MD"},
            "Moments.from_frame": {"arm": ("arm", "t", "c"), "value": "days"},
            "Counts.from_frame": {"arm": ("arm", "t", "c"), "event": ("died", 1, 0)},
            "Counts.effect": {"measure": "OR"},
            "LikelihoodProfile.from_frame": {
                "time": "days", "event": ("died", 1, 0), "treated": ("arm", "t", "c"),
            },
            "LikelihoodProfile.from_survival": {"events": [1, 1, 0]},
            "LikelihoodProfile.from_likelihood": {**Q, "measure": "OR", "value": lambda b: -b * b},
            "LikelihoodProfile": {
                "lower": -1.0, "upper": 1.0, "maximum": 0.1, "slope_below": -1.0,
                "slope_above": -1.0, "values": (-2.0, -1.5, -1.0, -0.4, 0.0, 0.0, -0.4, -1.0, -2.0),
                "gradients": (1.0,) * 4 + (0.0,) + (-1.0,) * 4,
            },
            "Derived": {"sites": 2, "standard_error": 0.1}, "Record": {"content": {"a": 1}},
            "Effect.from_columns": {
                "frame": {"site": ["Ulm"], "y": [0.1], "s": [0.2]}, "site": "site",
                "estimate": "y", "standard_error": "s", "measure": "OR",
            },
            **{
                f"{name}.{method}": values
                for name, mark in (
                    ("SetScheme", given.SETS.fingerprint({"a"})),
                    ("TermScheme", given.TERMS.fingerprint({given.A})),
                    ("VectorScheme", given.PRINT),
                )
                for method, values in (
                    ("seal", {"fingerprint": mark, "issuer": bytes(32)}),
                    ("open", {"packet": mark}),
                    ("require_own", {"fingerprints": mark}),
                )
            },
            "SetScheme.fingerprint": {"features": {"a"}},
            "SetScheme.base_keys": {"features": {"a"}},
            "heterogeneity_of": {"sites": [given.EFFECT]},
            "tipping_points": {
                "synthesis": qis.synthesise([given.COUNTS], model="fixed"), "missing": 1,
            },
            "Study.coded": {"values": {"latitude": 44.0}}, "Study.decoded": {"codes": b"\x01"},
            "Moderator": {"name": "latitude", "low": 0.0, "high": 60.0},
            "Moderator.code": {"value": 44.0}, "Moderator.decoded": {"code": 127},
            "meta_regression": {"evidence": given.AT_LATITUDES, "study": given.MODERATED},
            "fit_model": {"evidence": {"Ulm": given.ANSWER}, "study": given.MODEL},
            "ModelRows.for_study": {"study": given.MODEL},
            "FittedModel.forest": {"name": "age"}, "FittedModel.forest_plot": {"name": "age"},
            "FittedModel.predict": {"features": [[0.4]]},
            "Cells.load": {"path": "sandbox.cells"}, "Cells.save": {"path": self.fresh("cells")},
            "SetScheme.fingerprints": {"batch": [{"a"}]},
            "SetScheme.routing_keys": {"features": {"a"}},
            "SetScheme.interest": {"features": {"a"}},
            "SetScheme.explain": {
                "features": {"a"}, "fingerprint": given.SETS.fingerprint({"a"}),
            },
            "SetScheme.relevance": {
                "features": {"a"}, "fingerprint": given.SETS.fingerprint({"a"}),
            },
            **{
                f"SetScheme.{name}": dict.fromkeys("ab", given.SETS.fingerprint({"a"}))
                for name in ("similarity", "kernel")
            },
            "SetScheme.ranked": {
                "features": {"a"}, "packets": [given.SETS.fingerprint({"a"})],
            },
            "Interest": {"min_similarity": 0.5}, "Interest.matches": {"study": bytes(8)},
            "Disclosure.preset": {"name": "cms"},
            "Measure.back": {"value": 0.1}, "UnknownOutcome": {"kind": 23},
            "Match.reply": {"content": {"a": 1}},
            "peto": _TABLES, "mantel_haenszel": {**_TABLES, "measure": "OR"},
            "absolute_effect": {
                "pooled": qis.synthesise([given.COUNTS], model="fixed"), "baseline_risk": 0.1,
            },
            "exit_code_of": {"error": ValueError("x")},
            **{f"TermScheme.{name}": values for name, values in _terms().items()},
            "MemoryStore.head": {"key": _KEY}, "SQLiteStore.head": {"key": _KEY},
            "MemoryStore.head_sequence": {"key": _KEY}, "SQLiteStore.head_sequence": {"key": _KEY},
            "Outbox.taken": {"numbers": [1]}, "Outbox.arriving": {"since": given.NOW},
            "VirtualClock": {}, "VirtualClock.set": {"now": 2_000_000_000.0},
        }  # fmt: skip


_KEY = evidence_key(given.PACKET)
_TABLES = {
    "events": [3, 4], "totals": [40, 50], "control_events": [5, 8], "control_totals": [41, 52],
}  # fmt: skip


def _simulation() -> Simulation:
    """A network of two nodes, in which node 1 has published; always the same."""
    network = Simulation.build([given.KEYS, given.KEYS], joins="tables")
    network.publish(1)
    return network


def _fitted() -> Any:
    try:
        from statsmodels.api import Logit  # noqa: PLC0415  of the extra [bench]
    except ImportError:
        return None
    return Logit([0, 1, 0, 1, 1, 0], [[1, 0], [1, 1], [1, 2], [1, 3], [1, 0], [1, 3]]).fit(disp=0)


def _terms() -> dict[str, dict[str, Any]]:
    known = {given.A, given.B}
    mark = given.TERMS.fingerprint(known)
    features: dict[str, Any] = {"features": known}
    about = {**features, "fingerprint": mark}
    return {
        "fingerprint": features, "routing_keys": features, "interest": features,
        "base_keys": features,
        "explain": about, "relevance": about, "fingerprints": {"batch": [known]},
        "likelihood_ratio": about, "odds": {**about, "prior": 0.1},
        "similarity": {"a": mark, "b": mark}, "kernel": {"a": mark, "b": mark},
        "ranked": {**features, "packets": [mark]},
        "terms_of": {"fingerprint": mark}, "codes": {"sketch": mark.sketch},
        "squared_weights": {"sketch": mark.sketch}, "resolve": {"terms": known},
    }  # fmt: skip

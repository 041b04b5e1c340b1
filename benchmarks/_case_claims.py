"""The article's claims in our words, each with the figure that speaks to it and a verdict.

A verdict is computed from the record wherever a number decides; where none can, it is argued, and
"cannot tell" says what would decide.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from _case_record import Record, at_thresholds, auc_gaps, best_federated

HOLDS: Final = "holds"
PARTLY: Final = "holds partly"
NOT: Final = "does not hold"
UNKNOWN: Final = "cannot tell"
VERDICTS: Final = (HOLDS, PARTLY, NOT, UNKNOWN)


def figures(record: Record) -> dict[str, float]:
    """The flat figures, of the parts that were run."""
    found: dict[str, float] = {}
    if "aggregator" in record.parts:
        found["survives_any_node_loss"] = record.parts["aggregator"]["survives_any_node_loss"]
    if table := record.table:
        found["auc_minus_tuned_fedavg_min"] = min(auc_gaps(record))
        found["auc_own_intercept_minus_tuned_fedavg_min"] = min(auc_gaps(record, "packet own"))
        errors = [
            row["packet_against"][best_federated(row)]["auc"]["monte_carlo_se"] for row in table
        ]
        gaps = auc_gaps(record)
        found["auc_monte_carlo_se_of_min"] = errors[gaps.index(min(gaps))]
        found["auc_monte_carlo_se_max"] = max(errors)
        found["logloss_minus_fedavg_refit"] = max(
            row["packet_against"]["fedavg refit"]["logloss"]["mean"] for row in table
        )
        found["scenarios"] = len(table)
    if "bandwidth" in record.parts:
        last = record.parts["bandwidth"]["goal"][-1]
        found["wire_bytes_ratio"] = last["packet_bytes_auc"] / last["fedavg_bytes_auc"]
        found["wire_bytes_ratio_coefficients"] = (
            last["packet_bytes_coefficients"] / last["fedavg_bytes_coefficients"]
        )
    if "inversion" in record.parts:
        part = record.parts["inversion"]
        four = [share for name, share in part["zhu"].items() if name.startswith("4 ")]
        if four:
            found["records_rebuilt_fedavg_n4"] = max(four)
        if "4" in part["packets_no_rules"]:
            found["records_rebuilt_packet_n4_no_rules"] = part["packets_no_rules"]["4"]
    if "thresholds" in record.parts:
        found["records_rebuilt_at_smallest_passing_n"] = at_thresholds(record)
    if "pairs" in record.parts and record.sites(1_000)["nodes"] == 1_000:
        found["pairs_n1000"] = record.sites(1_000)["pairs_reached"]
    if "reach" in record.parts.get("rarest", {}).get("keys", {}):
        found["rarest_reach"] = record.parts["rarest"]["keys"]["reach"]
    found["claims_total"] = len(CLAIMS)
    found["claims_with_verdict"] = sum(bool(claim.verdict(record)) for claim in CLAIMS)
    return found


@dataclass(frozen=True)
class Claim:
    """One claim.

    Parameters
    ----------
    words
        What the article says, in our words.
    part
        The part of `claims.py` that measures it; empty if nothing does.
    figure
        The figure in a sentence, of a record.
    judge
        The verdict of a record, or the one argued for in `why`.
    why
        Why so, and for "cannot tell" what would decide.

    """

    words: str
    part: str
    figure: Callable[[Record], str]
    judge: Callable[[Record], str] | str
    why: str

    def verdict(self, record: Record) -> str:
        """One of `VERDICTS`; empty if its part was not run."""
        if self.part and self.part not in record.parts:
            return ""
        found = self.judge if isinstance(self.judge, str) else self.judge(record)
        if found not in VERDICTS:
            raise ValueError(f"{found!r} is no verdict")
        return found

    def said(self, record: Record) -> str:
        """The figure, or that its part was not run."""
        if self.part and self.part not in record.parts:
            return f"not run ({self.part})"
        return self.figure(record)


def three(value: float) -> str:
    """Three decimals without the leading zero."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed(value: float) -> str:
    """The same with its sign."""
    return three(value).replace("-", "−") if value < 0 else "+" + three(value)


def percent(value: float) -> str:
    """In per cent."""
    return f"{100 * value:.3g} %"


def _auc(record: Record, method: str) -> str:
    return three(record.article["methods"][method]["auc"])


def _third(record: Record, method: str) -> str:
    return three(record.article["methods"][method]["auc_small"])


def _gained(record: Record) -> bool:
    methods = record.article["methods"]
    gain: float = methods["fedavg"]["auc_small"] - methods["local"]["auc_small"]
    return gain > 0.01


def _appendix(record: Record, method: str) -> float:
    found: float = record.parts["appendix"]["scenarios"]["847/612/11"][method]["auc"]
    return found


def _bits(record: Record, method: str) -> str:
    return three(_appendix(record, method))


def _lost(record: Record, method: str) -> float:
    return _appendix(record, "fedavg 10") - _appendix(record, method)


def _weights(record: Record) -> dict[str, float]:
    found: dict[str, float] = record.parts["small_sites"]["weights"]
    return found


def _balanced(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record.scenario("actg", "none cut to 11")["methods"]
    return found


def _anywhere_better(record: Record) -> list[str]:
    """Scenarios where the corrected interval puts the packet above every federated averaging."""
    return [
        f"{row['data']} {row['scenario']}"
        for row in record.table
        if row["packet_against"][best_federated(row)]["auc"]["low"] > 0.0
    ]


def _goal(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record.parts["bandwidth"]["goal"][-1]
    return found


def _reached(record: Record, nodes: int) -> str:
    row = record.sites(nodes)
    return f"{row['pairs_reached']:,} of {row['pairs_possible']:,} pairs at {row['nodes']:,} sites"


def _hops(record: Record) -> str:
    rows = record.parts["pairs"]["by_number"]
    return ", ".join(
        f"{row['hops_p99']:.0f} at {row['nodes']:,} (log₂ N = {math.log2(row['nodes']):.1f})"
        for row in rows
    )


def _without_rules(record: Record) -> str:
    shares = record.parts["inversion"]["packets_no_rules"]
    return ", ".join(f"{percent(share)} at n = {n}" for n, share in shares.items())


def _zhu(record: Record) -> str:
    shares = record.parts["inversion"]["zhu"]
    return ", ".join(f"{percent(share)} ({name})" for name, share in shares.items())


def _rarest(record: Record, name: str = "keys") -> str:
    part = record.parts["rarest"]
    if "not_run" in part:
        return f"not run: {part['not_run']}"
    row = part[name]
    return f"reach {three(row['reach'])}, {percent(row['touched'])} of sites touched"


def _nothing(words: str) -> Callable[[Record], str]:
    return lambda _: words


CLAIMS: Final = (
    Claim(
        "Three hospitals of 847, 612 and 11 patients: after averaging, the third's contribution is "
        "lost in the two others.",
        "small_sites",
        lambda r: (
            f"it moves the average by {percent(_weights(r)['fedavg'])}, our fixed effect by "
            f"{percent(_weights(r)['packet_information'])}; AUC there {_third(r, 'local')} alone, "
            f"{_third(r, 'fedavg')} with federated averaging, {_third(r, 'packet')} with packets"
        ),
        PARTLY,
        "What it gives is small in any method that uses everybody's data well, ours included; what "
        "it gets is not lost.",
    ),
    Claim(
        "Its weight in the average is .0075 (11 of 1,470), by design.",
        "small_sites",
        lambda r: f"{_weights(r)['fedavg']:.4f}",
        lambda r: HOLDS if abs(_weights(r)["fedavg"] - 0.0075) < 5e-5 else NOT,
        "Arithmetic; McMahan et al. (2017) weight by people.",
    ),
    Claim(
        "Federated averaging works well where data are many and balanced (keyboards).",
        "small_sites",
        lambda r: (
            f"four artificial sites, none cut: AUC {three(_balanced(r)['fedavg']['auc'])}, pooled "
            f"rows {three(_balanced(r)['pooled']['auc'])}"
        ),
        lambda r: (
            HOLDS
            if _balanced(r)["fedavg"]["auc"] > _balanced(r)["pooled"]["auc"] - 0.01
            else UNKNOWN
        ),
        "Measured on patients, not keyboards.",
    ),
    Claim(
        "On sparse, unbalanced medical data its failures are structural, not a matter of tuning.",
        "small_sites",
        lambda r: (
            f"packet minus best federated averaging, AUC by scenario: "
            f"{', '.join(signed(gap) for gap in auc_gaps(r))}; better for sure in "
            f"{len(_anywhere_better(r))} of {len(auc_gaps(r))}"
        ),
        lambda r: PARTLY if _anywhere_better(r) else NOT,
        "Tuned inside the training part, federated averaging comes as near to the fit of all rows "
        "as one packet a site does, with 11 people at one site or at all.",
    ),
    Claim(
        "Its server is a single point of failure; when it is down, learning stops (Bonawitz 2019).",
        "small_sites",
        lambda r: (
            f"847/612/11, server killed after round 0, 1, 10: AUC "
            f"{', '.join(_auc(r, m) for m in ('local', 'fedavg 1', 'fedavg 10'))}; "
            f"never: {_auc(r, 'fedavg 100')}"
        ),
        PARTLY,
        "Learning stops; but after the first round there was nothing more to learn here. New cases "
        "wait for as long as the server is down.",
    ),
    Claim(
        "Whoever takes the server over sees what every site sends.",
        "",
        _nothing("not a figure"),
        PARTLY,
        "True of plain averaging; secure aggregation (Bonawitz 2017) shows the server only sums. "
        "In our direct mode every member of the roster sees every packet.",
    ),
    Claim(
        "Traffic is sites × parameters in each round; a model ten times larger costs ten times as "
        "much, whatever the data.",
        "bandwidth",
        lambda r: f"{_goal(r)['fedavg_bytes_auc']:.0f} B a site for 14 float32 down and up, once",
        HOLDS,
        "Arithmetic of the algorithm.",
    ),
    Claim(
        "Compressing updates costs accuracy (Kairouz 2021).",
        "appendix",
        lambda r: (
            f"847/612/11, ten rounds: AUC {_bits(r, 'fedavg 10')}; with 8 bits a number "
            f"{_bits(r, '8 bits')}, 4 bits {_bits(r, '4 bits')}, 1 bit {_bits(r, '1 bits')}"
        ),
        lambda r: (
            NOT if _lost(r, "1 bits") < 0.005 else PARTLY if _lost(r, "8 bits") < 0.005 else HOLDS
        ),
        "Of a small model with its settings tuned again; large models were not tried.",
    ),
    Claim(
        "Sites with one or few patients are excluded by the weights; the model treats them as "
        "noise.",
        "small_sites",
        lambda r: (
            f"AUC at the site of 11: {_third(r, 'local')} alone, {_third(r, 'fedavg')} with "
            f"federated averaging"
        ),
        lambda r: NOT if _gained(r) else PARTLY,
        "The site is given the common model and gains by it, more than any other site.",
    ),
    Claim(
        "Shared gradients can be inverted to the records that made them (Zhu 2019).",
        "inversion",
        lambda r: (
            f"one person, closed form: {percent(r.parts['inversion']['closed_form_one_person'])}; "
            f"small network, Zhu's attack: {_zhu(r)}"
        ),
        lambda r: HOLDS if r.parts["inversion"]["closed_form_one_person"] > 0.9 else PARTLY,
        "Of few people. A logistic gradient of several people is fewer numbers than one of our "
        "packets, and gives less away.",
    ),
    Claim(
        "The defences (differential privacy, clipping, secure aggregation) cost accuracy, and none "
        "removes the attack.",
        "",
        _nothing("not measured"),
        PARTLY,
        "Secure aggregation adds exactly and costs none; it hides single updates, not the sum. "
        "Noise costs accuracy, on both sides.",
    ),
    Claim(
        "There is a least representation of a local result that can be routed without data or "
        "model.",
        "",
        _nothing("14 coefficients take 119 numbers: score and information"),
        UNKNOWN,
        "For a quadratic likelihood these numbers are sufficient; that none is shorter is not "
        "shown. Would decide: a lower bound on bytes for a given loss.",
    ),
    Claim(
        "It is a packet of about 512 bytes.",
        "bandwidth",
        lambda r: f"{r.parts['bandwidth']['curves'][0]['packet_bytes']} bytes, always",
        lambda r: HOLDS if r.parts["bandwidth"]["curves"][0]["packet_bytes"] == 512 else NOT,
        "",
    ),
    Claim(
        "The same size whatever the model, a classifier or 7·10⁹ parameters.",
        "bandwidth",
        _nothing("512 B beside 8 B a parameter and round; at most 14 coefficients in a packet"),
        PARTLY,
        "The size is the same, and a packet does not carry such a model: it carries an outcome.",
    ),
    Claim(
        "Traffic grows with the number of outcomes, not with the model.",
        "bandwidth",
        lambda r: (
            f"until within .005 AUC: {_goal(r)['packet_bytes_auc']} B a site of packets, "
            f"{_goal(r)['fedavg_bytes_auc']} B of averaging; until within .01 of 14 coefficients: "
            f"{_goal(r)['packet_bytes_coefficients']:,} B and "
            f"{_goal(r)['fedavg_bytes_coefficients']:,} B"
        ),
        PARTLY,
        "Also with the number of receivers. For a small model that is to predict, one round of "
        "averaging is less traffic than a packet.",
    ),
    Claim(
        "A semantic fingerprint says what the outcome is about and serves as its address.",
        "rarest",
        _rarest,
        PARTLY,
        "It says so; the address is 8 to 24 keys beside it, since 32 bytes are no address in a "
        "table of hashes.",
    ),
    Claim(
        "Packets travel by similarity to that address, over a DHT or other transports.",
        "pairs",
        lambda r: f"recall {three(r.sites(1_000)['recall'])} at {r.sites(1_000)['nodes']:,} sites",
        lambda r: HOLDS if r.sites(1_000)["recall"] > 0.95 else PARTLY,
        "Up to 128 sites of a closed roster every packet goes to everybody, whatever it is about.",
    ),
    Claim(
        "They reach exactly the sites for which they are relevant, whatever the number of patients "
        "behind them.",
        "rarest",
        lambda r: f"diseases known from two papers: {_rarest(r)}",
        lambda r: (
            HOLDS
            if r.parts["rarest"].get("keys", {}).get("reach", 0.0) > 0.99
            and r.parts["rarest"]["keys"]["touched"] < 0.01
            else PARTLY
        ),
        "Nearly all of them and many others; the number of patients plays no part.",
    ),
    Claim(
        "Each site synthesises locally what it received.",
        "continuous",
        lambda r: f"{r.parts['continuous']['outcomes']} outcomes of 4 sites, each counted by all",
        HOLDS,
        "",
    ),
    Claim(
        "What it learns becomes new packets; the loop goes on.",
        "",
        _nothing("`python benchmarks/lineage.py`"),
        PARTLY,
        "Derived packets can be published, and are no evidence by default: pooled again as if they "
        "were, intervals soon cover almost nothing.",
    ),
    Claim(
        "The whole loop, not one part, makes continuous synthesis without a centre possible.",
        "",
        _nothing("not measured"),
        UNKNOWN,
        "Would decide: the same service with each part replaced by a common one (broker, feed, "
        "forest plot by hand).",
    ),
    Claim(
        "No coordinator or orchestrator is needed; the network has no single point of failure.",
        "aggregator",
        lambda r: (
            f"each of {r.parts['aggregator']['nodes']} nodes killed in turn, the first included: "
            f"recall of the others at least {three(r.parts['aggregator']['keyed_recall_min'])} "
            f"keyed, {three(r.parts['aggregator']['direct_recall_min'])} direct"
        ),
        lambda r: HOLDS if r.parts["aggregator"]["survives_any_node_loss"] else NOT,
        "Somebody keeps the roster of a closed network; while nobody does, it goes on as it is.",
    ),
    Claim(
        "Raw data never leave the site.",
        "inversion",
        lambda r: f"with rules off, rebuilt from one packet: {_without_rules(r)}",
        PARTLY,
        "No row travels. Packets of few people give their rows away, which is why the default "
        "keeps them back.",
    ),
    Claim(
        "No gradients travel, so there is nothing to invert; privacy comes from the architecture.",
        "inversion",
        lambda r: (
            f"rules off: {_without_rules(r)}; at the smallest n that passes: "
            f"{percent(at_thresholds(r))} with five features"
        ),
        lambda r: NOT if r.parts["inversion"]["packets_no_rules"].get("2", 0.0) > 0.1 else PARTLY,
        "A score is a gradient, and an information matrix says more than one. What protects is the "
        "number of people, which disclosure control demands, not the way that packets take.",
    ),
    Claim(
        "No step weights by sample size; the 11-patient site takes part at full weight.",
        "small_sites",
        lambda r: (
            f"weight {percent(_weights(r)['packet_information'])} in our fixed effect, "
            f"{percent(_weights(r)['fedavg'])} in federated averaging"
        ),
        lambda r: NOT if _weights(r)["packet_information"] < 0.05 else PARTLY,
        "Evidence weighs what it knows. Full is that its whole likelihood counts, and that it is "
        "reached like any other.",
    ),
    Claim(
        "N sites have N(N−1)/2 pairs that can synthesise (45, 4,950, 499,500 for 10, 100, 1,000).",
        "pairs",
        lambda r: "; ".join(_reached(r, n) for n in (10, 100, 1_000)),
        PARTLY,
        "An upper bound, which only sites that are all alike reach.",
    ),
    Claim(
        "A server-based scheme has N interactions and no synthesis between sites.",
        "small_sites",
        lambda r: (
            f"AUC {three(_balanced(r)['local']['auc'])} alone, "
            f"{three(_balanced(r)['fedavg 1']['auc'])} after one round of averaging"
        ),
        lambda r: (
            NOT if _balanced(r)["fedavg 1"]["auc"] > _balanced(r)["local"]["auc"] else UNKNOWN
        ),
        "2N messages a round, and the average is made of all of them: every site learns from every "
        "other.",
    ),
    Claim(
        "Routing costs at most O(log N) per packet.",
        "pairs",
        lambda r: f"hops (99th percentile): {_hops(r)}",
        lambda r: (
            PARTLY
            if all(
                row["hops_p99"] <= math.log2(row["nodes"]) + 1
                for row in r.parts["pairs"]["by_number"]
            )
            else NOT
        ),
        "Per routing key, of which a packet has 8 to 24; and one more message to each receiver.",
    ),
    Claim(
        "A hundred rare-disease sites have up to 4,950 synthesis events between similar sites.",
        "pairs",
        lambda r: _reached(r, 100),
        PARTLY,
        "An upper bound.",
    ),
    Claim(
        "The server's routing cost is O(N).",
        "pairs",
        lambda r: (
            f"at {r.sites(1_000)['nodes']:,} sites: 2 messages a site and round; one packet here "
            f"takes {r.sites(1_000)['datagrams']:.0f} datagrams for "
            f"{r.sites(1_000)['receivers']:.1f} receivers, a broker {r.sites(1_000)['broker']:.1f}"
        ),
        HOLDS,
        "And a site's share of it is 2. All packets of all sites together cost more here than a "
        "round does there.",
    ),
    Claim(
        "The loop is continuous; rounds make a new case wait, possibly for days or weeks.",
        "continuous",
        lambda r: (
            f"{r.parts['continuous']['median_s']:.2f} s (worst "
            f"{r.parts['continuous']['worst_s']:.2f} s) until all others' answers have changed, on "
            f"one machine; a weekly round waits 3.5 days on average"
        ),
        PARTLY,
        "So it is. Disclosure control lets a small site speak again only after 11 more patients, "
        "and averaging can be run without rounds.",
    ),
    Claim(
        "Sending gradients brings legal risk and scrutiny by ethics boards.",
        "",
        _nothing("not a figure"),
        UNKNOWN,
        "Would decide: opinions of data protection authorities on both. Outcomes of few people are "
        "personal data as well.",
    ),
    Claim(
        "The architecture needs no averaging at all.",
        "small_sites",
        _nothing("a fixed effect is the average weighted by inverse variance, by definition"),
        NOT,
        "Sums of log-likelihoods are averages in other words; what is not needed is one place and "
        "one time for them.",
    ),
    Claim(
        "For rare diseases no single site can ever have the numbers, so collaboration is the only "
        "way.",
        "rarest",
        lambda r: (
            f"trial in chronic granulomatous disease: {r.parts['rarest']['trial']['alone']} of "
            f"{r.parts['rarest']['trial']['hospitals']} hospitals tell an effect alone; together "
            f"hazard ratio {r.parts['rarest']['trial']['together']}"
        ),
        PARTLY,
        "Collaboration is; that it must be this one does not follow.",
    ),
)

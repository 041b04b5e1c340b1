"""The article's claims in our words, each with the figure that speaks to it and a verdict.

A verdict is computed from the record wherever a number decides; where none can, it is argued, and
"cannot tell" says what would decide.
"""

import math
from typing import Final

from _case_claim import HOLDS, NOT, PARTLY, UNKNOWN, Claim, percent, signed, three
from _case_record import at_thresholds, auc_gaps
from _case_said import (
    anywhere_better,
    auc_of,
    balanced,
    bits,
    goal,
    hops,
    is_gained,
    lost,
    nothing,
    rarest,
    reached,
    third,
    weights,
    without_rules,
    zhu,
)

CLAIMS: Final = (
    Claim(
        "Three hospitals of 847, 612 and 11 patients: after averaging, the third's contribution is "
        "lost in the two others.",
        "small_sites",
        lambda r: (
            f"it moves the average by {percent(weights(r)['fedavg'])}, our fixed effect by "
            f"{percent(weights(r)['packet_information'])}; AUC there {third(r, 'local')} alone, "
            f"{third(r, 'fedavg')} with federated averaging, {third(r, 'packet')} with packets"
        ),
        PARTLY,
        "What it gives is small in any method that uses everybody's data well, ours included; what "
        "it gets is not lost.",
    ),
    Claim(
        "Its weight in the average is .0075 (11 of 1,470), by design.",
        "small_sites",
        lambda r: f"{weights(r)['fedavg']:.4f}",
        lambda r: HOLDS if abs(weights(r)["fedavg"] - 0.0075) < 5e-5 else NOT,
        "Arithmetic; McMahan et al. (2017) weight by people.",
    ),
    Claim(
        "Federated averaging works well where data are many and balanced (keyboards).",
        "small_sites",
        lambda r: (
            f"four artificial sites, none cut: AUC {three(balanced(r)['fedavg']['auc'])}, pooled "
            f"rows {three(balanced(r)['pooled']['auc'])}"
        ),
        lambda r: (
            HOLDS if balanced(r)["fedavg"]["auc"] > balanced(r)["pooled"]["auc"] - 0.01 else UNKNOWN
        ),
        "Measured on patients, not keyboards.",
    ),
    Claim(
        "On sparse, unbalanced medical data its failures are structural, not a matter of tuning.",
        "small_sites",
        lambda r: (
            f"packet minus best federated averaging, AUC by scenario: "
            f"{', '.join(signed(gap) for gap in auc_gaps(r))}; better for sure in "
            f"{len(anywhere_better(r))} of {len(auc_gaps(r))}"
        ),
        lambda r: PARTLY if anywhere_better(r) else NOT,
        "Tuned inside the training part, federated averaging comes as near to the fit of all rows "
        "as one packet a site does, with 11 people at one site or at all.",
    ),
    Claim(
        "Its server is a single point of failure; when it is down, learning stops (Bonawitz 2019).",
        "small_sites",
        lambda r: (
            f"847/612/11, server killed after round 0, 1, 10: AUC "
            f"{', '.join(auc_of(r, m) for m in ('local', 'fedavg 1', 'fedavg 10'))}; "
            f"never: {auc_of(r, 'fedavg 100')}"
        ),
        PARTLY,
        "Learning stops; but after the first round there was nothing more to learn here. New cases "
        "wait for as long as the server is down.",
    ),
    Claim(
        "Whoever takes the server over sees what every site sends.",
        "",
        nothing("not a figure"),
        PARTLY,
        "True of plain averaging; secure aggregation (Bonawitz 2017) shows the server only sums. "
        "In our direct mode every member of the roster sees every packet.",
    ),
    Claim(
        "Traffic is sites × parameters in each round; a model ten times larger costs ten times as "
        "much, whatever the data.",
        "bandwidth",
        lambda r: f"{goal(r)['fedavg_bytes_auc']:.0f} B a site for 14 float32 down and up, once",
        HOLDS,
        "Arithmetic of the algorithm.",
    ),
    Claim(
        "Compressing updates costs accuracy (Kairouz 2021).",
        "appendix",
        lambda r: (
            f"847/612/11, ten rounds: AUC {bits(r, 'fedavg 10')}; with 8 bits a number "
            f"{bits(r, '8 bits')}, 4 bits {bits(r, '4 bits')}, 1 bit {bits(r, '1 bits')}"
        ),
        lambda r: (
            NOT if lost(r, "1 bits") < 0.005 else PARTLY if lost(r, "8 bits") < 0.005 else HOLDS
        ),
        "Of a small model with its settings tuned again; large models were not tried.",
    ),
    Claim(
        "Sites with one or few patients are excluded by the weights; the model treats them as "
        "noise.",
        "small_sites",
        lambda r: (
            f"AUC at the site of 11: {third(r, 'local')} alone, {third(r, 'fedavg')} with "
            f"federated averaging"
        ),
        lambda r: NOT if is_gained(r) else PARTLY,
        "The site is given the common model and gains by it, more than any other site.",
    ),
    Claim(
        "Shared gradients can be inverted to the records that made them (Zhu 2019).",
        "inversion",
        lambda r: (
            f"one person, closed form: {percent(r.parts['inversion']['closed_form_one_person'])}; "
            f"small network, Zhu's attack: {zhu(r)}"
        ),
        lambda r: HOLDS if r.parts["inversion"]["closed_form_one_person"] > 0.9 else PARTLY,
        "Of few people. A logistic gradient of several people is fewer numbers than one of our "
        "packets, and gives less away.",
    ),
    Claim(
        "The defences (differential privacy, clipping, secure aggregation) cost accuracy, and none "
        "removes the attack.",
        "",
        nothing("not measured"),
        PARTLY,
        "Secure aggregation adds exactly and costs none; it hides single updates, not the sum. "
        "Noise costs accuracy, on both sides.",
    ),
    Claim(
        "There is a least representation of a local result that can be routed without data or "
        "model.",
        "",
        nothing("14 coefficients take 119 numbers: score and information"),
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
        nothing("512 B beside 8 B a parameter and round; at most 14 coefficients in a packet"),
        PARTLY,
        "The size is the same, and a packet does not carry such a model: it carries an outcome.",
    ),
    Claim(
        "Traffic grows with the number of outcomes, not with the model.",
        "bandwidth",
        lambda r: (
            f"until within .005 AUC: {goal(r)['packet_bytes_auc']} B a site of packets, "
            f"{goal(r)['fedavg_bytes_auc']} B of averaging; until within .01 of 14 coefficients: "
            f"{goal(r)['packet_bytes_coefficients']:,} B and "
            f"{goal(r)['fedavg_bytes_coefficients']:,} B"
        ),
        PARTLY,
        "Also with the number of receivers. For a small model that is to predict, one round of "
        "averaging is less traffic than a packet.",
    ),
    Claim(
        "A semantic fingerprint says what the outcome is about and serves as its address.",
        "rarest",
        rarest,
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
        lambda r: f"diseases known from two papers: {rarest(r)}",
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
        nothing("`python benchmarks/lineage.py`"),
        PARTLY,
        "Derived packets can be published, and are no evidence by default: pooled again as if they "
        "were, intervals soon cover almost nothing.",
    ),
    Claim(
        "The whole loop, not one part, makes continuous synthesis without a centre possible.",
        "",
        nothing("not measured"),
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
        lambda r: f"with rules off, rebuilt from one packet: {without_rules(r)}",
        PARTLY,
        "No row travels. Packets of few people give their rows away, which is why the default "
        "keeps them back.",
    ),
    Claim(
        "No gradients travel, so there is nothing to invert; privacy comes from the architecture.",
        "inversion",
        lambda r: (
            f"rules off: {without_rules(r)}; at the smallest n that passes: "
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
            f"weight {percent(weights(r)['packet_information'])} in our fixed effect, "
            f"{percent(weights(r)['fedavg'])} in federated averaging"
        ),
        lambda r: NOT if weights(r)["packet_information"] < 0.05 else PARTLY,
        "Evidence weighs what it knows. Full is that its whole likelihood counts, and that it is "
        "reached like any other.",
    ),
    Claim(
        "N sites have N(N−1)/2 pairs that can synthesise (45, 4,950, 499,500 for 10, 100, 1,000).",
        "pairs",
        lambda r: "; ".join(reached(r, n) for n in (10, 100, 1_000)),
        PARTLY,
        "An upper bound, which only sites that are all alike reach.",
    ),
    Claim(
        "A server-based scheme has N interactions and no synthesis between sites.",
        "small_sites",
        lambda r: (
            f"AUC {three(balanced(r)['local']['auc'])} alone, "
            f"{three(balanced(r)['fedavg 1']['auc'])} after one round of averaging"
        ),
        lambda r: NOT if balanced(r)["fedavg 1"]["auc"] > balanced(r)["local"]["auc"] else UNKNOWN,
        "2N messages a round, and the average is made of all of them: every site learns from every "
        "other.",
    ),
    Claim(
        "Routing costs at most O(log N) per packet.",
        "pairs",
        lambda r: f"hops (99th percentile): {hops(r)}",
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
        lambda r: reached(r, 100),
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
        nothing("not a figure"),
        UNKNOWN,
        "Would decide: opinions of data protection authorities on both. Outcomes of few people are "
        "personal data as well.",
    ),
    Claim(
        "The architecture needs no averaging at all.",
        "small_sites",
        nothing("a fixed effect is the average weighted by inverse variance, by definition"),
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

"""The pages that are written from the record: docs/claims.md, and one table of the README."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from _case_claim import NOT, PARTLY, UNKNOWN, VERDICTS, percent, signed, three
from _case_claims import CLAIMS
from _case_figures import figures
from _case_record import FEDERATED, Record, auc_gaps, best_federated

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES: Final = {
    "local": "local: each site alone",
    "pooled": "pooled: all rows in one place",
    "fedavg 1": "federated averaging, 1 round",
    "fedavg 10": "10 rounds",
    "fedavg 100": "100 rounds",
    "fedavg": "number of rounds tuned too",
    "fedavg refit": "the same, own intercept refitted",
    "packet docs": "one packet, common intercept, untuned",
    "packet own": "one packet, own intercept left out, ridge by marginal likelihood",
    "packet": "one packet, common intercept, ridge by marginal likelihood, intercept refitted",
}
DATA: Final = {"heart": "UCI heart disease", "actg": "ACTG 175, artificial sites"}
MARKS: Final = re.compile(r"(<!-- claims: begin -->\n).*?(<!-- claims: end -->)", re.DOTALL)
GOALS: Final = ("auc", "logloss")
README_ROWS: Final = (
    ("server", "a server that everybody trusts", "none"),
    ("model", "any, neural networks too", "outcomes; regressions of up to 14 coefficients"),
    ("rounds", "one is often enough, a hundred are usual", "none"),
)


def table(rows: list[list[str]]) -> str:
    """A markdown table; the first row is its head."""
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def small_sites(record: Record) -> str:
    """The table of scenarios and methods, with both intervals of the differences."""
    text = []
    for data in dict.fromkeys(row["data"] for row in record.table):
        rows = [row for row in record.table if row["data"] == data]
        names = ["people trained on", *(row["scenario"] for row in rows)]
        text.append(f"### {DATA[data]}\n")
        if data == "heart":
            text.append(
                "Means over four hospitals. Switzerland has 8 people without disease of 123: two "
                "or three are tested, so its AUC is mostly chance; the second table omits it.\n"
            )
        text.append("AUC, mean over sites:\n")
        text.append(table([names, *_methods(rows, "auc")]))
        if data == "heart":
            text.append("AUC without Switzerland:\n")
            text.append(table([names, *_methods(rows, "auc_without_switzerland")]))
        text.append("Log-loss, mean over sites (smaller is better):\n")
        text.append(table([names, *_methods(rows, "logloss")]))
        text.append(
            "Calibration: mean distance of a site's mean prediction from its share of cases:\n"
        )
        text.append(table([names, *_methods(rows, "calibration")]))
        small = [row for row in rows if "auc_small" in row["methods"]["packet"]]
        text.append("At the sites of 11 people, AUC / log-loss / error of the mean risk:\n")
        text.append(
            table(
                [
                    ["people trained on", *(row["scenario"] for row in small)],
                    *(
                        [
                            NAMES[method],
                            *(
                                " / ".join(
                                    three(row["methods"][method][f"{name}_small"])
                                    for name in ("auc", "logloss", "calibration")
                                )
                                for row in small
                            ),
                        ]
                        for method in NAMES
                    ),
                    [
                        "coverage of the 95 % interval of the mean risk (the last row's only)",
                        *(percent(row["methods"]["packet"]["coverage_small"]) for row in small),
                    ],
                ]
            )
        )
        text.append(
            "AUC of one packet (the last row) minus others'; ± is the Monte Carlo error of the "
            "mean over splits, brackets are the corrected 95 % interval, which the verdict goes "
            "by:\n"
        )
        text.append(table(_differences(rows, "packet_against")))
        text.append("The same of a packet that leaves the site's own intercept out:\n")
        text.append(table(_differences(rows, "own_against")))
    return "\n".join(text)


def _methods(rows: list[dict[str, Any]], name: str) -> list[list[str]]:
    return [
        [NAMES[method], *(three(row["methods"][method][name]) for row in rows)] for method in NAMES
    ]


def _differences(rows: list[dict[str, Any]], ours: str) -> list[list[str]]:
    head = ["minus", *(f"{row['scenario']} ({row['splits']} splits)" for row in rows)]
    lines = [head]
    for other in rows[0][ours]:
        line = [NAMES[other]]
        for row in rows:
            against = row[ours][other]
            auc = against["auc"]
            line.append(
                f"{signed(auc['mean'])} ± {three(auc['monte_carlo_se'])} "
                f"[{signed(auc['low'])}, {signed(auc['high'])}] {against['verdict']}"
            )
        lines.append(line)
    return lines


def by_number(record: Record) -> str:
    """Sites by their number."""
    rows = record.parts["by_number"]["by_number"]
    methods = ("local", "pooled", *FEDERATED, "packet docs", "packet")
    return table(
        [
            ["AUC", *(row["scenario"] for row in rows)],
            *(
                [NAMES[method], *(three(row["methods"][method]["auc"]) for row in rows)]
                for method in methods
            ),
        ]
    )


def bandwidth(record: Record) -> str:
    """Rounds, packets and bytes until the goals, then by the size of the model."""
    part = record.parts["bandwidth"]
    rows = [["coefficients", "rounds / bytes, AUC", "packets / bytes, AUC"]]
    rows[0] += ["rounds / bytes, coefficients", "packets / bytes, coefficients"]
    for row in part["goal"]:
        line = [f"{row['coefficients']:.0f}"]
        for goal in ("auc", "coefficients"):
            for what, size in (("rounds", "fedavg_bytes"), ("packets", "packet_bytes")):
                count = row[f"{what}_{goal}"]
                line.append(f"{count} / {row[f'{size}_{goal}']:,}" if count else "not reached")
        rows.append(line)
    curves = [["model", "parameters", "one round, a site", "one packet"]]
    curves += [
        [
            row["model"],
            f"{row['parameters']:,}",
            f"{row['fedavg_bytes']:,} B",
            f"{row['packet_bytes']} B",
        ]
        for row in part["curves"]
    ]
    text = table(rows) + "\n" + table(curves)
    text += "\nA packet carries no such model: it carries an outcome, of at most 14 coefficients.\n"
    if "transports" in part:
        wire = part["transports"]
        text += (
            f"\nWith everything that our transports add, measured on loopback: direct mode "
            f"{wire['direct_bytes_per_delivery']:,.0f} B a delivery, a NATS server "
            f"{wire['nats_bytes_per_delivery']:,.0f} B; four sites that publish one packet each "
            f"send {wire['four_sites_bytes_per_site']:,.0f} B a site, comparing and encryption "
            f"included.\n"
        )
    return text


def inversion(record: Record) -> str:
    """Records rebuilt."""
    part = record.parts["inversion"]
    rows = [["what is sent", "records rebuilt"]]
    rows.append(
        ["logistic gradient of one person, closed form", percent(part["closed_form_one_person"])]
    )
    rows += [[f"network's gradients, {name} (Zhu)", percent(v)] for name, v in part["zhu"].items()]
    rows += [
        [f"one quadratic packet of {n} people, 14 coefficients, rules off", percent(v)]
        for n, v in part["packets_no_rules"].items()
    ]
    text = table(rows)
    text += (
        "\nThe same attack at the smallest number of people that passes, as smallest n: rebuilt "
        "(guessed), where guessed is how many records other people match who are drawn in "
        "their place, some of them by chance the same:\n\n"
    )
    passing = record.parts["thresholds"]["passing"]
    presets = list(dict.fromkeys(row["preset"] for row in passing))
    head = ["coefficients, answers", *(f"`{preset}`" for preset in presets)]
    lines = [head]
    cells = {(row["coefficients"], row["answers"], row["preset"]): row for row in passing}
    for size, count in sorted({key[:2] for key in cells}):
        line = [f"{size}, {count}"]
        for preset in presets:
            row = cells.get((size, count, preset))
            line.append(
                f"{row['n']}: {percent(row['rebuilt'])} ({percent(row['guessed'])})"
                if row
                else "none up to 1,069"
            )
        lines.append(line)
    return text + table(lines)


def network(record: Record) -> str:
    """Pairs, hops and messages by the number of sites."""
    rows = [
        ["sites", "recall", "pairs that met", "N(N−1)/2", "hops p50 / p99"],
    ]
    rows[0] += ["receivers", "datagrams a packet", "broadcast", "broker"]
    rows += [
        [
            f"{row['nodes']:,}",
            three(row["recall"]),
            f"{row['pairs_reached']:,}"
            + (f" ({row['publications']} published)" * (row["publications"] < row["nodes"])),
            f"{row['pairs_possible']:,}",
            f"{row['hops_p50']:.0f} / {row['hops_p99']:.0f}",
            f"{row['receivers']:.1f}",
            f"{row['datagrams']:.0f}",
            f"{row['broadcast']:,}",
            f"{row['broker']:.1f}",
        ]
        for row in record.parts["pairs"]["by_number"]
    ]
    return table(rows)


def rarest(record: Record) -> str:
    """Reach of diseases known from two papers."""
    part = record.parts["rarest"]
    if "not_run" in part:
        return f"Not run: {part['not_run']}.\n"
    rows = [["how", "reach", "sites touched", "copies a case"]]
    for name in ("keys", "exact terms", "two exact terms", "broadcast", "gossip"):
        row = part[name]
        rows.append(
            [
                "routing keys"
                if name == "keys"
                else f"{name} in common"
                if "exact" in name
                else name,
                three(row["reach"]),
                percent(row["touched"]),
                f"{row['copies']:.0f}",
            ]
        )
    return f"{part['cases']:,} cases of {part['sites']} papers.\n\n" + table(rows)


def appendix(record: Record) -> str:
    """FedProx, ODAL, compressed updates, and sites that differ in their share of cases."""
    part = record.parts["appendix"]
    names = list(part["scenarios"])
    rows = [["AUC / log-loss", *names]]
    rows += [
        [
            "ODAL, one round" if method == "odal" else NAMES.get(method, f"10 rounds, {method}"),
            *(
                " / ".join(three(part["scenarios"][name][method][each]) for each in GOALS)
                for name in names
            ),
        ]
        for method in part["scenarios"][names[0]]
    ]
    return f"{part['splits']} splits.\n\n" + table(rows)


def claims(record: Record) -> str:
    """The list."""
    rows = [["", "claim", "figure", "verdict", "", "command"]]
    for number, claim in enumerate(CLAIMS, 1):
        command = f"`--parts {claim.part}`" if claim.part else ""
        rows.append(
            [
                str(number),
                claim.words,
                claim.said(record),
                f"*{claim.verdict(record) or 'not run'}*",
                claim.why,
                command,
            ]
        )
    return table(rows)


def counted(record: Record) -> str:
    """How many claims have which verdict."""
    found = [claim.verdict(record) for claim in CLAIMS]
    words = ("hold", "hold partly", "do not hold", "cannot be told")
    return ", ".join(f"{found.count(v)} {word}" for v, word in zip(VERDICTS, words, strict=True))


def contradicted(record: Record) -> str:
    """Every claim that does not hold, in one place."""
    lines = []
    for number, claim in enumerate(CLAIMS, 1):
        if claim.verdict(record) == NOT:
            lines.append(
                f"- ({number}) “{claim.words}” {_sentence(claim.said(record))} {claim.why}"
            )
    return "\n".join(lines) + "\n"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def one_page(record: Record) -> str:
    """The table of the README."""
    found = figures(record)
    article, last = record.article["methods"], record.parts["bandwidth"]["goal"][-1]
    gaps, own = auc_gaps(record), auc_gaps(record, "packet own")
    inverted = record.parts["inversion"]
    four = found.get("records_rebuilt_fedavg_n4", 0.0)
    rows = [
        ["", "federated averaging", "one packet a site"],
        *(list(row) for row in README_ROWS),
        [
            "AUC at a site of 11 beside 847 and 612",
            three(article[best_federated(record.article)]["auc_small"]),
            f"{three(article['packet']['auc_small'])} "
            f"(alone {three(article['local']['auc_small'])})",
        ],
        [
            f"AUC in {len(gaps)} scenarios, packet minus the best averaging",
            "0",
            f"{signed(min(gaps))} to {signed(max(gaps))} (own intercepts left out: "
            f"{signed(min(own))} to {signed(max(own))})",
        ],
        [
            "bytes a site until within .005 AUC, 14 coefficients",
            f"{last['fedavg_bytes_auc']:,}",
            f"{last['packet_bytes_auc']:,}",
        ],
        [
            "bytes a site until within .01 of the coefficients",
            f"{last['fedavg_bytes_coefficients']:,}",
            f"{last['packet_bytes_coefficients']:,}",
        ],
        [
            "records of 4 people rebuilt, no defence",
            f"{percent(four)} (network), one person {percent(inverted['closed_form_one_person'])}",
            percent(inverted["packets_no_rules"]["4"]),
        ],
        [
            "the same at the smallest n that passes the rules",
            "secure aggregation hides each site",
            percent(found["records_rebuilt_at_smallest_passing_n"]),
        ],
        [
            "any one machine dies",
            "the server's death stops learning",
            "the others go on"
            if record.parts["aggregator"]["survives_any_node_loss"]
            else "not all others go on",
        ],
        [
            "a new case changes others' answers",
            "after the next round",
            f"after {record.parts['continuous']['median_s']:.2f} s",
        ],
    ]
    return table(rows)


def page(record: Record, content: dict[str, Any]) -> str:
    """docs/claims.md."""
    cannot = [
        f"- ({number}) {claim.words} {claim.why}"
        for number, claim in enumerate(CLAIMS, 1)
        if claim.verdict(record) == UNKNOWN
    ]
    partly = sum(claim.verdict(record) == PARTLY for claim in CLAIMS)
    sections: dict[str, Callable[[Record], str]] = {
        "SMALL": small_sites,
        "NUMBER": by_number,
        "BANDWIDTH": bandwidth,
        "INVERSION": inversion,
        "NETWORK": network,
        "RAREST": rarest,
        "APPENDIX": appendix,
        "CLAIMS": claims,
        "CONTRADICTED": contradicted,
        "ONE": one_page,
        "COUNTED": counted,
    }
    text = (Path(__file__).parent / "_case_page.md").read_text(encoding="utf-8")
    for name, write in sections.items():
        text = text.replace(f"@{name}@", write(record).rstrip("\n"))
    continuous, aggregator = record.parts["continuous"], record.parts["aggregator"]
    weights = record.parts["small_sites"]["weights"]
    values = {
        "UNKNOWN": "\n".join(cannot),
        "PARTLY": str(partly),
        "NODES": str(aggregator["nodes"]),
        "KEYED": three(aggregator["keyed_recall_min"]),
        "DIRECT": three(aggregator["direct_recall_min"]),
        "MEDIAN": f"{continuous['median_s']:.2f}",
        "WORST": f"{continuous['worst_s']:.2f}",
        "FEDWEIGHT": percent(weights["fedavg"]),
        "WEIGHT": percent(weights["packet_information"]),
        "ORIGIN": origin(content),
        "LOSING": losing(record),
        "FLWR": framework(record),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def framework(record: Record) -> str:
    """How our averaging compares with that of a framework."""
    part = record.parts["framework"]
    if "not_run" in part:
        return f"a framework was not run ({part['not_run']})"
    return (
        f"{part['framework']} gives the same after {part['rounds']} rounds of {part['steps']} "
        f"steps on 847/612/11, to {part['largest_difference']:.0e}"
    )


def losing(record: Record) -> str:
    """The scenario in which a packet is furthest below the best averaging."""
    gaps = auc_gaps(record)
    row = record.table[gaps.index(min(gaps))]
    best = best_federated(row)
    packet, own = (row[name][best]["auc"] for name in ("packet_against", "own_against"))
    return (
        f"{DATA[row['data']]}, {row['scenario']}: {signed(packet['mean'])} ± "
        f"{three(packet['monte_carlo_se'])}, corrected interval [{signed(packet['low'])}, "
        f"{signed(packet['high'])}], against the best row of federated averaging; "
        f"{signed(own['mean'])} if own intercepts are left out"
    )


def origin(content: dict[str, Any]) -> str:
    """Where each part comes from."""
    rows = [["part", "commit", "processor", "processor hours"]]
    for name, part in content["parts"].items():
        rows.append([f"`{name}`", part["commit"], part["processor"], f"{part['hours']:.2f}"])
    return table(rows).rstrip("\n")


def readme(text: str, record: Record) -> str:
    """The README with the table of today's record."""
    return MARKS.sub(lambda found: found[1] + one_page(record) + found[2], text)

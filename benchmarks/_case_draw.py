"""The plots of the comparison, as SVG."""

from pathlib import Path

from _case_page import DATA
from _case_record import Record, best_federated


def draw(record: Record, folder: Path) -> None:
    """Draw what was run: differences in AUC, and records rebuilt by the number of people."""
    import matplotlib as mpl  # noqa: PLC0415  the extra [plot]

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "qis"
    folder.mkdir(parents=True, exist_ok=True)
    if rows := record.table:
        figure, axes = plt.subplots(figsize=(6.4, 0.4 * len(rows) + 1.2))
        for number, row in enumerate(reversed(rows)):
            auc = row["packet_against"][best_federated(row)]["auc"]
            axes.plot((auc["low"], auc["high"]), (number, number), color="#1f4e8c")
            axes.plot(auc["mean"], number, "s", color="#1f4e8c")
        axes.set_yticks(
            range(len(rows)), [f"{DATA[r['data']]}: {r['scenario']}" for r in reversed(rows)]
        )
        axes.axvspan(-0.01, 0.01, color="#eeeeee", zorder=0)
        axes.axvline(0.0, color="#999999", linewidth=0.8)
        axes.set_xlabel("AUC, one packet a site minus best federated averaging (corrected 95 %)")
        figure.tight_layout()
        figure.savefig(folder / "claims-auc.svg", metadata={"Date": None})
    if "inversion" in record.parts:
        shares = record.parts["inversion"]["packets_no_rules"]
        figure, axes = plt.subplots(figsize=(5.0, 3.0))
        axes.plot([int(n) for n in shares], list(shares.values()), "o-", color="#b3622d")
        axes.set_xscale("log")
        axes.set_xlabel("people behind one packet of 14 coefficients, rules off")
        axes.set_ylabel("share of records rebuilt")
        figure.tight_layout()
        figure.savefig(folder / "claims-inversion.svg", metadata={"Date": None})

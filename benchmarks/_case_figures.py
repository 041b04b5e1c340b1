"""The flat figures of a record, which `--json` prints."""

from _case_claims import CLAIMS
from _case_record import Record, at_thresholds, auc_gaps, best_federated


def figures(record: Record) -> dict[str, float]:
    """The flat figures, of the parts that were run."""
    found = _of_table(record) | _of_attacks(record)
    if "aggregator" in record.parts:
        found["survives_any_node_loss"] = record.parts["aggregator"]["survives_any_node_loss"]
    if "largest_difference" in record.parts.get("framework", {}):
        found["fedavg_minus_flwr_max"] = record.parts["framework"]["largest_difference"]
    if "bandwidth" in record.parts:
        last = record.parts["bandwidth"]["goal"][-1]
        found["wire_bytes_ratio"] = last["packet_bytes_auc"] / last["fedavg_bytes_auc"]
        found["wire_bytes_ratio_coefficients"] = (
            last["packet_bytes_coefficients"] / last["fedavg_bytes_coefficients"]
        )
    if "pairs" in record.parts and record.sites(1_000)["nodes"] == 1_000:
        found["pairs_n1000"] = record.sites(1_000)["pairs_reached"]
    if "reach" in record.parts.get("rarest", {}).get("keys", {}):
        found["rarest_reach"] = record.parts["rarest"]["keys"]["reach"]
    found["claims_total"] = len(CLAIMS)
    found["claims_with_verdict"] = sum(bool(claim.verdict(record)) for claim in CLAIMS)
    return found


def _of_table(record: Record) -> dict[str, float]:
    found: dict[str, float] = {}
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
    return found


def _of_attacks(record: Record) -> dict[str, float]:
    found: dict[str, float] = {}
    if "inversion" in record.parts:
        part = record.parts["inversion"]
        four = [share for name, share in part["zhu"].items() if name.startswith("4 ")]
        if four:
            found["records_rebuilt_fedavg_n4"] = max(four)
        if "4" in part["packets_no_rules"]:
            found["records_rebuilt_packet_n4_no_rules"] = part["packets_no_rules"]["4"]
    if "thresholds" in record.parts:
        found["records_rebuilt_at_smallest_passing_n"] = at_thresholds(record)
    return found

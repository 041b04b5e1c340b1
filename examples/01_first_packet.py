"""A first packet: one hospital's whole evidence in 512 signed bytes, which nobody can alter.

The hospital took part in a trial of interferon gamma in chronic granulomatous disease.
"""

import csv
import time
from pathlib import Path

import qis
from qis.errors import SignatureError

DATA = Path(__file__).parent / "data"
HOSPITAL = "Amsterdam"

# What stays here: 19 patients, a line each.
with (DATA / "cgd.csv").open(encoding="utf-8", newline="") as file:
    patients = [row for row in csv.DictReader(file) if row["hospital"] == HOSPITAL]

# What leaves: how likely these data are under each hazard ratio, as a curve on nine points.
profile = qis.LikelihoodProfile.from_survival(
    study=qis.Study.load(DATA / "cgd_study.toml"),
    times=[float(row["days"]) for row in patients],
    events=[int(row["infection"]) for row in patients],
    treated=[row["treatment"] == "interferon gamma" for row in patients],
)
scheme = qis.VectorScheme(dimensions=4)
about = [1.0, -1.0, -0.6, -0.7]  # immune deficiency, not lung cancer, mostly young, mostly male

hospital = qis.Identity.generate()  # hospital.save("key.pem") keeps the key
packet = qis.Packet.sign(
    hospital,
    outcome=profile,
    fingerprint=scheme.fingerprint(about),
    routing_keys=scheme.routing_keys(about),
    issued_at=int(time.time()),
    lifetime_s=30 * 86_400,
)
sent = bytes(packet)

# Whoever receives it verifies it, and can ask the curve whatever a meta-analysis asks.
received = qis.Packet.parse(sent, now=time.time())
alone = qis.synthesise([received], study=qis.Study.load(DATA / "cgd_study.toml"))
ratio, low, high = alone.back_transformed
print(f"{HOSPITAL}: {received.outcome.n} patients, {received.outcome.events} serious infections.")
print(
    f"Sent: {len(sent)} bytes, signed by {str(received.issuer)[:16]}…, equal: {received == packet}"
)
print(f"Hazard ratio, interferon gamma against placebo: {ratio:.2f} [{low:.2f}, {high:.2f}]")

forged = bytearray(sent)
forged[300] ^= 1
try:
    qis.Packet.parse(bytes(forged))
except SignatureError as error:
    print(f"One bit changed on the way: refused. {error}")

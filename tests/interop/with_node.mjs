// @auth0/cose or cose-kit (first argument) verifies our packets, and makes packets of the same content.
import { readFileSync } from 'node:fs';
import { importJWK } from 'jose';

const library = process.argv[2];
const cose = await import(library);
const asked = JSON.parse(readFileSync(0, 'utf8'));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const unpadded = (hex) => Buffer.from(hex, 'hex').toString('base64url');
const jwk = { kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', x: unpadded(asked.issuer) };
const publicKey = await importJWK(jwk, 'EdDSA');
const privateKey = await importJWK({ ...jwk, d: unpadded(asked.seed) }, 'EdDSA');

async function verified(hex) {
  try {
    if (library === 'cose-kit') {
      return (await cose.coseVerify(bytes(hex), publicKey)).isValid;
    }
    await cose.Sign1.decode(bytes(hex)).verify(publicKey);
    return true;
  } catch {
    return false;
  }
}

async function made(hex) {
  if (library === 'cose-kit') {
    const headers = { alg: 'EdDSA', kid: bytes(asked.issuer) };
    return Buffer.from(await cose.coseSign(headers, {}, bytes(hex), privateKey));
  }
  const headers = new cose.ProtectedHeaders([[1, -8], [4, bytes(asked.issuer)]]);
  const message = await cose.Sign1.sign(
    headers, new cose.UnprotectedHeaders([]), bytes(hex), privateKey,
  );
  return Buffer.from(message.encode());
}

const answers = { verified: [], tampered: [], made: [] };
for (const packet of asked.packets) answers.verified.push(await verified(packet));
for (const packet of asked.tampered) answers.tampered.push(await verified(packet));
for (const payload of asked.payloads) answers.made.push((await made(payload)).toString('hex'));
process.stdout.write(JSON.stringify(answers));

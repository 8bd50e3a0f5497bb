// Owns sigstore's judgement of checkpoints and inclusion proofs that it was given as lines of JSON: "accepted", or why not, a line each.
// The two functions are the ones with which npm verifies the provenance of packages; they are not exported, hence the paths.
import { createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { verifyCheckpoint } = require('@sigstore/verify/dist/timestamp/checkpoint.js');
const { verifyMerkleInclusion } = require('@sigstore/verify/dist/timestamp/merkle.js');

const bytes = (text) => Buffer.from(text, 'base64');

function judge({ key, note, entry, index, size, root, path }) {
  const [, id, encoded] = key.match(/^[^+]+\+([0-9a-f]{8})\+(.+)$/); // a verifier key, as C2SP signed-note writes it
  const x = bytes(encoded).subarray(1).toString('base64url');
  const log = {
    logID: Buffer.from(id, 'hex'), publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }),
    validFor: { start: new Date(0), end: new Date(8.64e15) },
  };
  const proof = { logIndex: String(index), treeSize: String(size), rootHash: bytes(root), hashes: path.map(bytes), checkpoint: { envelope: note } };
  const given = { integratedTime: '1', canonicalizedBody: bytes(entry), inclusionProof: proof };
  try {
    verifyMerkleInclusion(given);
    verifyCheckpoint(given, [log]);
    return 'accepted';
  } catch (error) {
    return error.message;
  }
}

for await (const line of createInterface({ input: process.stdin })) console.log(judge(JSON.parse(line)));

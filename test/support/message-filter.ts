// Reads the stream of bytes that PostgreSQL sends as the messages that it is made of.

/** Type and length. */
const HEADER_BYTES = 5;

/** Cuts what the server sends into messages; a test connection is not encrypted. */
export function messageFilter(pass: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= HEADER_BYTES) {
      const end = 1 + rest.readUInt32BE(1);
      if (rest.length < end) return;
      pass(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
  };
}

/** `size` bytes as one buffer; fewer when there are no more. */
export async function gather(chunks: AsyncIterable<Buffer>, size: number): Promise<Buffer> {
  const all = Buffer.allocUnsafe(size);
  let done = 0;
  for await (const chunk of chunks) done += chunk.copy(all, done);
  return all.subarray(0, done);
}

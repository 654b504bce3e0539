// onnxruntime-node, or onnxruntime-web in Node, on the batches of a folder: node.mjs NPM PACKAGE FOLDER START

import { readFileSync } from "node:fs";
import { AnswerWriter, inputsOf, load, readBatches, said } from "./exchange.mjs";

const [npm, name, folder, start] = process.argv.slice(2);
const writer = new AnswerWriter(folder);
const { model, outputs, batches, bytes } = readBatches(folder);

async function main() {
  let ort, session;
  try {
    const loaded = await load(npm, name);
    ort = loaded.InferenceSession ? loaded : loaded.default;
    session = await ort.InferenceSession.create(new Uint8Array(readFileSync(model)));
  } catch (error) {
    return writer.fail(said(error));
  }
  for (let number = Number(start); number < batches.length; number++) {
    try {
      const feeds = Object.fromEntries(Object.entries(inputsOf(batches[number], bytes))
        .map(([key, { type, dims, data }]) => [key, new ort.Tensor(type, data, dims)]));
      const found = await session.run(feeds, outputs);
      writer.add(number, Object.fromEntries(outputs.map((key) => {
        const { type, dims, data } = found[key];
        return [key, { type, dims: [...dims], bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }];
      })));
    } catch (error) {
      writer.fail(said(error), number);
    }
  }
}

await main();
process.exit(0); // wasm threads would keep it alive

// Checked by `npm run check`, never run: both runtimes are what Tagger.load takes.
import * as node from "onnxruntime-node";
import * as web from "onnxruntime-web";

import { Tagger } from "../src/index.js";

export const taggers: Promise<Tagger>[] = [node, web].map((runtime) => Tagger.load(new Uint8Array(), runtime));
export const one: Promise<Tagger> = Tagger.load(new ArrayBuffer(0), web, { sessionOptions: {}, batchTokens: 512 });

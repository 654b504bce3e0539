// In the page: onnxruntime-web on every batch that the server has.

const TYPES = { int32: Int32Array, float32: Float32Array, int64: BigInt64Array };

function base64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

const said = (error) => String(error?.message ?? error).split("\n")[0];

async function open(place) {
  if (place === "webgpu" && !(await navigator.gpu?.requestAdapter())) throw new Error("no WebGPU adapter");
  if (place === "wasm-threads" && !crossOriginIsolated) throw new Error("the page is not cross-origin isolated");
  const ort = await import(place === "webgpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = "/ort/";
  ort.env.wasm.numThreads = place === "wasm-threads" ? 2 : 1;
  const model = new Uint8Array(await (await fetch("/model")).arrayBuffer());
  const executionProviders = [place === "webgpu" ? "webgpu" : "wasm"];
  return [ort, await ort.InferenceSession.create(model, { executionProviders })];
}

window.tryAll = async ({ place, outputs, start, count }) => {
  let ort, session;
  try {
    [ort, session] = await open(place);
  } catch (error) {
    return window.failed(said(error), null);
  }
  const { batches } = await (await fetch("/exchange/batches.json")).json();
  const bytes = await (await fetch("/exchange/batches.bin")).arrayBuffer();
  for (let number = start; number < count; number++) {
    try {
      const feeds = Object.fromEntries(Object.entries(batches[number]).map(([key, { dtype, shape, at }]) => {
        const size = shape.reduce((a, b) => a * b, 1);
        return [key, new ort.Tensor(dtype, new TYPES[dtype](bytes, at, size), shape)];
      }));
      const found = await session.run(feeds, outputs);
      await window.answered(number, Object.fromEntries(outputs.map((key) => {
        const { type, dims, data } = found[key];
        return [key, { type, dims: [...dims], base64: base64(data) }];
      })));
    } catch (error) {
      await window.failed(said(error), number);
    }
  }
};

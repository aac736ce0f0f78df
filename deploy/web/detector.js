// A DB detector in ONNX Runtime: an image in, boxes of text out.
import * as ort from "onnxruntime-web/wasm";

import { boxesOf } from "./db.js";
import { resized } from "./resize.js";
import { readSettings } from "./settings.js";

// The binary lies beside the page. One thread: more need headers (COOP, COEP) that a plain static server does not send.
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", self.location.href).href };
ort.env.wasm.numThreads = 1;

/** Load the model in a folder of the page: inference.onnx and inference.yml. */
export async function loadDetector(folder) {
  const settings = readSettings(await (await fetched(`${folder}/inference.yml`)).text());
  const session = await ort.InferenceSession.create(await (await fetched(`${folder}/inference.onnx`)).arrayBuffer());
  return { name: settings.name, detect: (file) => detect(session, settings, file) };
}

async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}; build the page with npm run build -- MODEL`);
  return answer;
}

async function detect(session, settings, file) {
  const times = [performance.now()];
  const image = await pixelsOf(file, settings);
  const input = networkInput(image, settings);
  times.push(performance.now());
  const output = await session.run({ [session.inputNames[0]]: input });
  const map = output[session.outputNames[0]];
  times.push(performance.now());
  const [, , height, width] = input.dims;
  if (map.dims.join() !== [1, 1, height, width].join()) {
    throw new Error("the model is not a detector of the DB family: its output is not one map of the size of its input");
  }
  const boxes = boxesOf({ data: map.data, height, width }, [image.height, image.width], settings);
  times.push(performance.now());
  const [prepare, network, read] = times.slice(1).map((time, i) => time - times[i]);
  const shown = { height: image.height, width: image.width, ignoreOrientation: settings.ignoreOrientation };
  return { boxes, ...shown, network: [height, width], ms: { prepare, network, read } };
}

/** Decode an image file: RGBA pixels as they are stored, upright as the camera was, what is transparent on white. */
async function pixelsOf(file, { ignoreOrientation }) {
  const imageOrientation = ignoreOrientation ? "none" : "from-image";
  const bitmap = await createImageBitmap(file, { imageOrientation, colorSpaceConversion: "none" }).catch(() => {
    throw new Error("not an image that this browser reads");
  });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** Return float32 [1, 3, H, W], as the network takes it. */
function networkInput(image, { networkSize, rgb, scale, mean, std }) {
  const [height, width] = networkSize([image.height, image.width]);
  const pixels = resized(image, height, width);
  const area = height * width;
  const values = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    const from = rgb ? channel : 2 - channel;
    for (let i = 0; i < area; i++) {
      values[channel * area + i] = (pixels[4 * i + from] * scale - mean[channel]) / std[channel];
    }
  }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}

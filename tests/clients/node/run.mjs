// node run.mjs FOLDER CALL INPUT SHAPE OUTPUT: makes the call that an export names for ONNX Runtime in Node, in whose
// FOLDER the package is installed, and runs the network. INPUT and OUTPUT are float32 as they lie in memory, SHAPE is
// JSON. The shape of the output is printed.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, call, input, shape, output] = process.argv.slice(2);
const ort = createRequire(resolve(folder, "package.json"))("onnxruntime-node");

const session = await new Function("ort", `return ${call}`)(ort);
const values = new Float32Array(new Uint8Array(await readFile(input)).buffer);
const found = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", values, JSON.parse(shape)) });
const { data, dims } = found[session.outputNames[0]];
await writeFile(output, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
console.log(JSON.stringify(dims));

// npm run build -- MODEL [OUT]: writes the page with a model, an export of ocrslim in ONNX, into the folder OUT (dist).
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const WASM = "ort-wasm-simd-threaded.wasm";

async function modelFiles(folder) {
  const names = await readdir(folder).catch(() => []);
  const model = names.find((name) => name.endsWith(".onnx"));
  if (!model || !names.includes("inference.yml")) {
    throw new Error(`${folder}: expected a folder with an .onnx file and inference.yml, as ocrslim export writes it`);
  }
  return { "inference.onnx": join(folder, model), "inference.yml": join(folder, "inference.yml") };
}

async function write(model, out) {
  const files = await modelFiles(model);
  await rm(join(out, "model"), { recursive: true, force: true });
  await mkdir(join(out, "model"), { recursive: true });
  await build({
    absWorkingDir: here,
    entryPoints: ["page.js", "worker.js"],
    outdir: out,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
  });
  for (const name of ["index.html", "style.css", "icon.svg"]) await copyFile(join(here, name), join(out, name));
  await copyFile(join(here, "node_modules/onnxruntime-web/dist", WASM), join(out, WASM));
  for (const [name, source] of Object.entries(files)) await copyFile(source, join(out, "model", name));
}

const [model, out = join(here, "dist")] = process.argv.slice(2);
try {
  if (!model) throw new Error("no model is named: npm run build -- MODEL [OUT]");
  await write(model, out);
  console.log(`${out}: serve it with any static web server`);
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}

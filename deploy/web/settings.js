// What an export's inference.yml says of the image before the network and of the map behind it.
import { load } from "js-yaml";

const WITHOUT_EFFECT = ["DetLabelEncode", "ToCHWImage", "KeepKeys"];

/** Read an inference.yml; throws an Error that names the key of what is not supported here. */
export function readSettings(text) {
  const tree = load(text);
  const transforms = tree?.PreProcess?.transform_ops;
  if (!Array.isArray(transforms) || !tree.PostProcess) {
    throw new Error("inference.yml: expected PreProcess.transform_ops and PostProcess");
  }
  const settings = { name: tree.Global?.model_name ?? "model", ...postProcess(tree.PostProcess) };
  for (const [name, given] of transforms.flatMap((one) => Object.entries(one))) {
    Object.assign(settings, transform(name, given ?? {}));
  }
  return settings;
}

function transform(name, given) {
  if (name === "DecodeImage") {
    return {
      rgb: choice(given, "img_mode", ["RGB", "BGR"]) === "RGB",
      ignoreOrientation: given.ignore_orientation ?? false,
    };
  }
  if (name === "DetResizeForTest") return { networkSize: resize(given) };
  if (name === "NormalizeImage") {
    const { scale = 1 / 255, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] } = given;
    return { scale: number(scale), mean, std };
  }
  if (WITHOUT_EFFECT.includes(name)) return {};
  throw new Error(`inference.yml: transform_ops: found ${name}, which this page does not know`);
}

function postProcess(given) {
  choice(given, "name", ["DBPostProcess"]);
  choice(given, "box_type", ["quad"]);
  choice(given, "score_mode", ["fast"]);
  return {
    threshold: given.thresh ?? 0.3,
    boxThreshold: given.box_thresh ?? 0.7,
    maxCandidates: given.max_candidates ?? 1000,
    unclipRatio: given.unclip_ratio ?? 2,
    dilate: given.use_dilation ?? false,
  };
}

/** Return a function from an image's [height, width] to the network's. */
function resize(given) {
  if (given.image_shape) {
    choice(given, "keep_ratio", [false]);
    return () => given.image_shape;
  }
  if (given.resize_long && !given.limit_side_len) {
    return (size) => scaled(size, given.resize_long / Math.max(...size), 128, Math.ceil);
  }
  const limit = given.limit_side_len ?? 736;
  const type = choice(given, "limit_type", ["min", "max", "resize_long"]);
  return (size) => {
    const ratio = limit / (type === "min" ? Math.min(...size) : Math.max(...size));
    const kept = (type === "min" && ratio < 1) || (type === "max" && ratio > 1);
    return scaled(size, kept ? 1 : ratio, 32, roundHalfToEven);
  };
}

function scaled(size, ratio, step, round) {
  return size.map((side) => Math.max(step, round(Math.trunc(side * ratio) / step) * step));
}

/** Round as Python does: halves to the even neighbour. */
export function roundHalfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** Return a number, also of PaddleOCR's "1./255.". */
function number(given) {
  const [above, below = 1] = String(given).split("/").map(Number);
  return above / below;
}

function choice(section, key, known) {
  const found = section[key] ?? known[0];
  if (known.includes(found)) return found;
  throw new Error(`inference.yml: ${key}: found ${found}, which this page does not know`);
}

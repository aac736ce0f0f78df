// Boxes of text from the map of a DB detector (Liao et al., "Real-time Scene Text Detection with Differentiable
// Binarization", AAAI 2020), step by step as PaddleOCR's Python has them, so that both find the same pixels.
import ClipperLib from "clipper-lib";
import { polygonArea, polygonHull, polygonLength } from "d3-polygon";

import { outlines } from "./outlines.js";
import { roundHalfToEven } from "./settings.js";

const MIN_SIDE = 3; // pixels of the map

/**
 * Find the boxes in a map of probabilities.
 *
 * @param map {{data: Float32Array, height: number, width: number}}
 * @param size [height, width] of the image
 * @returns {number[][][]} [[x, y], ...] for each box, in pixels of the image, from the top left corner clockwise
 */
export function boxesOf(map, size, settings) {
  const boxes = [];
  for (const points of outlines(textOf(map, settings), map.height, map.width).slice(0, settings.maxCandidates)) {
    const found = smallestRectangle(points);
    if (found.side < MIN_SIDE || score(map, found.corners) < settings.boxThreshold) continue;
    const grown = smallestRectangle(unclipped(found.corners, settings.unclipRatio));
    if (grown.side < MIN_SIDE + 2) continue;
    boxes.push(grown.corners.map(([x, y]) => [scaled(x, map.width, size[1]), scaled(y, map.height, size[0])]));
  }
  return boxes;
}

/** Return 1 for text, else 0, for each pixel of the map. */
function textOf({ data, width }, { threshold, dilate }) {
  const text = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) text[i] = data[i] > threshold ? 1 : 0;
  if (!dilate) return text;
  return text.map((one, i) => one | (i % width && text[i - 1]) | text[i - width] | (i % width && text[i - width - 1]));
}

/** Return the corners, clockwise from the top left, and the shorter side of the smallest rectangle around points. */
function smallestRectangle(points) {
  const hull = polygonHull(points) ?? [];
  let best = { area: Infinity, side: 0, corners: [] };
  for (let i = 0; i < hull.length; i++) {
    const found = rectangleAlong(hull, hull[i], hull[(i + 1) % hull.length]);
    if (found.area < best.area) best = found;
  }
  return { side: best.side, corners: ordered(best.corners) };
}

/** Return the rectangle around a hull with a side along the line from `start` to `end`. */
function rectangleAlong(hull, start, end) {
  const length = Math.hypot(end[0] - start[0], end[1] - start[1]);
  const [u, v] = [(end[0] - start[0]) / length, (end[1] - start[1]) / length];
  const along = hull.map(([x, y]) => x * u + y * v);
  const across = hull.map(([x, y]) => y * u - x * v);
  const [left, right, top, bottom] = [Math.min(...along), Math.max(...along), Math.min(...across), Math.max(...across)];
  const corner = (a, b) => [Math.fround(a * u - b * v), Math.fround(a * v + b * u)];
  return {
    area: (right - left) * (bottom - top),
    side: Math.min(right - left, bottom - top),
    corners: [corner(left, top), corner(right, top), corner(right, bottom), corner(left, bottom)],
  };
}

function ordered(corners) {
  const byX = [...corners].sort((one, two) => one[0] - two[0]);
  const [topLeft, bottomLeft] = byX.slice(0, 2).sort((one, two) => one[1] - two[1]);
  const [topRight, bottomRight] = byX.slice(2).sort((one, two) => one[1] - two[1]);
  return [topLeft, topRight, bottomRight, bottomLeft].filter(Boolean);
}

/** Return the mean of the map within a box, its edges included. */
function score(map, corners) {
  const points = corners.map((corner) => corner.map(Math.trunc));
  const ys = points.map(([, y]) => y);
  let [sum, count] = [0, 0];
  for (let y = Math.max(0, Math.min(...ys)); y <= Math.min(map.height - 1, Math.max(...ys)); y++) {
    const [left, right] = spanAt(points, y);
    for (let x = Math.max(0, left); x <= Math.min(map.width - 1, right); x++, count++) sum += map.data[y * map.width + x];
  }
  return count ? sum / count : 0;
}

/** Return the first and last pixel of a convex polygon in a row of pixels, half a pixel above and below `y`. */
function spanAt(points, y) {
  const xs = [];
  points.forEach(([x1, y1], i) => {
    const [x2, y2] = points[(i + 1) % points.length];
    const [from, to] = [Math.max(Math.min(y1, y2), y - 0.5), Math.min(Math.max(y1, y2), y + 0.5)];
    if (from > to) return;
    if (y1 === y2) xs.push(x1, x2);
    else for (const end of [from, to]) xs.push(x1 + ((end - y1) / (y2 - y1)) * (x2 - x1));
  });
  return [Math.round(Math.min(...xs)), Math.round(Math.max(...xs))];
}

/** Return the outline of a box grown on all sides; no points where it falls into parts. */
function unclipped(corners, ratio) {
  const offset = new ClipperLib.ClipperOffset(2, 0.25); // of Clipper in Python and C++
  const path = corners.map(([x, y]) => ({ X: Math.trunc(x), Y: Math.trunc(y) }));
  offset.AddPath(path, ClipperLib.JoinType.jtRound, ClipperLib.EndType.etClosedPolygon);
  const grown = new ClipperLib.Paths();
  offset.Execute(grown, (Math.abs(polygonArea(corners)) * ratio) / polygonLength(corners));
  return grown.length === 1 ? grown[0].map(({ X, Y }) => [X, Y]) : [];
}

function scaled(place, from, to) {
  const there = roundHalfToEven(Math.fround(Math.fround(place / from) * to));
  return Math.min(Math.max(there, 0), to);
}

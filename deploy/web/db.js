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

/**
 * Return the corners, clockwise from the top left, and the shorter side of the smallest rectangle around points.
 *
 * OpenCV turns a rectangle by up to 90 degrees: of those of one area, as around a diamond, the last one is taken.
 */
function smallestRectangle(points) {
  const hull = polygonHull(points) ?? [];
  const around = hull.map((start, i) => rectangleAlong(hull, start, hull[(i + 1) % hull.length]));
  around.sort((one, two) => one.angle - two.angle);
  let best = { area: Infinity, side: 0, corners: [] };
  for (const found of around) if (found.area <= best.area * (1 + 1e-6)) best = found;
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
    angle: (Math.atan2(v, u) + 2 * Math.PI + 1e-9) % (Math.PI / 2),
    area: (right - left) * (bottom - top),
    side: Math.min(right - left, bottom - top),
    corners: [corner(left, top), corner(right, top), corner(right, bottom), corner(left, bottom)],
  };
}

function ordered(corners) {
  const level = ([x]) => Math.round(x * 64); // where two are level, the upper one comes first
  const byX = [...corners].sort((one, two) => level(one) - level(two) || one[1] - two[1]);
  const [topLeft, bottomLeft] = byX.slice(0, 2).sort((one, two) => one[1] - two[1]);
  const [topRight, bottomRight] = byX.slice(2).sort((one, two) => one[1] - two[1]);
  return [topLeft, topRight, bottomRight, bottomLeft].filter(Boolean);
}

/** Return the mean of the map within a box, its edges included. */
function score(map, corners) {
  let [sum, count] = [0, 0];
  for (const [y, [left, right]] of rowsOf(corners.map((corner) => corner.map(Math.trunc)))) {
    if (y < 0 || y >= map.height) continue;
    for (let x = Math.max(0, left); x <= Math.min(map.width - 1, right); x++) {
      sum += map.data[y * map.width + x];
      count += 1;
    }
  }
  return count ? sum / count : 0;
}

/** Return the rows of pixels of a convex polygon: y to its first and last x. */
function rowsOf(points) {
  const rows = new Map();
  points.forEach(([x, y], i) => {
    const [toX, toY] = points[(i + 1) % points.length];
    const steps = Math.max(Math.abs(toX - x), Math.abs(toY - y), 1);
    for (let step = 0; step <= steps; step++) {
      const row = Math.round(y + ((toY - y) * step) / steps);
      const column = Math.round(x + ((toX - x) * step) / steps);
      const [first, last] = rows.get(row) ?? [column, column];
      rows.set(row, [Math.min(first, column), Math.max(last, column)]);
    }
  });
  return rows;
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

// Outlines of connected parts, those that OpenCV's findContours lists: of text, and of the holes in it.

/**
 * Return points for each part of a picture of ones and zeros, and for each hole in a part, enough for its hull.
 *
 * Ones are connected by sides and corners, zeros by sides. A hole's outline consists of the ones around it.
 *
 * @param text {Uint8Array} of height * width
 * @returns {number[][][]} [[x, y], ...] for each
 */
export function outlines(text, height, width) {
  const seen = new Uint8Array(text.length);
  const stack = new Int32Array(text.length); // each pixel comes onto it once
  const found = [];
  for (let start = 0; start < text.length; start++) {
    if (seen[start]) continue;
    const part = fill(text, height, width, start, seen, stack);
    if (text[start]) found.push(part.pixels);
    else if (!part.atBorder) found.push(part.around);
  }
  return found;
}

/** Walk through the part of equal pixels around `start`; return its pixels that touch others, and those others. */
function fill(text, height, width, start, seen, stack) {
  const value = text[start];
  const part = { pixels: [], around: [], atBorder: false };
  let size = 1;
  stack[0] = start;
  seen[start] = 1;
  while (size) {
    const index = stack[--size];
    const x = index % width;
    const y = (index - x) / width;
    let inner = true;
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const bySide = dx === 0 || dy === 0;
        const there = index + dy * width + dx;
        if (x + dx < 0 || y + dy < 0 || x + dx >= width || y + dy >= height) {
          part.atBorder = true;
          inner = false;
        } else if (text[there] !== value) {
          if (bySide) part.around.push([x + dx, y + dy]);
          inner = false;
        } else if (!seen[there] && (bySide || value)) {
          seen[there] = 1;
          stack[size++] = there;
        }
      }
    }
    if (!inner) part.pixels.push([x, y]);
  }
  return part;
}

// OpenCV's linear resize. A canvas scales with filters of its own, which differ from browser to browser: other pixels
// than those the model was scored on, and other boxes.

/** Return the RGBA pixels of an image at another size. */
export function resized({ data, height, width }, toHeight, toWidth) {
  const [columns, rows] = [places(width, toWidth), places(height, toHeight)];
  const made = new Uint8ClampedArray(4 * toHeight * toWidth); // rounds
  for (let y = 0, to = 0; y < toHeight; y++) {
    const [top, bottom, down] = [rows.first[y] * width, rows.second[y] * width, rows.share[y]];
    for (let x = 0; x < toWidth; x++, to += 4) {
      const [left, right, across] = [columns.first[x], columns.second[x], columns.share[x]];
      for (let channel = 0; channel < 3; channel++) {
        const at = (pixel) => data[4 * pixel + channel];
        const above = at(top + left) * (1 - across) + at(top + right) * across;
        const below = at(bottom + left) * (1 - across) + at(bottom + right) * across;
        made[to + channel] = above * (1 - down) + below * down;
      }
    }
  }
  return made;
}

/** Return the two pixels that each new one lies between, and the share of the second. */
function places(from, to) {
  const [first, second, share] = [new Int32Array(to), new Int32Array(to), new Float32Array(to)];
  for (let i = 0; i < to; i++) {
    const place = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    first[i] = Math.floor(place);
    second[i] = Math.min(first[i] + 1, from - 1);
    share[i] = place - first[i];
  }
  return { first, second, share };
}

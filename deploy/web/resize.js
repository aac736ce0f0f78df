// OpenCV's linear resize, with its rounding: places in float32, shares in 2048ths. A canvas scales by filters that differ
// from browser to browser and gives other pixels than those the model was scored on.

/** Return the RGBA pixels of an image at another size. */
export function resized({ data, height, width }, toHeight, toWidth) {
  const [columns, rows] = [places(width, toWidth), places(height, toHeight)];
  const made = new Uint8ClampedArray(4 * toHeight * toWidth);
  for (let y = 0, to = 0; y < toHeight; y++) {
    const top = rows.first[y] * width;
    const bottom = rows.second[y] * width;
    const down = rows.share[y];
    for (let x = 0; x < toWidth; x++, to += 4) {
      const left = columns.first[x];
      const right = columns.second[x];
      const across = columns.share[x];
      for (let channel = 0; channel < 3; channel++) {
        const at = (pixel) => data[4 * pixel + channel];
        const above = (at(top + left) * (2048 - across) + at(top + right) * across) >> 4;
        const below = (at(bottom + left) * (2048 - across) + at(bottom + right) * across) >> 4;
        made[to + channel] = ((((2048 - down) * above) >> 16) + ((down * below) >> 16) + 2) >> 2;
      }
    }
  }
  return made;
}

/** Return the two pixels that each new one lies between, and the share of the second. */
function places(from, to) {
  const [first, second, share] = [new Int32Array(to), new Int32Array(to), new Int32Array(to)];
  for (let i = 0; i < to; i++) {
    const place = Math.min(Math.max(Math.fround((i + 0.5) * (from / to) - 0.5), 0), from - 1);
    first[i] = Math.floor(place);
    second[i] = Math.min(first[i] + 1, from - 1);
    share[i] = Math.round((place - first[i]) * 2048);
  }
  return { first, second, share };
}

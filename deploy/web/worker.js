// Runs the detector beside the page, which stays responsive: {id, file} in, {id, ...found} or {id, error} out.
import { loadDetector } from "./detector.js";

const detector = loadDetector("model");
let last = detector;

detector.then(
  ({ name }) => self.postMessage({ name }),
  (error) => self.postMessage({ error: error.message }),
);

self.addEventListener("message", ({ data: { id, file } }) => {
  last = last.catch(() => {}).then(() => answer(id, file)); // one image at a time
});

async function answer(id, file) {
  try {
    self.postMessage({ id, ...(await (await detector).detect(file)) });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
}

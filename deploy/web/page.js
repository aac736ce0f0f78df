// The page: takes an image by choice, drop or paste, has the worker find its text, and shows it.
const at = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
let shown = { id: 0, file: null };
let model = null;

worker.addEventListener("message", ({ data }) => {
  if (data.id === undefined) started(data);
  else if (data.id === shown.id) answered(data); // not one that another image has replaced
});
worker.addEventListener("error", () => say("The page cannot run here: a newer browser is needed.", "fault"));

at("file").addEventListener("change", () => take(at("file").files));
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take(event.dataTransfer.files);
});

function started({ name, error }) {
  if (error) return say(error, "fault");
  model = name;
  if (!shown.file) say(`Ready: ${model}.`);
}

function take([file]) {
  if (!file) return;
  shown = { id: shown.id + 1, file };
  at("result").hidden = true;
  say(model ? "Looking for text …" : "Loading the model …", "busy");
  worker.postMessage(shown);
}

function answered({ error, ...found }) {
  at("file").value = ""; // the same file may be chosen again
  if (error) return say(`${shown.file.name}: ${error}`, "fault");
  say(`${shown.file.name}: ${found.boxes.length} ${found.boxes.length === 1 ? "box" : "boxes"} of text.`);
  const { prepare, network, read } = found.ms;
  at("count").textContent = found.boxes.length;
  at("total").textContent = milliseconds(prepare + network + read);
  at("network").textContent = milliseconds(network);
  at("size").textContent = `${found.network[1]} × ${found.network[0]}`;
  at("json").textContent = JSON.stringify(found.boxes);
  draw(found);
  at("result").hidden = false;
}

function draw({ boxes, width, height, ignoreOrientation }) {
  URL.revokeObjectURL(at("image").src);
  at("image").src = URL.createObjectURL(shown.file);
  at("image").alt = `${shown.file.name} with its boxes`;
  at("image").style.imageOrientation = ignoreOrientation ? "none" : "from-image";
  at("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  at("boxes").replaceChildren(...boxes.map(polygon));
}

function polygon(corners) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
  made.setAttribute("points", corners.join(" "));
  return made;
}

function milliseconds(value) {
  return `${Math.round(value).toLocaleString()} ms`;
}

function say(text, how = "") {
  at("status").textContent = text;
  at("status").className = how;
}

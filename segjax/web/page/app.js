// The page: one screen, its controls and its sentences. Frames go their way in worker.js.

const $ = (id) => document.getElementById(id);
const controls = $("controls");
const problem = $("problem");
const RATE = 30;

const PROBLEMS = {
  denied: [
    "The browser does not let this page use the camera. Allow it by the camera sign beside the address, then ask again.",
    "Ask again", start,
  ],
  none: ["No camera was found. Plug one in or switch it on.", "Look again", start],
  busy: [
    "Another program or tab is using the camera. Close it there, then try again.",
    "Try again", start,
  ],
  insecure: [
    "Browsers give the camera only to a secure page: one by https, or one of this very computer.",
    "Open the secure page", () => location.replace(`https://${location.host}/#${token}`),
  ],
  unplugged: [
    "The camera was unplugged or taken away. Plug it in again: this page goes on by itself.",
    "Start again", start,
  ],
  gone: [
    "The segjax program does not answer: it was stopped, or the way to it is cut. This page keeps trying.",
    "Connect again", () => reconnect(),
  ],
  full: ["", "Try again", () => reconnect()],
  token: [
    "This address is not complete, or is of an earlier start of the program. Open the whole address that the program printed.",
    "Load again", () => location.reload(),
  ],
  picture: ["", "Choose another picture", () => $("file").click()],
  old: [
    "This browser lacks what the page needs. Open it in a current Chrome, Edge, Firefox or Safari.",
    "Load again", () => location.reload(),
  ],
};

const STATES = {
  stopped: "Stopped",
  starting: "Opening the camera …",
  reconnecting: "Connecting …",
  warming: "Getting ready; the picture is covered",
  live: "Live",
  held: "Live",
  covered: "Covered",
  paused: "Paused",
};

let stream = null;
let opening = false;
let shownProblem = null;
let state = "stopped";
let settings = { effect: "blur", strength: 0.5, paused: false };
let bitmapUnderWay = false;

// --- the key: from the address into this tab's memory, and off the bar -----------------------

if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token") ?? "";

const api = async (path, options = {}) => {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "X-Segjax-Token": token } });
  } catch {
    throw { kind: "gone" };
  }
  if (answer.ok) return answer;
  throw { kind: answer.status === 401 ? "token" : "picture", why: await answer.text() };
};

// --- the worker ------------------------------------------------------------------------------

const worker = new Worker("worker.js", { type: "module" });
try {
  const canvas = $("result").transferControlToOffscreen();
  const url = new URL("stream", location.href.replace(/^http/, "ws")).href;
  worker.postMessage({ canvas, url, token }, [canvas]);
} catch {
  fail("old");
}

worker.onmessage = ({ data }) => {
  if (data.connected) clear("gone", "full");
  if (data.refused) PROBLEMS.full[0] = `No more room: ${data.refused}.`;
  if (data.lost && stream) {
    show(data.lost === "gone" ? "reconnecting" : "stopped");
    fail(data.lost);
  }
  if (data.state && stream) show(data.state);
  if (data.told !== undefined && stream) {
    if (data.told) fail("picture", `${sentence(data.told)}`);
    else clear("picture");
  }
  if (data.waiting !== undefined) {
    $("waiting").textContent = data.waiting ? "; your choice is being prepared …" : "";
  }
  if (data.tick) grab();
  if (data.figures && stream) figures(data.figures);
};

async function grab() {
  const video = $("original");
  if (bitmapUnderWay || video.readyState < 2) return;
  bitmapUnderWay = true;
  try {
    const frame = await createImageBitmap(video);
    worker.postMessage({ frame }, [frame]);
  } finally {
    bitmapUnderWay = false;
  }
}

// --- the camera ------------------------------------------------------------------------------

$("start").onclick = start;
$("stop").onclick = stop;

async function start() {
  if (opening) return;
  if (!token) return fail("token");
  if (!isSecureContext || !navigator.mediaDevices) return fail("insecure");
  opening = true;
  closeCamera();
  show("starting");
  try {
    const chosen = $("camera").value;
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        ...(chosen && { deviceId: { exact: chosen } }),
        width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: RATE },
      },
    });
  } catch (error) {
    const kinds = { NotAllowedError: "denied", SecurityError: "insecure", NotFoundError: "none", OverconstrainedError: "none" };
    home();
    return fail(kinds[error.name] ?? "busy");
  } finally {
    opening = false;
  }
  const [track] = stream.getVideoTracks();
  track.onended = () => {
    home();
    fail("unplugged");
  };
  clear();
  const was = document.activeElement;
  $("welcome").hidden = true;
  $("pictures").hidden = controls.hidden = false;
  if (was === $("start") || was === document.body) $("stop").focus({ preventScroll: true });
  show("reconnecting");
  $("original").srcObject = stream;
  $("original").play().catch(() => {});
  worker.postMessage({ connect: true });
  if ("MediaStreamTrackProcessor" in window) {
    const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 });
    worker.postMessage({ frames: readable }, [readable]);
  } else {
    worker.postMessage({ ticks: RATE });
  }
  await listCameras(track.getSettings().deviceId);
}

function stop() {
  home();
  clear();
  $("start").focus();
}

function home() {
  closeCamera();
  worker.postMessage({ disconnect: true });
  $("pictures").hidden = controls.hidden = true;
  $("welcome").hidden = false;
  show("stopped");
}

function closeCamera() {
  worker.postMessage({ ticks: -1 });
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
  $("original").srcObject = null;
  stream = null;
}

function reconnect() {
  if (!stream) return load();
  show("reconnecting");
  worker.postMessage({ connect: true });
}

async function listCameras(current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter((device) => device.kind === "videoinput");
  $("camera").replaceChildren(
    ...cameras.map((camera, index) => new Option(camera.label || `Camera ${index + 1}`, camera.deviceId)),
  );
  $("camera").value = current ?? "";
}

$("camera").onchange = start;
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (shownProblem === "unplugged") {
    $("camera").value = "";
    start();
  } else if (stream) {
    listCameras(stream.getVideoTracks()[0].getSettings().deviceId);
  }
});

// --- what the person chooses -----------------------------------------------------------------

function choose(changed) {
  settings = { ...settings, ...changed };
  worker.postMessage({ settings: changed });
}

function chooseEffect(effect) {
  for (const panel of controls.querySelectorAll("[data-for]")) panel.hidden = panel.dataset.for !== effect;
  if (effect === "picture") {
    const chosen = controls.querySelector("[name=picture]:checked") ?? controls.querySelector("[name=picture]");
    if (!chosen) return; // as before, until there is a picture
    chosen.checked = true;
    return choose({ effect, picture: chosen.value });
  }
  choose({ effect });
}

controls.onsubmit = (event) => event.preventDefault();
controls.addEventListener("change", ({ target }) => {
  if (target.name === "effect") chooseEffect(target.value);
  if (target.name === "picture") choose({ effect: "picture", picture: target.value });
});
$("strength").oninput = () => choose({ strength: Number($("strength").value) });
$("color").oninput = () => choose({ color: $("color").value });
$("model").onchange = () => choose({ model: $("model").value });
$("mirror").onchange = () => $("pictures").classList.toggle("mirrored", $("mirror").checked);
$("pause").onclick = () => {
  choose({ paused: !settings.paused });
  $("pause").setAttribute("aria-pressed", settings.paused);
  show(settings.paused ? "paused" : "warming");
};

// --- pictures --------------------------------------------------------------------------------

async function addToGallery({ id, name }) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "picture", value: id });
  const image = Object.assign(document.createElement("img"), { alt: "" });
  label.append(input, image, name);
  $("gallery").append(label);
  try {
    const answer = await api(`api/backgrounds/${id}`);
    image.src = URL.createObjectURL(await answer.blob());
    image.onload = () => URL.revokeObjectURL(image.src);
  } catch {
    // the name will do
  }
  return input;
}

async function upload(file) {
  if (!file) return;
  const large = file.size > 10 * 1024 * 1024;
  if (large) return fail("picture", "This picture has more than 10 MB, the most that is taken.");
  try {
    const answer = await api("api/backgrounds", { method: "POST", body: file });
    const { id } = await answer.json();
    const input = await addToGallery({ id, name: file.name.replace(/\.\w+$/, "") });
    clear("picture");
    input.checked = true;
    controls.querySelector("[name=effect][value=picture]").checked = true;
    chooseEffect("picture");
  } catch (error) {
    fail(error.kind, error.why && sentence(error.why));
  }
}

$("add").onclick = () => $("file").click();
$("file").onchange = () => {
  upload($("file").files[0]);
  $("file").value = "";
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  upload(event.dataTransfer.files[0]);
});

// --- what the page says ----------------------------------------------------------------------

function show(next) {
  state = next;
  $("state").dataset.state = state;
  if ($("state").textContent !== STATES[state]) $("state").textContent = STATES[state];
  $("veil").textContent = state === "live" ? "" : STATES[state];
  $("veil").classList.toggle("shown", state !== "live");
}

function fail(kind, why) {
  const [text, button, act] = PROBLEMS[kind];
  shownProblem = kind;
  problem.querySelector("p").textContent = why ?? text;
  problem.querySelector("button").textContent = button;
  problem.querySelector("button").onclick = act;
  problem.hidden = false;
}

function clear(...kinds) {
  if (kinds.length && !kinds.includes(shownProblem)) return;
  shownProblem = null;
  problem.hidden = true;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}

function figures({ shown_fps, p50_ms, p95_ms, skipped, size }) {
  $("fps").textContent = shown_fps.toFixed(0);
  $("p50").textContent = `${p50_ms.toFixed(0)} ms`;
  $("p95").textContent = `${p95_ms.toFixed(0)} ms`;
  $("skipped").textContent = `${skipped} a second`;
  if (size) $("size").textContent = size.join(" × ");
}

async function load() {
  if (!isSecureContext) return fail("insecure");
  if (!token) return fail("token");
  try {
    const choices = await (await api("api/choices")).json();
    clear();
    $("place").textContent = ` on the computer “${choices.place}”`;
    $("device").textContent = choices.device;
    $("model").replaceChildren(...choices.models.map((name) => new Option(name)));
    $("gallery").replaceChildren();
    choices.pictures.forEach(addToGallery);
  } catch (error) {
    fail(error.kind ?? "gone");
  }
}

load();

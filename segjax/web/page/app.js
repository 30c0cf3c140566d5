// The page: one screen, its controls and its sentences. Frames go their way in worker.js, or, from
// another device, in peer.js.

import { Peer } from "./peer.js";

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
  choice: ["", "Choose again", () => controls.querySelector("[name=effect]:checked").focus()],
  black: [
    "The camera's picture is black. Open its shutter, switch on a light, or choose another camera.",
    "Choose a camera", () => $("camera").focus(),
  ],
  frozen: [
    "The camera's picture stands still. Start the camera again, or choose another one.",
    "Start again", start,
  ],
  covered: ["", "Start again", start],
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
  silent: "The camera gives no picture",
  paused: "Paused",
};

let stream = null;
let opening = null; // the start under way, which closing the camera calls off
let lost = ""; // the camera that was unplugged
let shownProblem = null;
let state = "stopped";
let settings = {}; // what the server says, and what was chosen
let bitmapUnderWay = false;
let peer = null;
let meetAgain = null; // begins the other way, unless it was given up
let telling = 0;
let line = ""; // what that run says of itself
let run = ""; // the name of the camera whose run this page shows and changes, if it is not its own

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
  if (data.connected) {
    clear("gone", "full");
    meet(data.webrtc_s, data.side);
    if (settings.paused && stream) show("paused");
  }
  if (data.answer) peer?.accept(data.answer);
  if (data.adopt) adopt(data.adopt);
  if (data.run && stream) {
    $("fps").textContent = data.run.fps.toFixed(0);
    line = data.run.line;
    show(state);
  }
  if (data.refused) PROBLEMS.full[0] = `No more room: ${data.refused}.`;
  if (data.lost) part();
  if (data.lost && stream) {
    show(data.lost === "gone" ? "reconnecting" : "stopped");
    fail(data.lost);
  }
  // What was said before a pause may come after it.
  if (data.state && stream) show(settings.paused && !run ? "paused" : data.state);
  if (data.told && stream) tell(data.told);
  if (data.waiting !== undefined) {
    $("waiting").textContent = data.waiting ? "; your choice is being prepared …" : "";
  }
  if (data.tick) grab();
  if (data.figures && stream) figures(data.figures);
};

// What passes within a second is not worth a sentence; that a choice cannot be followed is.
function tell({ kind, why }) {
  clearTimeout(telling);
  if (!kind) return clear("choice", "covered", "black", "frozen");
  const own = PROBLEMS[kind] && kind !== "choice";
  const say = () => stream && fail(PROBLEMS[kind] ? kind : "covered", own ? undefined : sentence(why));
  telling = setTimeout(say, kind === "choice" ? 0 : 1000);
}

// --- the other way ----------------------------------------------------------------------------

// A pause begins none: nothing of the camera may go, and what carries nothing would be given up.
function meet(limit_s, side) {
  part();
  if (!stream || !limit_s) return;
  meetAgain = () => meet(limit_s, side);
  if (settings.paused) return;
  const [track] = stream.getVideoTracks();
  peer = new Peer(track, $("returned"), limit_s, side, {
    offer: (offer) => worker.postMessage({ offer }),
    carried: (carried) => {
      if (!carried) {
        part();
        if (!settings.paused) show("reconnecting");
      }
      worker.postMessage({ elsewhere: carried });
      $("returned").hidden = !carried;
    },
    figures,
  });
}

function part() {
  peer?.close();
  peer = meetAgain = null;
  $("returned").hidden = true;
}

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
  if (run) {
    stream = new MediaStream(); // nothing of this device
    return showPictures();
  }
  if (!isSecureContext || !navigator.mediaDevices) return fail("insecure");
  closeCamera();
  const mine = (opening = {});
  show("starting");
  let opened;
  try {
    const chosen = $("camera").value;
    opened = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        ...(chosen && { deviceId: { exact: chosen } }),
        width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: RATE },
      },
    });
  } catch (error) {
    if (opening !== mine) return;
    const kinds = { NotAllowedError: "denied", SecurityError: "insecure", NotFoundError: "none", OverconstrainedError: "none" };
    home();
    return fail(kinds[error.name] ?? "busy");
  }
  if (opening !== mine) return opened.getTracks().forEach((track) => track.stop());
  opening = null;
  stream = opened;
  const [track] = stream.getVideoTracks();
  const { deviceId } = track.getSettings();
  track.onended = () => {
    home();
    lost = deviceId;
    fail("unplugged");
  };
  $("original").srcObject = stream;
  $("original").play().catch(() => {});
  showPictures();
  if ("MediaStreamTrackProcessor" in window) {
    const { readable } = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 });
    worker.postMessage({ frames: readable }, [readable]);
  } else {
    worker.postMessage({ ticks: RATE });
  }
  await listCameras(deviceId);
}

function showPictures() {
  clear();
  const was = document.activeElement;
  $("welcome").hidden = true;
  $("pictures").hidden = controls.hidden = false;
  if (was === $("start") || was === document.body) $("stop").focus({ preventScroll: true });
  show("reconnecting");
  worker.postMessage({ connect: true });
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
  part();
  opening = null;
  clearTimeout(telling);
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

// Before the page goes: the camera's light is off at once, and no frame is left open.
addEventListener("pagehide", home);

$("camera").onchange = start;
navigator.mediaDevices?.addEventListener("devicechange", async () => {
  if (run) return;
  if (shownProblem === "unplugged") {
    await listCameras(lost);
    if ($("camera").value) start(); // it is back; no other is started unasked
  } else if (stream) {
    listCameras(stream.getVideoTracks()[0].getSettings().deviceId);
  }
});

// --- what the person chooses -----------------------------------------------------------------

function choose(changed) {
  settings = { ...settings, ...changed };
  worker.postMessage({ settings: changed });
}

function showEffect(effect) {
  for (const panel of controls.querySelectorAll("[data-for]")) {
    panel.hidden = !panel.dataset.for.split(" ").includes(effect);
  }
}

function chooseEffect(effect) {
  showEffect(effect);
  if (effect === "picture") {
    const chosen = controls.querySelector("[name=picture]:checked") ?? controls.querySelector("[name=picture]");
    if (!chosen) return; // as before, until there is a picture
    chosen.checked = true;
    return choose({ effect, picture: chosen.value });
  }
  choose({ effect });
}

// What the server or its run begins with, or another page chose.
function adopt(chosen) {
  settings = chosen;
  controls.querySelector(`[name=effect][value=${chosen.effect}]`).checked = true;
  showEffect(chosen.effect);
  const picture = controls.querySelector(`[name=picture][value="${CSS.escape(chosen.picture)}"]`);
  if (picture) picture.checked = true;
  $("strength").value = chosen.strength;
  $("softness").value = chosen.softness;
  $("person").value = chosen.person;
  $("color").value = chosen.color;
  $("pause").setAttribute("aria-pressed", chosen.paused);
}

// The window of a run and its other pages pause it, too.
function adoptPause({ data }) {
  if (!data.run) return;
  settings = { ...settings, paused: data.run.paused };
  $("pause").setAttribute("aria-pressed", settings.paused);
}

controls.onsubmit = (event) => event.preventDefault();
controls.addEventListener("change", ({ target }) => {
  if (target.name === "effect") chooseEffect(target.value);
  if (target.name === "picture") choose({ effect: "picture", picture: target.value });
});
$("strength").oninput = () => choose({ strength: Number($("strength").value) });
$("softness").oninput = () => choose({ softness: Number($("softness").value) });
$("color").oninput = () => choose({ color: $("color").value });
$("model").onchange = () => choose({ model: $("model").value });
$("person").onchange = () => choose({ person: $("person").value });
$("mirror").onchange = () => $("pictures").classList.toggle("mirrored", $("mirror").checked);
$("pause").onclick = () => {
  choose({ paused: !settings.paused });
  if (peer?.carries) peer.pause(settings.paused);
  else meetAgain?.();
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
  $("veil").textContent = state === "live" ? "" : line || STATES[state];
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
  if (!run) $("fps").textContent = shown_fps.toFixed(0);
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
    if (choices.run) control(choices.run, choices.place);
    $("device").textContent = choices.device;
    $("model").replaceChildren(...choices.models.map((name) => new Option(name)));
    $("gallery").replaceChildren();
    choices.pictures.forEach(addToGallery);
    adopt({ ...choices.settings, ...settings });
  } catch (error) {
    fail(error.kind ?? "gone");
  }
}

// The page of a run: what leaves is shown here, and no camera of this device is asked for.
function control(name, place) {
  run = name;
  worker.postMessage({ looks: true });
  worker.addEventListener("message", adoptPause);
  document.body.classList.add("remote");
  $("start").textContent = "Show the picture";
  $("stop").textContent = "Hide the picture";
  $("about").textContent =
    `This page shows what leaves the segjax program on the computer “${place}”, and changes it. ` +
    `The pictures of its source (${name}) stay there.`;
}

load();

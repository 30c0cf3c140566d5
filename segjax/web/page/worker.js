// The way of a frame, in a worker, which keeps its rate when the tab is hidden:
// camera → newest → scaled → JPEG → server → picture → canvas.

import { SocketTransport } from "./transport.js";

const SILENT_MS = 2000; // without an answer, what was shown last gives way
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

let canvas, picture; // what the page shows, and its context
let url, token;
let transport = null;
let wanted = false; // whether there should be a connection
let tries = 0;
let retry = 0;
let settings = {};
let smallest = 640; // long side, where every stream starts, as the server says
let side = smallest; // that is sent now
let number = 0; // of the camera's frames
let waiting = null; // the newest frame not yet sent
let looks = false; // whether this page only shows and changes a run that has its own camera
let elsewhere = false; // whether frames go another way, or may yet
let cameAt = 0; // when the camera last gave a frame
let since = 0; // when the server was asked for answers, or last gave one; 0 while it is not
let encoding = false;
let shown = 0;
let state = "";
let ticking = 0;
let second = fresh();

const scratch = new OffscreenCanvas(16, 16);
const scratchPicture = scratch.getContext("2d", { willReadFrequently: true });

onmessage = ({ data }) => {
  if (data.canvas) {
    canvas = data.canvas;
    picture = canvas.getContext("2d");
    ({ url, token } = data);
  }
  if (data.settings) {
    if (settings.paused && data.settings.paused === false) since = performance.now();
    settings = { ...settings, ...data.settings };
    transport?.tell({ settings: data.settings });
    if (settings.paused && !looks) {
      blank();
      offer(null);
    }
  }
  if (data.frames) read(data.frames);
  if (data.ticks) tick(data.ticks);
  if (data.frame) offer(data.frame);
  if (data.looks) looks = true;
  if (data.offer) transport?.tell({ offer: data.offer });
  if (data.elsewhere !== undefined) {
    elsewhere = data.elsewhere;
    since = performance.now();
    blank();
    send();
  }
  if (data.connect) connect();
  if (data.disconnect) disconnect();
};

function connect() {
  disconnect();
  wanted = true;
  transport = new SocketTransport(url, token, {
    open() {
      tries = 0;
      if (!looks) transport.tell({ settings });
    },
    answer: present,
    say(said) {
      if (said.refused) postMessage({ refused: said.refused.why });
      if (said.problem) postMessage({ told: said.problem });
      if (said.waiting !== undefined) postMessage({ waiting: said.waiting });
      if (said.run) postMessage({ run: said.run });
      if (said.answer) postMessage({ answer: said.answer });
      if (said.state && elsewhere && !settings.paused) postMessage({ state: said.state });
      if (said.hello) {
        smallest = side = said.hello.side;
        elsewhere = said.hello.webrtc_s > 0;
        since = performance.now();
        if (looks) {
          shown = 0;
          settings = said.hello.settings;
          postMessage({ adopt: settings });
        }
        postMessage({ connected: true, side, webrtc_s: said.hello.webrtc_s });
      }
      if (said.figures) side = said.figures.side;
    },
    close(kind) {
      transport = null;
      since = 0;
      blank();
      postMessage({ lost: kind });
      if (kind !== "gone" || !wanted) return;
      retry = setTimeout(connect, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
    },
  });
}

// Nothing older than the connection or the pause stays to be seen.
function blank() {
  state = "";
  picture.fillStyle = "#25292e";
  picture.fillRect(0, 0, canvas.width, canvas.height);
}

function disconnect() {
  blank();
  offer(null);
  wanted = false;
  since = 0;
  clearTimeout(retry);
  transport?.close();
  transport = null;
}

// Frames come as a stream where the browser has one (Chromium) …
async function read(frames) {
  const reader = frames.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return offer(null);
    offer(value);
  }
}

// … and elsewhere the page takes them from its video when this clock says so.
function tick(rate) {
  clearInterval(ticking);
  if (rate > 0) ticking = setInterval(() => postMessage({ tick: true }), 1000 / rate);
}

// The newest wins: a frame that nobody had time for is closed.
function offer(frame) {
  if (waiting) {
    waiting.frame.close();
    second.skipped += 1;
  }
  waiting = frame && { frame, number: number++, captured: performance.now() };
  if (frame) {
    second.camera += 1;
    cameAt = performance.now();
  }
  send();
}

async function send() {
  if (!waiting || encoding || !transport?.free || elsewhere || settings.paused) return;
  encoding = true;
  const { frame, number, captured } = waiting;
  waiting = null;
  try {
    const [width, height] = size(frame);
    if (scratch.width !== width || scratch.height !== height) {
      scratch.width = width;
      scratch.height = height;
    }
    scratchPicture.drawImage(frame, 0, 0, width, height);
    frame.close();
    const blob = await scratch.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    const jpeg = await blob.arrayBuffer();
    if (transport?.free) transport.send(number, captured, jpeg);
  } catch (error) {
    frame.close();
    console.warn(error); // this frame is left out
  }
  encoding = false;
  send();
}

// Of the smallest size first, so that larger ones have its very shape. Never larger than it came.
function size(frame) {
  const [width, height] = [frame.displayWidth ?? frame.width, frame.displayHeight ?? frame.height];
  const small = scaled([width, height], Math.min(smallest, Math.max(width, height)));
  return scaled(small, Math.min(side, Math.max(width, height)));
}

function scaled([width, height], side) {
  const scale = side / Math.max(width, height);
  return [width, height].map((length) => Math.max(16, 2 * Math.floor((length * scale) / 2 + 0.5)));
}

async function present(answer) {
  if (looks) transport?.tell({ shown: answer.number });
  send(); // there is room for another
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([answer.jpeg], { type: "image/jpeg" }));
  } catch {
    return;
  }
  const old = answer.number < shown || (settings.paused && !looks) || !transport;
  if (!old) {
    shown = answer.number;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    picture.drawImage(bitmap, 0, 0);
    since = performance.now();
    second.delays.push(performance.now() - answer.captured);
    second.size = [bitmap.width, bitmap.height];
    if (answer.state !== state) {
      state = answer.state;
      postMessage({ state });
    }
  }
  bitmap.close();
}

function fresh() {
  return { began: performance.now(), camera: 0, skipped: 0, delays: [], size: null };
}

setInterval(() => {
  const took = (performance.now() - second.began) / 1000;
  const delays = second.delays.sort((a, b) => a - b);
  const at = (share) => delays[Math.min(delays.length - 1, Math.floor(share * delays.length))] ?? 0;
  const figures = {
    shown_fps: delays.length / took,
    camera_fps: second.camera / took,
    p95_ms: at(0.95),
  };
  if (delays.length && !settings.paused && !looks) transport?.tell({ figures });
  if (!elsewhere) {
    postMessage({ figures: { ...figures, p50_ms: at(0.5), skipped: second.skipped, size: second.size } });
  }
  second = fresh();
}, 1000);

setInterval(() => {
  const now = performance.now();
  const idle = !since || elsewhere || (settings.paused && !looks);
  if (idle || now - since < SILENT_MS) return;
  const why = looks || now - cameAt < SILENT_MS ? "reconnecting" : "silent";
  if (why === state) return;
  blank();
  state = why;
  postMessage({ state });
}, SILENT_MS / 4);

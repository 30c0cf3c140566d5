// Carries frames to the server and their answers back: over a WebSocket, as JPEGs. Another way of
// carrying them offers the same: open, tell, free, send, close, and the four calls of `on`.

const FRAME = 12; // bytes before a frame's JPEG: number u32, capture time f64
const ANSWER = 17; // before an answer's: number u32, capture time f64, state u8, server's ms f32
const IN_FLIGHT = 2;

const STATES = ["warming", "live", "held", "covered", "reconnecting", "paused", "stopped"];
export const REFUSED = { 4401: "token", 4503: "full" };

export class SocketTransport {
  // on.open(), on.answer({number, captured, state, jpeg}), on.say(message), on.close(kind)
  constructor(url, token, on) {
    this.sent = [];
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify({ token }));
    this.socket.onclose = (event) => on.close(REFUSED[event.code] ?? "gone");
    this.socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return on.answer(this.unpack(data));
      const said = JSON.parse(data);
      if (said.hello) on.open();
      on.say(said);
    };
  }

  tell(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  get free() {
    return this.socket.readyState === WebSocket.OPEN && this.sent.length < IN_FLIGHT;
  }

  // An answer to a frame says that the server is done with those before it, too.
  unpack(data) {
    const view = new DataView(data);
    const number = view.getUint32(0, true);
    this.sent = this.sent.filter((sent) => sent > number);
    return {
      number,
      captured: view.getFloat64(4, true),
      state: STATES[view.getUint8(12)],
      jpeg: new Uint8Array(data, ANSWER),
    };
  }

  send(number, captured, jpeg) {
    const message = new Uint8Array(FRAME + jpeg.byteLength);
    const view = new DataView(message.buffer);
    view.setUint32(0, number, true);
    view.setFloat64(4, captured, true);
    message.set(new Uint8Array(jpeg), FRAME);
    this.sent.push(number);
    this.socket.send(message);
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
  }
}

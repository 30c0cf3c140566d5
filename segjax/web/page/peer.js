// The way of a frame from another device: WebRTC, straight to the program and back. Nobody is asked
// for the way (no ICE servers), and there is no sound.

const SILENT_S = 2; // without a picture, after which the way is given up

export class Peer {
  // on.offer(sdp), on.carried(whether), on.figures({…}); what is not carried within the limit is not.
  constructor(track, video, limit_s, side, on) {
    this.track = track;
    this.video = video;
    this.on = on;
    this.shown = [];
    this.carries = this.closed = false;
    this.timer = setTimeout(() => this.giveUp(), 1000 * limit_s);
    this.open(side).catch(() => this.giveUp());
  }

  async open(side) {
    const connection = (this.connection = new RTCPeerConnection({ iceServers: [] }));
    const { sender } = connection.addTransceiver(this.track, { direction: "sendrecv" });
    this.sender = sender;
    connection.ontrack = ({ track }) => {
      this.video.srcObject = new MediaStream([track]);
      this.video.onplaying = () => this.carry();
      this.video.play().catch(() => {});
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "failed") this.giveUp();
    };
    await connection.setLocalDescription();
    const settings = sender.getParameters();
    const { width = side, height = side } = this.track.getSettings();
    settings.degradationPreference = "maintain-resolution";
    settings.encodings[0].scaleResolutionDownBy = Math.max(1, Math.max(width, height) / side);
    await sender.setParameters(settings).catch(() => {}); // or it sends as it likes
    while (connection.iceGatheringState !== "complete") {
      await new Promise((done) => { connection.onicegatheringstatechange = done; });
    }
    this.on.offer(connection.localDescription.sdp);
  }

  accept(sdp) {
    this.connection.setRemoteDescription({ type: "answer", sdp }).catch(() => this.giveUp());
  }

  carry() {
    clearTimeout(this.timer);
    this.carries = true;
    this.on.carried(true);
    this.decoded = this.silent = 0;
    this.began = performance.now();
    this.measure = setInterval(() => this.report(), 1000);
    const note = (_, { receiveTime, presentationTime }) => {
      if (this.closed) return;
      this.shown.push(receiveTime ? presentationTime - receiveTime : 0);
      this.video.requestVideoFrameCallback?.(note);
    };
    this.video.requestVideoFrameCallback?.(note);
    this.video.onplaying = null;
  }

  giveUp() {
    if (this.closed) return;
    this.close();
    this.on.carried(false);
  }

  pause(paused) {
    this.video.hidden = paused;
    this.sender.replaceTrack(paused ? null : this.track);
  }

  close() {
    clearTimeout(this.timer);
    clearInterval(this.measure);
    this.closed = true;
    this.connection?.close();
    this.video.srcObject = null;
  }

  // No frame carries its capture time here: the delay is put together of what a frame takes to be
  // coded, the way there and back, and from its receipt to its presentation.
  async report() {
    const shown = this.shown.sort((a, b) => a - b);
    const took = (performance.now() - this.began) / 1000;
    this.shown = [];
    this.began = performance.now();
    let way = 0;
    const stats = await this.connection.getStats();
    if (this.closed) return;
    for (const one of stats.values()) {
      if (one.type === "outbound-rtp" && one.framesEncoded) way += (1000 * one.totalEncodeTime) / one.framesEncoded;
      if (one.type === "inbound-rtp") {
        this.silent = one.framesDecoded > this.decoded ? 0 : this.silent + 1;
        this.decoded = one.framesDecoded;
      }
      if (one.type === "candidate-pair" && one.nominated) way += 1000 * (one.currentRoundTripTime ?? 0);
    }
    if (this.silent >= SILENT_S) return this.giveUp();
    const at = (share) => way + (shown[Math.min(shown.length - 1, Math.floor(share * shown.length))] ?? 0);
    const size = this.video.videoWidth && [this.video.videoWidth, this.video.videoHeight];
    this.on.figures({ shown_fps: shown.length / took, p50_ms: at(0.5), p95_ms: at(0.95), skipped: 0, size });
  }
}

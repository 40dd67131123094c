(() => {
  "use strict";
  const protocol = "remuda.terminal.v1";
  const piece = 16 << 10; // bytes typed in one message
  const patience = 30000; // ms in which a lost connection is tried again: what a ticket lives
  const $ = (id) => document.getElementById(id);
  const ref = location.pathname.split("/").pop();
  const memory = "remuda.terminal." + ref; // of this tab: the ticket for the next connection
  const base = "/v1/terminals/" + encodeURIComponent(ref);
  $("name").textContent = ref;

  const term = new Terminal({ cursorBlink: true, scrollback: 10000, fontFamily: "monospace", fontSize: 14, lineHeight: 1.2, theme: { background: "#16181d", foreground: "#d8dbe2" } });
  const fit = new FitAddon.FitAddon();
  term.loadAddon(fit);
  term.open($("terminal"));
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe($("terminal"));

  let socket = null;
  let replaying = 0; // bytes of what was shown before that are still to be drawn
  let lostAt = 0;

  const say = (word) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(word));
  };
  const type = (bytes) => {
    // What a program asked the terminal long ago is not answered again.
    if (replaying > 0 || !socket || socket.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += piece) socket.send(bytes.subarray(at, at + piece));
  };
  term.onData((text) => type(new TextEncoder().encode(text)));
  term.onBinary((text) => type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  term.onResize(({ rows, cols }) => say({ type: "resize", rows, cols }));

  const status = (text, state, again) => {
    $("status").textContent = text;
    $("status").dataset.state = state;
    $("again").hidden = !again;
  };
  const ask = (why) => {
    if (why) $("why").textContent = why;
    $("ask").hidden = false;
    $("terminal").hidden = true;
    status("not connected", "over", false);
    $("token").focus();
  };
  const words = (problem) => [problem.title, problem.cause].filter(Boolean).join(": ");

  const connect = (ticket) => {
    $("ask").hidden = true;
    $("terminal").hidden = false;
    fit.fit();
    status("connecting", "", false);
    let opened = false;
    let over = false;
    const ws = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + base + "/connection", protocol);
    ws.binaryType = "arraybuffer";
    socket = ws;
    ws.onopen = () => say({ type: "open", ticket, rows: term.rows, cols: term.cols });
    ws.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        const size = data.byteLength;
        term.write(new Uint8Array(data), () => { replaying = Math.max(0, replaying - size); });
        return;
      }
      const word = JSON.parse(data);
      switch (word.type) {
        case "opened":
          opened = true;
          lostAt = 0;
          replaying = word.kept;
          sessionStorage.setItem(memory, word.resume);
          term.reset();
          status("connected", "open", false);
          term.focus();
          break;
        case "exit":
          over = true;
          sessionStorage.removeItem(memory);
          status("ended with " + word.code, "over", false);
          break;
        case "problem":
          if (!opened) {
            over = true;
            sessionStorage.removeItem(memory);
            ask(words(word.problem) + ".");
          } else if (word.problem.code !== "invalid" && word.problem.code !== "unavailable") {
            over = true;
            status(words(word.problem), "over", true);
          }
      }
    };
    ws.onclose = () => {
      if (socket !== ws || over) return;
      socket = null;
      lostAt = lostAt || Date.now();
      if (Date.now() - lostAt < patience && sessionStorage.getItem(memory)) {
        status("connection lost, trying again", "", false);
        setTimeout(resume, 1000);
      } else {
        status("connection lost", "over", true);
      }
    };
  };
  const resume = () => {
    const ticket = sessionStorage.getItem(memory);
    if (ticket) connect(ticket);
    else ask();
  };

  $("again").addEventListener("click", resume);
  $("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const token = $("token").value.trim();
    $("token").value = "";
    try {
      const answer = await fetch(base + "/tickets", { method: "POST", headers: { Authorization: "Bearer " + token } });
      const body = await answer.json();
      if (answer.ok) connect(body.ticket);
      else ask(words(body) + ".");
    } catch (error) {
      ask("The server cannot be reached: " + error.message + ".");
    }
  });

  const given = location.hash.slice(1);
  if (given) {
    history.replaceState(null, "", location.pathname); // a ticket is no part of an address that is kept
    connect(given);
  } else {
    resume();
  }
})();

/* The search runs in a Worker, and browsers give a page that was opened as a file none. There a
   hidden frame does what is asked of a Worker: load one script, and pass messages to and fro. */
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.waiting = [];
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.document.open();
    inside.document.write("<!doctype html><body></body>");
    inside.document.close();
    inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
    inside.importScripts = (...urls) => urls.reduce(
      (before, next) => before.then(() => this.load(next)), Promise.resolve());
    this.load(url).then(() => {
      for (const data of this.waiting.splice(0)) this.postMessage(data);
      this.waiting = null;
    });
  }

  load(url) {
    const inside = this.frame.contentDocument;
    const script = Object.assign(inside.createElement("script"), { src: url });
    return new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error(`cannot load ${url}`));
      inside.body.append(script);
    });
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;

(() => {
  "use strict";
  const PAUSE = 1500;
  let stamp = document.documentElement.dataset.stamp;
  const say = (text, lost) => {
    const place = document.getElementById("live");
    if (!place) return;
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("lost", lost);
  };
  const ask = async (path) => {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  };
  const look = async () => {
    if (!document.hidden) {
      try {
        const state = await (await ask("state.json")).json();
        if (state.stamp !== stamp) {
          const fresh = new DOMParser().parseFromString(await (await ask("fresh")).text(), "text/html");
          await window.thetadot.renew(fresh);
          stamp = fresh.documentElement.dataset.stamp;
        }
        say("live", false);
      } catch {
        say("no answer from the server: this is what was last seen", true);
      }
    }
    setTimeout(look, PAUSE);
  };
  void window.thetadot.started.then(look);
})();

// Times in the reader's own zone. The server writes them in UTC, in the same form, so that nothing moves.

const FORM = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
});
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

/** @param {Date} moment */
export const told = (moment) => FORM.format(moment);

/** @param {ParentNode} root whose `<time datetime>` are told in the reader's zone */
export function localise(root = document) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const text = told(moment);
    if (time.textContent === text && time.title) continue; // setting it again would lay it out again
    time.textContent = text;
    time.title = EXACT.format(moment);
  }
}

// Numbers, times and sizes as people read them.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A whole number: 1,234,567. */
export function count(value) {
  return GROUPED.format(value);
}

/** A number that must be short: 1.2k, 34M. */
export function short(value) {
  const steps = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [step, unit] of steps) {
    if (value >= step) return trim(value / step) + unit;
  }
  return trim(value);
}

function trim(value) {
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(1);
}

/** So many a second. */
export function rate(value) {
  return value === null ? "–" : value > 0 && value < 10 ? value.toFixed(1) : count(Math.round(value));
}

/** A share as a percentage. */
export function percent(share) {
  return share === null ? "–" : `${Math.round(share * 100)} %`;
}

/** A time in two units at most. */
export function time(ms) {
  if (ms < 1) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const units = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]];
  let left = Math.floor(ms / 1000);
  const parts = [];
  for (const [unit, seconds] of units) {
    const whole = Math.floor(left / seconds);
    left -= whole * seconds;
    if (whole > 0) parts.push(`${whole} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

/** A run of a handler, which may be very short. */
export function run(us) {
  if (us === 0) return "–";
  return us < 1000 ? `${us} µs` : us < 10_000 ? `${(us / 1000).toFixed(1)} ms` : time(us / 1000);
}

/** How long ago a moment by the broker's clock was, by that of this machine. */
export function ago(unixMs) {
  const gone = Date.now() - unixMs;
  // The clocks differ.
  return gone < 1000 ? "now" : `${time(gone)} ago`;
}

/** A moment, whole. */
export function moment(unixMs) {
  return new Date(unixMs).toISOString().replace("T", " ").replace("Z", " UTC");
}

/** A size. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`;
}

/** One thing, or several. */
export function things(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/**
 * An id in short: when it was made, its number at whoever made it, and who that was. Ids of one moment begin alike,
 * and those of one client end alike.
 */
export function shortId(id) {
  return `${id.slice(0, 8)}…${id.slice(19, 23)}…${id.slice(-4)}`;
}

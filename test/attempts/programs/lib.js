const say = (key, seen) => console.log(JSON.stringify({key, seen: String(seen).slice(0, 2000)}));
const attempt = async (key, f) => {
  try {
    const got = await f();
    say(key, got === undefined ? 'done' : got);
  } catch (e) {
    say(key, e.code || `${e.name}: ${e.message}`);
  }
};

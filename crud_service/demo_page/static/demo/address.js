// What the page shows is in its address, behind the `#`: `#/ACCESS_TOKEN/CHAT_NUMBER`. Whoever gets
// the address sees the same; and as no browser sends a fragment, no server has the token in its log.

const ADDRESS = /^#\/([A-Za-z0-9]{24})(?:\/([1-9][0-9]*))?$/;

export function readAddress() {
  const [, token = null, number] = ADDRESS.exec(location.hash) ?? [];
  return { token, chatNumber: number === undefined ? null : Number(number) };
}

/** Whether an address names something, but not in this way: a link that lost characters on its way. */
export function isMangled() {
  return location.hash.length > "#/".length && !ADDRESS.test(location.hash);
}

export function addressOf(token, chatNumber) {
  return chatNumber === undefined ? `#/${token}` : `#/${token}/${chatNumber}`;
}

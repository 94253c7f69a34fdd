// Submit a job and follow it, through lost connections. For browsers; Node runs it too.

const PATIENCE = 2000; // milliseconds before the next try

/** Return the job, stored once however often this is called with the same key. */
export async function submit(service, token, key, request) {
  for (;;) {
    const answer = await fetch(`${service}/v1/jobs`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key, Authorization: `Bearer ${token}` },
      body: JSON.stringify(request),
    }).catch(() => null); // no network
    if (answer?.ok) return answer.json();
    await pauseBeforeRepeat(answer);
  }
}

/** Call `onEvent(name, data)` for each event, and return the ended job. */
export async function follow(service, token, id, onEvent) {
  let lastId = "";
  for (;;) {
    const answer = await fetch(`${service}/v1/jobs/${id}/events`, {
      headers: { Accept: "text/event-stream", "Last-Event-ID": lastId, Authorization: `Bearer ${token}` },
    }).catch(() => null);
    if (!answer?.ok) {
      await pauseBeforeRepeat(answer);
      continue;
    }
    try {
      for await (const message of messages(answer.body)) {
        lastId = message.id ?? lastId;
        const data = JSON.parse(message.data);
        if (message.event === "done") return data.job;
        onEvent(message.event, data);
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // a TypeError is fetch's word for a lost connection
    }
    await new Promise((resolve) => setTimeout(resolve, PATIENCE));
  }
}

async function pauseBeforeRepeat(answer) {
  if (answer && ![408, 409, 429].includes(answer.status) && answer.status < 500) {
    throw new Error((await answer.json()).type); // asking again would be of no use
  }
  const seconds = Number(answer?.headers.get("Retry-After"));
  await new Promise((resolve) => setTimeout(resolve, seconds ? 1000 * seconds : PATIENCE));
}

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) yield fields;
    }
  }
}

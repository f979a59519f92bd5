// The npm package mqtt against a broker, over WebSocket. Usage: node websocket.js PORT
const mqtt = require('mqtt');

const url = `ws://127.0.0.1:${process.argv[2]}/mqtt`;
const wait = setTimeout(() => fail('nothing came in time'), 30000);

function fail(why) {
  console.error(why);
  process.exit(1);
}

async function one(protocolVersion) {
  const client = await mqtt.connectAsync(url, { protocolVersion, clean: true });
  const heard = [];
  client.on('message', (topic, payload) => heard.push(`${topic} ${payload.length}`));
  await client.subscribeAsync('ws/#', { qos: 2 });
  for (const qos of [0, 1, 2]) await client.publishAsync(`ws/${qos}`, 'x'.repeat(10 ** (qos * 2 + 1)), { qos });
  for (let i = 0; i < 200 && heard.length < 3; i++) await new Promise((done) => setTimeout(done, 20));
  if (heard.join() !== 'ws/0 10,ws/1 1000,ws/2 100000') fail(`heard ${heard}`);
  await client.endAsync();
}

one(4)
  .then(() => one(5))
  .then(() => {
    clearTimeout(wait);
    console.log('every QoS, both versions');
  })
  .catch((error) => fail(error));

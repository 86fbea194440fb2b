#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Node with timers, promises, worker threads and a child process.
. "$(dirname "$0")/inside.bash"
need node

cat >"$T/job.js" <<'JS'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto'), fs = require('fs'), child = require('child_process');

const failed = (what) => fs.appendFileSync('failed', what + '\n');
const digest = (n) => crypto.createHash('sha256').update('x' + n).digest('hex');

if (!isMainThread) {
	parentPort.on('message', (n) => {
		let sum = 0;
		for (let i = 0; i < 200000; i++)
			sum = (sum * 31 + i + n) % 1000003;
		parentPort.postMessage({ n, sum, hash: digest(n) });
	});
} else {
	let rounds = 0, sums = {};
	const expected = digest(7);
	const workers = [1, 2, 3].map(() => new Worker(__filename));
	const ask = (w, n) => new Promise((done) => { w.once('message', done); w.postMessage(n); });
	const run = () => new Promise((done) => child.execFile('/bin/sh', ['-c', 'echo 42'], (e, out) => done(out)));
	(async () => {
		while (!fs.existsSync('stop')) {
			const answers = await Promise.all(workers.map((w) => ask(w, 7)));
			for (const a of answers)
				if (a.hash !== expected || a.n !== 7 || (sums[7] ??= a.sum) !== a.sum)
					failed('a worker says ' + JSON.stringify(a));
			const start = process.hrtime.bigint();
			await new Promise((done) => setTimeout(done, 30));
			if (process.hrtime.bigint() - start < 28000000n)
				failed('a timer ends early');
			if ((await run()) !== '42\n')
				failed('a child says something else');
			fs.writeFileSync('n.new', `${++rounds}\n`);
			fs.renameSync('n.new', 'n');
		}
		for (const w of workers)
			await w.terminate();
		fs.writeFileSync('ended', 'yes\n');
	})();
}
JS
start node "$T/job.js"
until_true greater n 1 || bad "node does not start"
many
goes_on n || bad "node does not go on after the checkpoints"
for round in 1 2; do
	take
	goes_on n || bad "node does not go on after restore $round"
	[ ! -e failed ] || bad "after restore $round: $(head -n 3 failed)"
done
touch stop
until_true test -s ended || bad "node does not come to its end"
[ ! -e failed ] || bad "$(head -n 3 failed)"
good "node with workers, timers and children: $rounds checkpoints, two restores"

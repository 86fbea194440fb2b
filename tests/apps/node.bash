# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For node.sh and inside-node.sh: timers, promises, worker threads and programs that it runs. With an
# argument it is a web server, too, on that port.
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
		if (process.argv[2])
			require('http').createServer((q, a) => a.end(`hash of ${q.url} is ${digest(q.url)}\n`))
				.listen(+process.argv[2], '127.0.0.1').unref();
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

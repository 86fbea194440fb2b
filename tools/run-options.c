/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of ckpt-run: options end at the program's name, what follows is the program's.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include "tools/arguments.h"
#include "tools/run.h"

#define DEFAULT_SIGNAL 64
#define LEAST_INTERVAL 10000000ull /* ns */

enum { INTERVAL = 256, KEEP, WAIT, SIGNAL, ON, RESUME, TRACK_MEM };

static const struct option table[] = {
	{ "images-dir", required_argument, NULL, 'D' },
	{ "dir", required_argument, NULL, 'D' },
	{ "interval", required_argument, NULL, INTERVAL },
	{ "keep", required_argument, NULL, KEEP },
	{ "wait", required_argument, NULL, WAIT },
	{ "signal", required_argument, NULL, SIGNAL },
	{ "checkpoint-on", required_argument, NULL, ON },
	{ "resume", no_argument, NULL, RESUME },
	{ "track-mem", no_argument, NULL, TRACK_MEM },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

void ckpt_run_help(int fd)
{
	dprintf(fd,
		"ckpt-run [OPTIONS] [--] PROGRAM ARGS...\n"
		"runs a program so that it can be checkpointed from inside: see ckpt-signal\n\n"
		"  -D, --images-dir DIR   folder for the checkpoints, which are in DIR/ckpt.000001 and so on\n"
		"      --signal N         the signal that asks for a checkpoint (default 64, SIGRTMAX)\n"
		"With one of these ckpt-run stays, passes signals on, and ends as the program ends:\n"
		"      --interval S       a checkpoint every S seconds\n"
		"      --keep N           keep the newest N checkpoints (default 2)\n"
		"      --track-mem        each goes on from the one before and holds what has changed since; what\n"
		"                         the newest N go on from is kept, too\n"
		"      --wait S           give a checkpoint up if the program does not answer within S seconds\n"
		"                         (default 10)\n"
		"      --checkpoint-on SIGNAL  when that signal comes, take a last checkpoint that ends the\n"
		"                         program, and exit with status 85; may be repeated\n"
		"      --resume           restore the newest whole checkpoint in DIR; without one, start the\n"
		"                         program\n"
		"  -v, --verbose          tell of each checkpoint on stderr\n"
		"  -h, --help             say this\n"
		"  -V, --version          print the version\n\n"
		"Environment: CKPT_LIBRARY, CKPT_ENGINE (where the library and ckpt-signal are), CKPT_LOG (log of\n"
		"checkpoints that the program asked for by itself). For the program: LD_PRELOAD, CKPT_SIGNAL,\n"
		"CKPT_DIR, CKPT_KEEP, CKPT_ENGINE, CKPT_ROOT. See ckpt-run(1).\n\n"
		"Exit status: that of the program, 128 + N if it died of signal N; 85 checkpointed, start it again;\n"
		"1 failed, 2 usage, 3 the program cannot be run so; 126 cannot be executed, 127 not found.\n");
}

static int take(struct ckpt_run_options *o, int c, struct ckpt_err *err)
{
	int r, sig;

	switch (c) {
	case 'D':
		o->dir = optarg;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	case 'V':
		o->version = true;
		return 0;
	case RESUME:
		o->resume = true;
		return 0;
	case TRACK_MEM:
		o->track_mem = true;
		return 0;
	case KEEP:
		return ckpt_take_number("--keep", optarg, 1, INT_MAX, &o->keep, err);
	case WAIT:
		return ckpt_take_number("--wait", optarg, 1, 1000000, &o->wait_s, err);
	case SIGNAL:
		return ckpt_take_reserved("--signal", optarg, &o->signal, err);
	case INTERVAL:
		r = ckpt_take_seconds("--interval", optarg, &o->interval_ns, err);
		if (r >= 0 && o->interval_ns < LEAST_INTERVAL)
			return ckpt_usage(err, "--interval", "at least 0.01 seconds");
		return r;
	case ON:
		r = ckpt_take_signal("--checkpoint-on", optarg, &sig, err);
		if (r < 0)
			return r;
		if (sig == SIGKILL || sig == SIGSTOP || sig == SIGCHLD || sig == SIGCONT)
			return ckpt_usage(err, "--checkpoint-on",
					  "this signal cannot be waited for");
		o->any_on = true;
		sigaddset(&o->on, sig);
		return 0;
	}
	return -EINVAL;
}

static int judge(const struct ckpt_run_options *o, struct ckpt_err *err)
{
	if (!o->argv[0])
		return ckpt_usage(err, "program", "its name is missing");
	if (o->dir && !*o->dir)
		return ckpt_usage(err, "--images-dir", "the value is empty");
	if (!o->dir && o->resume)
		return ckpt_usage(err, "--resume", "it needs a folder: -D DIR");
	if (!o->dir && o->interval_ns)
		return ckpt_usage(err, "--interval", "it needs a folder: -D DIR");
	if (o->track_mem && !o->interval_ns)
		return ckpt_usage(err, "--track-mem", "it needs --interval S");
	if (!o->dir && o->any_on)
		return ckpt_usage(err, "--checkpoint-on", "it needs a folder: -D DIR");
	if (sigismember(&o->on, o->signal))
		return ckpt_usage(err, "--checkpoint-on",
				  "this signal asks the program itself: see --signal");
	return 0;
}

int ckpt_run_options(struct ckpt_run_options *o, int argc, char **argv, struct ckpt_err *err)
{
	int c;

	*o = (struct ckpt_run_options){ .keep = CKPT_KEEP_DEFAULT,
					.wait_s = 10,
					.signal = DEFAULT_SIGNAL };
	sigemptyset(&o->on);
	while ((c = ckpt_next_option(argc, argv, "+:D:vhV", table, err)) >= 0)
		if (take(o, c, err) < 0)
			return -EINVAL;
	if (c != -1)
		return c;
	o->argv = argv + optind;
	return o->help || o->version ? 0 : judge(o, err);
}

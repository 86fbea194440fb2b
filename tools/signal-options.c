/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of ckpt-signal, and its help. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include "tools/arguments.h"
#include "tools/signal.h"

enum { KILL = 256, WAIT, TREE, ONE, SNAPSHOT, STOP, SIGNAL, LIST, ANSWER };
/* From here on: options of ckpt dump, which mean the same here. */
enum {
	CARRY = 512,
	COMPRESS,
	DISPLAY_STATS,
	EXTERNAL,
	FILE_LOCKS,
	FILE_VALIDATION,
	GHOST_LIMIT,
	LINK_REMAP,
	NO_LINK_REMAP,
	PREV_IMAGES_DIR,
	RULE,
	RULES,
	SKIP_IN_FLIGHT,
	TCP_CLOSE,
	TRACK_MEM,
	TRACK_TIMEOUT,
};
#define OF_DUMP CARRY

static const struct option table[] = {
	{ "images-dir", required_argument, NULL, 'D' },
	{ "dir", required_argument, NULL, 'D' },
	{ "kill", no_argument, NULL, KILL },
	{ "leave-running", no_argument, NULL, 'R' },
	{ "wait", required_argument, NULL, WAIT },
	{ "tree", no_argument, NULL, TREE },
	{ "one", no_argument, NULL, ONE },
	{ "snapshot", no_argument, NULL, SNAPSHOT },
	{ "stop", no_argument, NULL, STOP },
	{ "signal", required_argument, NULL, SIGNAL },
	{ "verbosity", optional_argument, NULL, 'v' },
	{ "log-file", required_argument, NULL, 'o' },
	{ "list", no_argument, NULL, LIST },
	{ "answer", required_argument, NULL, ANSWER },
	{ "carry", required_argument, NULL, CARRY },
	{ "compress", optional_argument, NULL, COMPRESS },
	{ "display-stats", no_argument, NULL, DISPLAY_STATS },
	{ "external", required_argument, NULL, EXTERNAL },
	{ "file-locks", no_argument, NULL, FILE_LOCKS },
	{ "file-validation", required_argument, NULL, FILE_VALIDATION },
	{ "ghost-limit", required_argument, NULL, GHOST_LIMIT },
	{ "link-remap", no_argument, NULL, LINK_REMAP },
	{ "no-link-remap", no_argument, NULL, NO_LINK_REMAP },
	{ "prev-images-dir", required_argument, NULL, PREV_IMAGES_DIR },
	{ "rule", required_argument, NULL, RULE },
	{ "rules", required_argument, NULL, RULES },
	{ "skip-in-flight", no_argument, NULL, SKIP_IN_FLIGHT },
	{ "tcp-close", no_argument, NULL, TCP_CLOSE },
	{ "track-mem", no_argument, NULL, TRACK_MEM },
	{ "track-timeout", required_argument, NULL, TRACK_TIMEOUT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

/* The parser of ckpt finds one command here. */
const struct ckpt_command ckpt_commands[] = {
	{ .name = "ckpt-signal", .bit = CKPT_CMD_DUMP },
	{ .name = NULL },
};

void ckpt_signal_help(int fd)
{
	dprintf(fd,
		"ckpt-signal [OPTIONS] PID\n"
		"asks a program that was started by ckpt-run for a checkpoint: no ptrace, no privilege\n\n"
		"  -D, --images-dir DIR  folder of the image (default: the current one)\n"
		"      --kill            end the program when the image is whole\n"
		"  -R, --leave-running   let it go on (default)\n"
		"      --wait S          give up if it does not answer within S seconds (default 10)\n"
		"      --tree            the process and its descendants (default)\n"
		"      --one             without its descendants\n"
		"      --snapshot        it goes on as soon as there is a copy of it, which is then written\n"
		"                        (default, unless --kill)\n"
		"      --stop            it stands still until the image is written\n"
		"      --signal N        the signal that was given to ckpt-run --signal (default: find out)\n"
		"  -o, --log-file FILE   write the log to FILE in the folder of the image\n"
		"  -v, --verbosity[=N]   log 0 nothing, 1 warnings, 2 notes, 3 steps, 4 detail; also -vvv\n"
		"      --list            list the processes that can be asked, and do nothing\n"
		"      --carry WHAT, --compress[=METHOD], --display-stats, --external KEY, --file-locks,\n"
		"      --file-validation HOW, --ghost-limit SIZE, --no-link-remap,\n"
		"      --prev-images-dir DIR, --rule RULE, --rules FILE, --skip-in-flight, --tcp-close,\n"
		"      --track-mem, --track-timeout SECONDS\n"
		"                        as of ckpt dump (see `ckpt help dump`)\n"
		"      --answer PID      for the library: PID asks by itself; the image is a new one below\n"
		"                        $CKPT_DIR, nothing is printed\n"
		"  -h, --help            say this\n"
		"  -V, --version         print the version\n\n"
		"The image is restored by `ckpt restore`.\n"
		"Exit status: 0 done, 1 failed, 2 usage, 3 not supported.\n");
}

static int take_level(const char *text, int *levelp, struct ckpt_err *err)
{
	unsigned int n = 0;

	while (text && *text == 'v' && n < 4) { /* -vvv: the rest of the word is its value */
		n++;
		text++;
		if (!*text)
			text = NULL;
	}
	if (n || !text) {
		*levelp = (*levelp < 0 ? 0 : *levelp) + n + 1;
		*levelp = *levelp > 4 ? 4 : *levelp;
		return 0;
	}
	if (ckpt_take_number("--verbosity", text, 0, INT_MAX, &n, err) < 0)
		return -EINVAL;
	*levelp = n > 4 ? 4 : n;
	return 0;
}

/* The text lives as long as the options: they point into it. */
static int take_of_dump(struct ckpt_signal_options *o, int c, struct ckpt_err *err)
{
	const struct option *opt = table;
	char *arg;

	while (opt->val != c)
		opt++;
	if (asprintf(&arg, "--%s%s%s", opt->name, optarg ? "=" : "", optarg ? optarg : "") < 0)
		return ckpt_fail(err, -ENOMEM, "--%s", opt->name);
	return ckpt_options_apply(&o->dump, arg, NULL, err);
}

static int take(struct ckpt_signal_options *o, int c, struct ckpt_err *err)
{
	uint64_t ns;
	unsigned int n;
	int r = 0;

	if (c >= OF_DUMP)
		return take_of_dump(o, c, err);
	switch (c) {
	case 'D':
		o->dump.images_dir = optarg;
		break;
	case 'o':
		o->dump.log_file = optarg;
		break;
	case 'R':
		o->kill = false;
		break;
	case KILL:
		o->kill = true;
		break;
	case TREE:
		o->one = false;
		break;
	case ONE:
		o->one = true;
		break;
	case SNAPSHOT:
		o->stop = false;
		break;
	case STOP:
		o->stop = true;
		break;
	case SIGNAL:
		return ckpt_take_reserved("--signal", optarg, &o->signal, err);
	case LIST:
		o->list = true;
		break;
	case 'h':
		o->help = true;
		break;
	case 'V':
		o->version = true;
		break;
	case 'v':
		return take_level(optarg, &o->dump.verbosity, err);
	case WAIT:
		r = ckpt_take_seconds("--wait", optarg, &ns, err);
		if (r >= 0)
			o->wait_s = ns > 1000000000 ? (ns + 999999999) / 1000000000 : 1;
		break;
	case ANSWER:
		o->answer = true;
		r = ckpt_take_number("--answer", optarg, 1, INT_MAX, &n, err);
		if (r >= 0)
			o->pid = n;
		break;
	}
	return r;
}

static int take_pid(struct ckpt_signal_options *o, int argc, char **argv, struct ckpt_err *err)
{
	unsigned int n;

	if (o->help || o->version || o->answer)
		return 0;
	if (o->list)
		return optind < argc ? ckpt_usage(err, argv[optind], "--list takes no process") : 0;
	if (optind == argc)
		return ckpt_usage(err, "process", "its number is missing");
	if (optind + 1 < argc)
		return ckpt_usage(err, argv[optind + 1], "one process at a time");
	if (ckpt_take_number("process", argv[optind], 1, INT_MAX, &n, err) < 0)
		return -EINVAL;
	o->pid = n;
	return 0;
}

int ckpt_signal_options(struct ckpt_signal_options *o, int argc, char **argv, struct ckpt_err *err)
{
	int c;

	*o = (struct ckpt_signal_options){ .wait_s = 10 };
	ckpt_options_init(&o->dump);
	o->dump.command = ckpt_commands;
	while ((c = ckpt_next_option(argc, argv, ":D:Ro:v::hV", table, err)) >= 0)
		if (take(o, c, err) < 0)
			return -EINVAL;
	if (c != -1)
		return c;
	if (!*o->dump.images_dir)
		return ckpt_usage(err, "--images-dir", "the value is empty");
	return take_pid(o, argc, argv, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options. Real-time signals are numbered as the kernel does: glibc takes 32 and 33. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/arguments.h"

#define YEAR_S (366.0 * 24 * 3600)
#define FIRST_FREE 34 /* real-time signal */
#define LAST 64

int ckpt_usage(struct ckpt_err *err, const char *what, const char *why)
{
	return ckpt_refuse(err, CKPT_E_NONE, -EINVAL, "%s: %s (see `%s --help`)", what, why,
			   program_invocation_short_name);
}

static int bad(const char *option, const char *text, const char *expected, struct ckpt_err *err)
{
	return ckpt_refuse(err, CKPT_E_NONE, -EINVAL, "%s: \"%s\" is not %s (see `%s --help`)",
			   option, text, expected, program_invocation_short_name);
}

/* How the option was spelled: "--frob", "-Q" out of "-vQ". */
static const char *spelled(char **argv, char letter[3])
{
	const char *arg = argv[optind - 1];

	if (!optopt || !strncmp(arg, "--", 2))
		return arg;
	letter[0] = '-';
	letter[1] = optopt;
	letter[2] = 0;
	return letter;
}

int ckpt_next_option(int argc, char **argv, const char *letters, const struct option *table,
		     struct ckpt_err *err)
{
	char letter[3];
	int c;

	opterr = 0;
	optopt = 0;
	c = getopt_long(argc, argv, letters, table, NULL);
	if (c == ':')
		return ckpt_usage(err, spelled(argv, letter), "the value is missing");
	if (c == '?' && strchr(argv[optind - 1], '=') && optopt)
		return ckpt_usage(err, argv[optind - 1], "this option takes no value");
	if (c == '?')
		return ckpt_usage(err, spelled(argv, letter),
				  "there is no such option, or more than one begins like this");
	return c;
}

int ckpt_take_number(const char *option, const char *text, unsigned int least, unsigned int most,
		     unsigned int *valuep, struct ckpt_err *err)
{
	unsigned long n;
	char *end, range[64];

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < least || n > most) {
		snprintf(range, sizeof(range), "a number from %u to %u", least, most);
		return bad(option, text, range, err);
	}
	*valuep = n;
	return 0;
}

int ckpt_take_seconds(const char *option, const char *text, uint64_t *nsp, struct ckpt_err *err)
{
	char *end;
	double s = strtod(text, &end);

	if (!strchr("0123456789.", *text) || !*text || *end || !isfinite(s) || s > YEAR_S)
		return bad(option, text, "a number of seconds", err);
	*nsp = s * 1e9;
	return 0;
}

static int real_time(const char *name)
{
	bool from_top = !strncmp(name, "RTMAX", 5);
	char *end;
	long n;

	if (!from_top && strncmp(name, "RTMIN", 5))
		return 0;
	name += 5;
	if (!*name)
		return from_top ? LAST : FIRST_FREE;
	n = strtol(name, &end, 10);
	if (*end || *name != (from_top ? '-' : '+') || labs(n) > LAST - FIRST_FREE)
		return 0;
	return (from_top ? LAST : FIRST_FREE) + n;
}

static int by_name(const char *name)
{
	if (!strncmp(name, "SIG", 3))
		name += 3;
	for (int sig = 1; sig < 32; sig++)
		if (sigabbrev_np(sig) && !strcmp(sigabbrev_np(sig), name))
			return sig;
	return real_time(name);
}

int ckpt_take_signal(const char *option, const char *text, int *signalp, struct ckpt_err *err)
{
	struct ckpt_err none;
	unsigned int n = 0;

	if (*text >= '0' && *text <= '9')
		*signalp = ckpt_take_number(option, text, 1, LAST, &n, &none) < 0 ? 0 : (int)n;
	else
		*signalp = by_name(text);
	return *signalp ? 0 : bad(option, text, "a signal", err);
}

int ckpt_take_reserved(const char *option, const char *text, int *signalp, struct ckpt_err *err)
{
	int r = ckpt_take_signal(option, text, signalp, err);

	if (r < 0 || *signalp >= FIRST_FREE || *signalp == SIGUSR1 || *signalp == SIGUSR2)
		return r;
	return bad(option, text, "a signal that can be reserved: USR1, USR2, or 34 to 64", err);
}

const char *ckpt_signal_name(char buf[24], int signal)
{
	const char *name = signal < 32 ? sigabbrev_np(signal) : NULL;

	if (name)
		snprintf(buf, 24, "SIG%s", name);
	else if (signal == LAST)
		snprintf(buf, 24, "SIGRTMAX");
	else
		snprintf(buf, 24, "SIGRTMIN+%d", signal - FIRST_FREE);
	return buf;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of ckpt-run and ckpt-signal: getopt_long(3) with sentences of our own. */
#pragma once
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include "engine/base/err.h"

/* The next option: its value in the table, -1 at the end, or -EINVAL with *ERR. LETTERS begins with
 * ':' (behind a '+', if any). */
int ckpt_next_option(int argc, char **argv, const char *letters, const struct option *table,
		     struct ckpt_err *err);
/* A usage error: no code of the catalogue, exit status 2. "WHAT: WHY (see `NAME --help`)". */
int ckpt_usage(struct ckpt_err *err, const char *what, const char *why);

/* All return -EINVAL and a usage error that names OPTION if TEXT is nothing of that sort. */
int ckpt_take_number(const char *option, const char *text, unsigned int least, unsigned int most,
		     unsigned int *valuep, struct ckpt_err *err);
/* "2.5": seconds; stored as ns. At most a year. */
int ckpt_take_seconds(const char *option, const char *text, uint64_t *nsp, struct ckpt_err *err);
/* "TERM", "SIGTERM", "15", "RTMIN+3", "RTMAX-1", "64". */
int ckpt_take_signal(const char *option, const char *text, int *signalp, struct ckpt_err *err);
/* One that a library may reserve: USR1, USR2 or a real-time one that the C library leaves free. */
int ckpt_take_reserved(const char *option, const char *text, int *signalp, struct ckpt_err *err);
/* "SIGTERM", "SIGRTMIN+3". */
const char *ckpt_signal_name(char buf[24], int signal);

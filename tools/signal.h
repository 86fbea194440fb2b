/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of ckpt-signal share. */
#pragma once
#include "tools/ckpt.h"

struct ckpt_signal_options {
	bool help, version, list;
	pid_t pid;   /* 0: none was given */
	bool answer; /* PID asks by itself */
	bool kill, one, stop;
	int signal; /* 0: find out */
	unsigned int wait_s;
	struct ckpt_options dump; /* what means the same there */
};

/* A usage error is plain: exit status 2. */
int ckpt_signal_options(struct ckpt_signal_options *o, int argc, char **argv, struct ckpt_err *err);
void ckpt_signal_help(int fd);

/* All return an exit status; the sentence has been printed then. */
int ckpt_signal_dump(const struct ckpt_signal_options *o);
int ckpt_signal_list(void);
/* STOP: it stands still until the image is written. */
int ckpt_signal_answer(pid_t pid, bool stop);

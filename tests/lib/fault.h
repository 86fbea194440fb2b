/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of tests/fault share: a victim in a folder, ckpt on it, and looking at what is
 * left. */
#pragma once
#include "tests/lib/inside.h"
#include "tests/lib/proc.h"
#include "tests/lib/step.h"
#include "tests/lib/victim.h"

struct fault {
	const char *program, *ckpt, *sort;
	char *dir, *img, *out;       /* folder of the run, of the image, what ckpt printed */
	const struct inside *inside; /* victims have the library; NULL: they do not */
	struct victim_heart *heart;
	pid_t pid;
	unsigned int n_failed;
	bool copies; /* dump -R reads out of copies of the victims */
};

/* Serves `@victim` calls and does not return then. Makes this process a subreaper, finds ckpt,
 * makes the folder. */
void fault_init(struct fault *f, int argc, char **argv);
/* False, and said: this kernel cannot track memory. */
bool fault_can_track(struct fault *f);
/* Starts a fresh victim of this sort; ends the one before. False (and counted as failed) if that
 * fails. */
bool fault_start(struct fault *f, const char *sort);
/* Prints "not ok - ..." and counts it; with what ckpt printed. */
void fault_failed(struct fault *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Runs ckpt COMMAND with -D of the image folder and up to two more arguments; its exit status. */
int fault_ckpt(struct fault *f, const char *command, char *a, char *b);
/* The arguments of that, NULL after them, for step_run(). A static buffer. */
char **fault_argv(struct fault *f, const char *command, char *a, char *b);
/* More options for all that follows, a line each, as in a configuration file; NULL: no more. */
void fault_options(struct fault *f, const char *lines);
/* "-t" of the victim's number. A static buffer. */
char *fault_pid(struct fault *f);
bool fault_has_image(struct fault *f);
/* Files in the image folder. */
int fault_n_files(struct fault *f);
void fault_remove_image(struct fault *f);
/* The victim goes on; otherwise it is reported as harmed by WHAT and replaced by a fresh one. */
bool fault_still_well(struct fault *f, const char *what);
/* What tracking makes in the victim, for a moment. */
bool fault_has_userfaultfd(pid_t pid);
/* A number from the environment. */
long fault_setting(const char *name, long otherwise);
/* Ends everything, removes the folder, prints the summary; the exit status. */
int fault_end(struct fault *f, const char *summary);

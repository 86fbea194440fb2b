/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter. Processes take turns behind ckpt: what they share is then the same in each run.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/property/program.h"
#include "tests/property/target.h"

static struct program program;
static char log_path[300], log_text[16384];
static int me, before_me, newest; /* before_me: whose turn is before mine */
static bool forked[PROGRAM_PROCESSES];
static bool behind;

static bool is_done(int index)
{
	return test_exists("%s.%d", log_path, index);
}

static void write_down(void)
{
	char path[320];

	snprintf(path, sizeof(path), "%s.%d", log_path, me);
	CHECK(test_write(path, "%s", log_text));
}

static void setup_child(void)
{
	program_run(&program, me, false, log_text, sizeof(log_text));
}

static void check(void)
{
	behind = true;
	if (me)
		CHECK(EVENTUALLY(is_done(before_me)));
	program_run(&program, me, true, log_text, sizeof(log_text));
	write_down();
}

/* Only by the root, and only before: there is no harness for those that come later. */
long target_fork(int index)
{
	errno = EAGAIN;
	if (me || behind || forked[index])
		return -1;
	forked[index] = true;
	me = index;
	before_me = newest;
	strcpy(log_text, "");
	case_child(setup_child, check);
	me = 0;
	newest = index;
	return 0;
}

int target_process(void)
{
	return me;
}

static void setup(void)
{
	snprintf(log_path, sizeof(log_path), "%s", getenv(TARGET_LOG));
	CHECK(program_read(&program, getenv(TARGET_PROGRAM)));
	forked[0] = true;
	signal(SIGPIPE, SIG_IGN);
	program_run(&program, 0, false, log_text, sizeof(log_text));
}

const struct story target_story = { "a random program", setup, check,
				    .options = { "--file-locks" } };

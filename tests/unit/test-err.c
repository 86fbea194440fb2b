/* SPDX-License-Identifier: Apache-2.0 */
/* Errors and lists of problems: what a user reads at the end. */
#include <errno.h>
#include "engine/base/err.h"
#include "engine/base/problems.h"
#include "tests/lib/tap.h"

static void plain_failures(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char line[2048];

	is(ckpt_fail(&err, -ENOENT, "fd %d: cannot open", 3), -ENOENT,
	   "ckpt_fail returns its code");
	is_text(err.text, "fd 3: cannot open: No such file or directory", "the cause is appended");
	is(err.code, -ENOENT, "the code is kept");
	is(ckpt_in(&err, 0, "task 1"), 0, "success gets no context");
	is(ckpt_in(&err, -ENOENT, "task %d", 7), -ENOENT, "context returns the code");
	is_text(err.text, "task 7: fd 3: cannot open: No such file or directory",
		"context stands in front");
	ckpt_err_sentence(&err, line, sizeof(line));
	is_text(line, err.text, "without a number the sentence is the text");
	is(ckpt_err_exit_status(&err), 1, "a plain failure exits with 1");
	ckpt_fail(&err, -EMFILE, "fd 4");
	ckpt_err_sentence(&err, line, sizeof(line));
	ok(!strncmp(line, "CKPT-E0505: fd 4: Too many open files; raise ", 45), "%s", line);
	ckpt_fail(&err, -ENOMEM, "areas");
	ckpt_err_sentence(&err, line, sizeof(line));
	ok(!strncmp(line, "CKPT-E0506: areas: Cannot allocate memory; free ", 48), "%s", line);
	is(err.number, CKPT_E_NONE, "what ran out is a plain failure to who finds it");
	ckpt_fail(&err, -EBADMSG, "number 8: nonsense");
	is_text(err.text, "number 8: nonsense", "-EBADMSG adds nothing");
	ckpt_fail(&err, -ECANCELED, "interrupted");
	is_text(err.text, "interrupted", "-ECANCELED adds nothing");
	ckpt_fail(&err, -4000, "pipe");
	is_text(err.text, "pipe: error 4000", "an unknown errno is a number");
	is(ckpt_fail(&err, 0, "write"), -EIO, "a failure with errno 0 is still one");
	ckpt_fail(&err, -EPERM, "a");
	ckpt_fail(&err, -EIO, "again (%s)", err.text);
	is_text(err.text, "again (a: Operation not permitted): Input/output error",
		"the old text may be an argument");
}

static void catalogue(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char line[2048], small[12];

	is(ckpt_refuse(&err, CKPT_E_DELETED_FILE, -ENOTSUP, "fd %d: deleted", 9), -ENOTSUP,
	   "ckpt_refuse returns its code");
	ckpt_in(&err, -ENOTSUP, "dump");
	ckpt_err_sentence(&err, line, sizeof(line));
	is_text(line,
		"CKPT-E0203: dump: fd 9: deleted; close it before the dump, or put a file at the path",
		"the sentence has number, text and remedy");
	is(ckpt_err_exit_status(&err), 3, "what is unsupported exits with 3");
	ckpt_err_sentence(&err, small, sizeof(small));
	is_text(small, "CKPT-E0203:", "a short buffer is not overrun");
	ckpt_fail(&err, -EIO, "x");
	is(err.number, CKPT_E_NONE, "a plain failure forgets the number");
	ckpt_refuse(&err, CKPT_E_NO_IMAGE, -ENOENT, "x");
	is(ckpt_err_exit_status(&err), 1, "what failed exits with 1");
}

static void long_texts(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char big[3000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	ckpt_fail(&err, -EIO, "%s", big);
	is(strlen(err.text), sizeof(err.text) - 1, "a long text is cut");
	ckpt_in(&err, -EIO, "%s", big);
	is(strlen(err.text), sizeof(err.text) - 1, "a long context is cut");
}

static void problems(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_arena *arena;
	struct ckpt_problems all = { 0 };

	must(ckpt_arena_open(&arena, 1 << 20, &err) == 0, "an arena opens");
	all.arena = arena;
	is(ckpt_problems_err(&all, &err), 0, "no problem is no error");
	ckpt_problem_add(&all, CKPT_E_TRACED, "pid %d: traced", 5);
	ckpt_problem_add(&all, CKPT_E_TRACED, "pid %d: traced", 5);
	is(all.n, 1, "the same problem is kept once");
	ok(ckpt_problems_err(&all, &err) < 0, "one problem is an error");
	is_text(err.text, "pid 5: traced", "one problem is its text");
	ckpt_refuse(&err, CKPT_E_FILE_KIND, -ENOTSUP, "fd 3: strange");
	ckpt_problem_add_err(&all, &err);
	ckpt_problems_err(&all, &err);
	is_text(err.text, "pid 5: traced (and 1 more problem)", "two problems are counted");
	is(err.number, CKPT_E_TRACED, "the number is that of the first");
	for (int i = 0; i < 100; i++)
		ckpt_problem_add(&all, CKPT_E_FILE_KIND, "fd %d", i);
	is(all.n, 102, "the list grows");
	is_text(all.v[101].text, "fd 99", "in the order of coming");
	ckpt_problems_err(&all, &err);
	is_text(err.text, "pid 5: traced (and 101 more problems)", "many problems are counted");
	ckpt_arena_close(arena);
}

int main(void)
{
	plain_failures();
	catalogue();
	long_texts();
	problems();
	return tap_end();
}

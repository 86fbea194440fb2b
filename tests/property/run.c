/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The property: whatever a program did, after a restore it is as it was (the oracle says so) and
 * goes on as if nothing had been (each operation returns what it returns where ckpt only dumps).
 *
 *	run [--count N] [--seed N]      that many random programs
 *	run --program FILE              this one, with all that is said
 *
 * One that fails is made as small as it can be, and printed.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/round.h"
#include "tests/property/program.h"
#include "tests/property/target.h"

#define COUNT 150
#define SECONDS 60 /* without --count: no longer than that */
#define ROUND_MS 120000

/* What a dump may refuse by name, and why it is not a failure. */
static const struct {
	const char *words, *reason;
} refusals[] = {
	{ "CKPT-E0251", "unread input of a terminal" },
	{ "CKPT-E0202", "a pidfd of the harness" },
	{ "an error that nobody has asked for", "of a socket whose peer went with data unread" },
};

static struct {
	const char *exe, *ckpt;
	char *dir, *said; /* what the last round printed */
	bool loud;
	unsigned int n, refused;
} run;

static bool may_refuse(const char *said)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (strstr(said, refusals[i].words))
			return true;
	return false;
}

static char *in_dir(const char *name)
{
	return test_text("%s/%s", run.dir, name);
}

static void write_program(const struct program *p)
{
	char *path = in_dir("program");
	FILE *f = fopen(path, "we");

	if (!f)
		exit(99);
	program_print(p, f);
	fclose(f);
	free(path);
}

/* In a process of its own, whose words are kept: how it ended. */
static int tell(enum round_mode mode, bool user, const char *variant)
{
	char *out = in_dir("said");
	struct round r = { .story = &target_story,
			   .variant = variant,
			   .user = user,
			   .mode = mode,
			   .exe = run.exe,
			   .ckpt = run.ckpt };
	int status, fd;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		dup2(fd, 1);
		exit(round_run(&r));
	}
	status = test_wait(pid, ROUND_MS);
	if (status < 0)
		kill(pid, SIGKILL);
	free(run.said);
	run.said = test_read(out, NULL);
	free(out);
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : ROUND_FAILED;
}

/* The results of all its processes, and there are none for the next one. */
static char *take_log(const char *log)
{
	char *all = strdup("");

	for (int i = 0; i < PROGRAM_PROCESSES; i++) {
		char *path = test_text("%s.%d", log, i), *text = test_read(path, NULL), *more;

		if (text) {
			more = test_text("%sprocess %d:\n%s", all, i, text);
			free(all);
			all = more;
		}
		unlink(path);
		free(text);
		free(path);
	}
	return all;
}

static void print_differences(const char *a, const char *b)
{
	while (*a && *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

		if (n != m || strncmp(a, b, n))
			printf("#   it goes on: %.*s; restored: %.*s\n", (int)n, a, (int)m, b);
		a += n + (a[n] != 0);
		b += m + (b[m] != 0);
	}
}

/* Does the property hold for P? What is said of it is printed if LOUD. */
static bool holds(const struct program *p, bool user, bool loud)
{
	char *log = in_dir("log"), *running = NULL, *restored = NULL;
	bool ok = false;

	write_program(p);
	if (tell(ROUND_RUNNING, user, user ? "@inject-user-running" : "@inject-running")) {
		ok = may_refuse(run.said);
		run.refused += ok;
		running = take_log(log);
	} else {
		running = take_log(log);
		ok = !tell(ROUND_RESTORED, user, user ? "@inject-user" : "@inject");
		restored = take_log(log);
		if (ok && strcmp(running, restored)) {
			ok = false;
			if (loud)
				print_differences(running, restored);
		}
	}
	if (loud && !ok)
		printf("%s", run.said);
	if (run.loud && ok)
		printf("%s", running);
	free(running);
	free(restored);
	free(log);
	return ok;
}

/* Leaves out ever smaller parts, as long as it still fails. */
static void shrink(struct program *p, bool user)
{
	for (size_t part = p->n / 2; part; part = part > 1 ? (part + 1) / 2 : 0) {
		size_t at = 0;

		while (at < p->n) {
			struct program less = { .n = 0 };

			for (size_t i = 0; i < p->n; i++)
				if (i < at || i >= at + part || !p->v[i].op)
					less.v[less.n++] = p->v[i];
			if (less.n < p->n && !holds(&less, user, false))
				*p = less;
			else
				at += part;
		}
		if (part == 1)
			break;
	}
}

static bool try(struct program *p, bool user, const char *name)
{
	run.n++;
	if (holds(p, user, false))
		return true;
	printf("%s", run.said);
	if (holds(p, user, true)) {
		printf("not ok - %s fails, but not each time\n", name);
		return false;
	}
	printf("# %s fails; it is made smaller\n", name);
	shrink(p, user);
	holds(p, user, true);
	printf("not ok - %s%s:\n", name, user ? ", as an ordinary user" : "");
	program_print(p, stdout);
	fflush(stdout);
	return false;
}

static bool try_seeds(unsigned long seed, int count, bool bounded)
{
	int64_t end = test_now_ns() + SECONDS * 1000000000ll;
	bool ok = true;
	char name[64];

	for (int i = 0; i < count && (!bounded || test_now_ns() < end); i++) {
		struct program p;

		snprintf(name, sizeof(name), "--seed %lu", seed + i);
		program_make(&p, seed + i);
		ok &= try(&p, getuid() != 0 || (seed + i) % 4 == 3, name);
	}
	return ok;
}

static long number(const char *text, long otherwise)
{
	return text ? strtol(text, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	const char *count = getenv("CKPT_PROPERTY_COUNT"), *seed = getenv("CKPT_PROPERTY_SEED");
	const char *file = NULL;
	struct program p;
	bool ok;

	if (argc == 4 && !strcmp(argv[1], "@target"))
		return case_target(argv[2], &target_story);
	for (int i = 1; i + 1 < argc; i += 2) {
		count = strcmp(argv[i], "--count") ? count : argv[i + 1];
		seed = strcmp(argv[i], "--seed") ? seed : argv[i + 1];
		file = strcmp(argv[i], "--program") ? file : argv[i + 1];
		if (!strcmp(argv[i], "--seed") && !count)
			count = "1";
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	run.exe = realpath("/proc/self/exe", NULL);
	run.ckpt = test_find_ckpt(argv[0]);
	run.dir = test_temp_dir();
	run.loud = file;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setenv(TARGET_PROGRAM, in_dir("program"), 1);
	setenv(TARGET_LOG, in_dir("log"), 1);
	umask(0022);
	if (file)
		ok = program_read(&p, file) && try(&p, getenv("CKPT_PROPERTY_USER"), file);
	else
		ok = try_seeds(number(seed, 1), number(count, COUNT), !count);
	printf("%s - %u random programs, %u of them refused by name\n", ok ? "ok" : "not ok", run.n,
	       run.refused);
	test_remove_tree(run.dir);
	return !ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers of the fault tests. The image is on the same file system as everything of the run.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

void fault_init(struct fault *f, int argc, char **argv)
{
	memset(f, 0, sizeof(*f));
	if (argc > 1 && !strcmp(argv[1], "@victim"))
		exit(victim_main(argc, argv));
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	f->program = realpath("/proc/self/exe", NULL);
	f->ckpt = test_find_ckpt(argv[0]);
	f->dir = test_temp_dir();
	f->img = test_text("%s/img", f->dir);
	f->out = test_text("%s/ckpt.out", f->dir);
}

void fault_failed(struct fault *f, const char *fmt, ...)
{
	char *said = test_read(f->out, NULL), *save, *line;
	va_list ap;

	f->n_failed++;
	printf("not ok - ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	for (line = said ? strtok_r(said, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		printf("#   ckpt: %s\n", line);
	free(said);
}

bool fault_start(struct fault *f, const char *sort)
{
	test_end_descendants();
	victim_forget(f->heart);
	f->sort = sort;
	if (f->inside)
		inside_env_set(f->inside, f->dir);
	f->pid = victim_start(f->program, sort, f->dir, &f->heart);
	inside_env_clear();
	if (!f->pid)
		fault_failed(f, "victim \"%s\" does not start", sort);
	return f->pid;
}

char *fault_pid(struct fault *f)
{
	static char text[32];

	snprintf(text, sizeof(text), "-t%d", f->pid);
	return text;
}

bool fault_can_track(struct fault *f)
{
	if (!test_run((char *[]){ (char *)f->ckpt, "check", "--feature", "PAGEMAP_SCAN", NULL },
		      f->out, "/", 10000))
		return true;
	printf("skip - this kernel cannot track memory\n");
	return false;
}

void fault_options(struct fault *f, const char *lines)
{
	char *path = test_text("%s.conf", f->out);

	unlink(path);
	unsetenv("CKPT_CONFIG_FILE");
	if (lines) {
		test_write(path, lines);
		setenv("CKPT_CONFIG_FILE", path, 1);
	}
	free(path);
}

char **fault_argv(struct fault *f, const char *command, char *a, char *b)
{
	static char *argv[8];
	int n = 0;

	argv[n++] = (char *)f->ckpt;
	argv[n++] = (char *)command;
	argv[n++] = "-D";
	argv[n++] = f->img;
	argv[n++] = a;
	argv[n++] = a ? b : NULL;
	if (f->copies && a && b && !strcmp(b, "-R"))
		argv[n++] = "--max-freeze-action=copy";
	argv[n] = NULL;
	unlink(f->out);
	return argv;
}

int fault_ckpt(struct fault *f, const char *command, char *a, char *b)
{
	return test_run(fault_argv(f, command, a, b), f->out, "/", 60000);
}

bool fault_has_image(struct fault *f)
{
	return test_exists("%s/image", f->img);
}

int fault_n_files(struct fault *f)
{
	return test_n_files(f->img);
}

void fault_remove_image(struct fault *f)
{
	test_remove_tree(f->img);
}

bool fault_still_well(struct fault *f, const char *what)
{
	char why[300];

	if (victim_well(f->heart, f->pid, why, sizeof(why)))
		return true;
	fault_failed(f, "%s: harmed by %s: %s", f->sort, what, why);
	fault_start(f, f->sort);
	return false;
}

bool fault_has_userfaultfd(pid_t pid)
{
	char link[64];

	for (int fd = 0; fd < 64; fd++) {
		char *path = test_text("/proc/%d/fd/%d", pid, fd);
		ssize_t n = readlink(path, link, sizeof(link) - 1);

		free(path);
		if (n > 0 && memmem(link, n, "userfaultfd", 11))
			return true;
	}
	return false;
}

long fault_setting(const char *name, long otherwise)
{
	const char *s = getenv(name);

	return s && *s ? atol(s) : otherwise;
}

int fault_end(struct fault *f, const char *summary)
{
	if (!test_end_descendants())
		fault_failed(f, "processes are left that cannot be ended");
	if (getenv("CKPT_CASE_KEEP"))
		printf("# kept: %s\n", f->dir);
	else
		test_remove_tree(f->dir);
	printf("%s - %s\n", f->n_failed ? "not ok" : "ok", summary);
	return f->n_failed ? 1 : 0;
}

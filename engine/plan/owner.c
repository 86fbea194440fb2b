/* SPDX-License-Identifier: Apache-2.0 */
/* Which packages files belong to. Asked only where something is wrong with them, or where the user
 * wants it: that takes a program, which reads all that the package manager knows. */
#include "engine/plan/owner.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/clocks.h"

#define BOUND_NS 5000000000ull
#define OUTPUT_MAX (1u << 20)

extern char **environ;

/* What we block (a dump looks at signals when it wants to) the program does not. */
static int spawn(pid_t *pidp, const char *const *argv, int to)
{
	posix_spawn_file_actions_t io;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&io);
	posix_spawn_file_actions_addopen(&io, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&io, to, 1);
	posix_spawn_file_actions_addopen(&io, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(pidp, argv[0], &io, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&io);
	posix_spawnattr_destroy(&attr);
	return r;
}

/* Until its end, or UNTIL; false: it has not come. */
static bool read_until(int fd, char *text, uint64_t until)
{
	for (size_t n = 0; n + 1 < OUTPUT_MAX;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = ckpt_now_ns();
		ssize_t got;

		if (now >= until)
			return false;
		if (poll(&p, 1, (until - now) / 1000000 + 1) <= 0)
			continue;
		got = read(fd, text + n, OUTPUT_MAX - 1 - n);
		if (got <= 0)
			return got == 0;
		n += got;
	}
	return false;
}

/* What the program prints; "" if it is not there or takes too long. */
static char *output_of(struct ckpt_arena *arena, const char *const *argv, uint64_t until)
{
	char *text = ckpt_alloc(arena, OUTPUT_MAX);
	int pipe[2];
	pid_t pid;

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return text;
	CKPT_FD from = pipe[0];
	int r = spawn(&pid, argv, pipe[1]);
	close(pipe[1]);
	if (r)
		return text;
	if (!read_until(from, text, until)) {
		kill(pid, SIGKILL);
		text[0] = '\0';
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return text;
}

bool ckpt_owner_sane(const char *package)
{
	size_t n = 0;

	while (n < CKPT_OWNER_MAX && isprint((unsigned char)package[n]))
		n++;
	return n && n < CKPT_OWNER_MAX && !package[n];
}

/* What is no name of a package is a sentence: of a diversion, of a file that is nobody's. */
static const char *take_name(const char *name)
{
	return !strchr(name, ' ') && ckpt_owner_sane(name) ? name : NULL;
}

/* Of packages, the path may be the one before /lib became a link to /usr/lib. */
static const char *old_path(const char *path)
{
	return strncmp(path, "/usr/", 5) ? NULL : path + 4;
}

/* "libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6"; of what several have, the first of them. */
static void take_dpkg(char *line, struct ckpt_owned *v, size_t n)
{
	char *end = strstr(line, ": /");
	const char *path = end ? end + 2 : NULL;

	if (!end)
		return;
	*end = '\0';
	line[strcspn(line, ",")] = '\0';
	for (size_t i = 0; i < n; i++) {
		const char *old = v[i].path ? old_path(v[i].path) : NULL;

		if (v[i].path && (!strcmp(v[i].path, path) || (old && !strcmp(old, path))))
			v[i].package = take_name(line);
	}
}

/* "libc6:amd64 2.36-9": the name becomes all of the line. */
static void take_version(const char *line, struct ckpt_owned *v, size_t n)
{
	size_t len = strcspn(line, " ");

	for (size_t i = 0; i < n && line[len] && ckpt_owner_sane(line); i++)
		if (v[i].package && strlen(v[i].package) == len && !memcmp(v[i].package, line, len))
			v[i].package = line;
}

/* An ask of the package manager: ARGV has room for what is said of N files. */
struct ask {
	struct ckpt_arena *arena;
	const char **argv;
	struct ckpt_owned *v;
	size_t n;
	uint64_t until;
};

static char *run(struct ask *ask, size_t argc)
{
	ask->argv[argc] = NULL;
	return output_of(ask->arena, ask->argv, ask->until);
}

/* False: it knows none of them. */
static bool ask_dpkg(struct ask *ask)
{
	char *line, *rest;
	size_t argc = 0, names;

	ask->argv[argc++] = "dpkg-query";
	ask->argv[argc++] = "-S";
	ask->argv[argc++] = "--";
	for (size_t i = 0; i < ask->n; i++) {
		const char *path = ask->v[i].path, *old = path ? old_path(path) : NULL;

		if (path)
			ask->argv[argc++] = path;
		if (old)
			ask->argv[argc++] = old;
	}
	for (rest = run(ask, argc); (line = strsep(&rest, "\n"));)
		take_dpkg(line, ask->v, ask->n);
	argc = 1;
	ask->argv[argc++] = "-W";
	ask->argv[argc++] = "-f=${binary:Package} ${Version}\\n";
	ask->argv[argc++] = "--";
	names = argc;
	for (size_t i = 0; i < ask->n; i++)
		if (ask->v[i].package)
			ask->argv[argc++] = ask->v[i].package;
	for (rest = argc > names ? run(ask, argc) : NULL; (line = strsep(&rest, "\n"));)
		take_version(line, ask->v, ask->n);
	return argc > names;
}

/* A line for each, in their order: "glibc-2.34-60.el9.x86_64", or that it is nobody's. */
static void ask_rpm(struct ask *ask)
{
	char *line, *rest, *text;
	size_t argc = 0, lines = 0, asked = 0;

	ask->argv[argc++] = "rpm";
	ask->argv[argc++] = "-qf";
	ask->argv[argc++] = "--";
	for (size_t i = 0; i < ask->n; i++)
		if (ask->v[i].path) {
			ask->argv[argc++] = ask->v[i].path;
			asked++;
		}
	text = run(ask, argc);
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	/* One that several have: nobody can tell which line is whose. */
	if (lines != asked)
		return;
	rest = text;
	for (size_t i = 0; i < ask->n; i++)
		if (ask->v[i].path && (line = strsep(&rest, "\n")))
			ask->v[i].package = take_name(line);
}

void ckpt_owners_of(struct ckpt_arena *arena, struct ckpt_owned *v, size_t n)
{
	struct ask ask = { .arena = arena, .v = ckpt_alloc(arena, n * sizeof(*v)), .n = n };
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		/* dpkg-query takes patterns. */
		if (v[i].path && !strpbrk(v[i].path, "*?[\\\n") && !access(v[i].path, F_OK))
			ask.v[i].path = v[i].path;
		any |= ask.v[i].path != NULL;
	}
	ask.argv = ckpt_alloc(arena, (2 * n + 5) * sizeof(*ask.argv));
	ask.until = ckpt_now_ns() + BOUND_NS;
	if (any && !ask_dpkg(&ask))
		ask_rpm(&ask);
	for (size_t i = 0; i < n; i++)
		v[i].package = ask.v[i].package;
}

const char *ckpt_owner_of(const char *path, char buf[CKPT_OWNER_MAX])
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_owned one = { .path = path };
	struct ckpt_arena *arena;

	buf[0] = '\0';
	if (ckpt_arena_open(&arena, 16u << 20, &ignored) < 0)
		return buf;
	ckpt_owners_of(arena, &one, 1);
	if (one.package)
		snprintf(buf, CKPT_OWNER_MAX, "%s", one.package);
	ckpt_arena_close(arena);
	return buf;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which package a file belongs to. Asked only where something is wrong with it: that takes a
 * program. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/plan/identity.h"

extern char **environ;

/* The first line that the program prints, without its end; false if it fails. */
static bool first_line(char *const argv[], char *line, size_t size)
{
	posix_spawn_file_actions_t io;
	int pipe[2], status = -1, r;
	size_t n = 0;
	pid_t pid;

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return false;
	posix_spawn_file_actions_init(&io);
	posix_spawn_file_actions_addopen(&io, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&io, pipe[1], 1);
	posix_spawn_file_actions_addopen(&io, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &io, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&io);
	close(pipe[1]);
	for (ssize_t got = 1; !r && got > 0 && n + 1 < size; n += got > 0 ? got : 0)
		got = read(pipe[0], line + n, size - 1 - n);
	close(pipe[0]);
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	while (!r && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return !r && !status && *line;
}

/* "libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6". Paths of packages may be those before /lib became
 * a link to /usr/lib. */
static bool ask_dpkg(const char *path, char *line, size_t size)
{
	const char *const names[] = { path, strncmp(path, "/usr/", 5) ? NULL : path + 4 };

	for (size_t i = 0; i < 2 && names[i]; i++) {
		char *argv[] = { "dpkg-query", "-S", "--", (char *)names[i], NULL };
		char *end;

		if (!first_line(argv, line, size))
			continue;
		end = strstr(line, ": ");
		if (end && strncmp(line, "diversion ", 10)) {
			*end = '\0';
			return true;
		}
	}
	return false;
}

static bool ask_rpm(const char *path, char *line, size_t size)
{
	char *argv[] = { "rpm", "-qf", "--", (char *)path, NULL };

	return first_line(argv, line, size);
}

const char *ckpt_owner_of(const char *path, char *buf, size_t size)
{
	char line[256];

	buf[0] = '\0';
	/* dpkg-query takes patterns. */
	if (strpbrk(path, "*?[\\"))
		return buf;
	if (ask_dpkg(path, line, sizeof(line)) || ask_rpm(path, line, sizeof(line)))
		snprintf(buf, size, " (package %s)", line);
	return buf;
}
